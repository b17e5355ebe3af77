//! A file system that says it synced what it did not: what the crash tests must catch.
use super::*;
use kvarts_engine::fs::{LockOutcome, LogFile, LogMode, LogSync, ReadFile, WriteFile};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which syncs do nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    Files,
    Dirs,
    /// Those of log files, one in two.
    EverySecond,
}

pub(super) struct Lying {
    fs: MemFs,
    lie: Lie,
    syncs: Arc<AtomicU64>,
}

impl Lying {
    pub(super) fn new(fs: MemFs, lie: Lie) -> Self {
        Self { fs, lie, syncs: Arc::default() }
    }
}

struct LyingLog {
    log: Box<dyn LogFile>,
    lie: Lie,
    syncs: Arc<AtomicU64>,
}

struct LyingSync {
    sync: Arc<dyn LogSync>,
    lie: Lie,
    syncs: Arc<AtomicU64>,
}

impl LogSync for LyingSync {
    fn sync(&self) -> io::Result<()> {
        let count = self.syncs.fetch_add(1, Ordering::SeqCst);
        match self.lie {
            Lie::Files => Ok(()),
            Lie::EverySecond if count % 2 == 1 => Ok(()),
            _ => self.sync.sync(),
        }
    }
}

impl LogFile for LyingLog {
    fn append_with(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        self.log.append_with(len, fill)
    }

    fn len(&self) -> u64 {
        self.log.len()
    }

    fn capacity(&self) -> u64 {
        self.log.capacity()
    }

    fn copies(&self, len: usize) -> bool {
        self.log.copies(len)
    }

    fn syncer(&self) -> Arc<dyn LogSync> {
        Arc::new(LyingSync { sync: self.log.syncer(), lie: self.lie, syncs: self.syncs.clone() })
    }
}

impl Fs for Lying {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.create_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.fs.exists(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.fs.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.lie == Lie::Dirs { Ok(()) } else { self.fs.sync_dir(dir) }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.fs.read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        self.fs.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        self.fs.create(path)
    }

    fn create_log(&self, path: &Path, capacity: u64, mode: LogMode) -> io::Result<Box<dyn LogFile>> {
        let log = self.fs.create_log(path, capacity, mode)?;
        Ok(Box::new(LyingLog { log, lie: self.lie, syncs: self.syncs.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fs.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.remove_dir(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.link(from, to)
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<LockOutcome> {
        self.fs.lock(path, holder)
    }
}
