//! What the tests of the log share: a small store, and a file system whose log syncs do as the test says.
use super::{LogPosition, LogWriter, ReplayReport, log_path, replay};
use crate::fs::{Fs, LockOutcome, LogFile, LogMode, LogSync, MemFs, ReadFile, WriteFile};
use crate::{Error, FileId, Result};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

mod crashes;
mod encrypted;
mod recovery;
mod syncing;
mod writing;

const STORE: [u8; 16] = *b"the tested store";

fn dir() -> &'static Path {
    Path::new("/store")
}

fn path(file: u64) -> PathBuf {
    log_path(dir(), FileId(file))
}

/// A file system with the store's directory in it, durable.
fn store() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir(dir()).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

fn writer(fs: impl Fs, bytes: u64) -> LogWriter {
    LogWriter::create(Arc::new(fs), dir(), STORE, FileId(1), bytes, LogMode::Mapped).unwrap()
}

/// The payloads that recovery hands out, and its report.
fn recover(fs: &MemFs, files: &[u64]) -> Result<(Vec<Vec<u8>>, ReplayReport)> {
    let files: Vec<_> = files.iter().map(|&file| FileId(file)).collect();
    let mut payloads = Vec::new();
    let report = replay(fs, dir(), STORE, &files, &mut |batch| {
        payloads.push(batch.payload.to_vec());
        Ok(())
    })?;
    assert_eq!(report.batches, payloads.len() as u64);
    Ok((payloads, report))
}

/// The place that an error names as damaged.
fn damage<T>(outcome: Result<T>) -> (PathBuf, u64) {
    match outcome.map(|_| ()) {
        Err(Error::Corruption { file, offset, .. }) => (file, offset),
        other => panic!("expected damage, found {other:?}"),
    }
}

/// What a hooked file system does when a log file or a directory is to be synced: given its path and the true sync.
type SyncHook = Arc<dyn Fn(&Path, &dyn Fn() -> io::Result<()>) -> io::Result<()> + Send + Sync>;

/// A file system whose syncs of log files and directories go through a hook.
struct Hooked {
    fs: MemFs,
    hook: SyncHook,
    /// The next append writes its bytes, and fails all the same.
    fails: Arc<AtomicBool>,
}

impl Hooked {
    fn new(fs: MemFs, hook: SyncHook) -> Self {
        Self { fs, hook, fails: Arc::default() }
    }
}

struct HookedLog {
    log: Box<dyn LogFile>,
    path: PathBuf,
    hook: SyncHook,
    fails: Arc<AtomicBool>,
}

struct HookedSync {
    sync: Arc<dyn LogSync>,
    path: PathBuf,
    hook: SyncHook,
}

impl LogSync for HookedSync {
    fn sync(&self) -> io::Result<()> {
        (self.hook)(&self.path, &|| self.sync.sync())
    }
}

impl LogFile for HookedLog {
    fn append_with(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        if self.fails.swap(false, Ordering::SeqCst) {
            fill(&mut vec![0; len]);
            return Err(io::ErrorKind::StorageFull.into());
        }
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
        Arc::new(HookedSync { sync: self.log.syncer(), path: self.path.clone(), hook: self.hook.clone() })
    }
}

impl Fs for Hooked {
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
        (self.hook)(dir, &|| self.fs.sync_dir(dir))
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
        Ok(Box::new(HookedLog { log, path: path.to_owned(), hook: self.hook.clone(), fails: self.fails.clone() }))
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
