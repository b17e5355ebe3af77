//! A file system that a test meddles with: syncs left out by what they are for, mappings refused.
use kvarts_engine::fs::{Fs, LockOutcome, LogFile, LogMode, LogSync, ReadFile, WriteFile};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What a sync makes durable, and when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncOf {
    /// The header of a log that was just made.
    LogHeader,
    /// The name of a log that was just made.
    LogName,
    /// The log that is appended to.
    NewestLog,
    /// A log that was ended, and that a later one follows.
    EndedLog,
    /// A log, when a table was just written that no manifest names yet.
    LogOfFlush,
    /// The bytes of a table.
    Table,
    /// The names of tables that were just written.
    TableName,
    /// The bytes of a manifest that is to be renamed.
    Manifest,
    /// The rename of a manifest.
    ManifestName,
    /// The name of the store's directory.
    StoreName,
}

/// What is done otherwise than asked. Both count on being asked each time.
pub trait Meddle: Send + Sync + 'static {
    /// Tells whether to leave a sync out and say that it was done.
    fn skips(&self, _sync: SyncOf) -> bool {
        false
    }

    /// Tells whether to refuse to map a log.
    fn refuses_mapping(&self) -> bool {
        false
    }
}

/// The entry of the store's directory that changed last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Changed {
    Nothing,
    Log,
    Table,
    Manifest,
}

struct Seen {
    changed: Changed,
    /// The log made last.
    newest_log: PathBuf,
    /// It has no durable name yet.
    log_begun: bool,
}

/// `fs`, meddled with by `meddle`. For stores whose work is done in the caller: with threads no sync has one purpose.
pub struct Meddled<M> {
    fs: Arc<dyn Fs>,
    /// The directory of the store.
    dir: PathBuf,
    meddle: Arc<M>,
    seen: Arc<Mutex<Seen>>,
}

impl<M: Meddle> Meddled<M> {
    pub fn new(fs: Arc<dyn Fs>, dir: &Path, meddle: Arc<M>) -> Self {
        let seen =
            Arc::new(Mutex::new(Seen { changed: Changed::Nothing, newest_log: PathBuf::new(), log_begun: false }));
        Self { fs, dir: dir.to_owned(), meddle, seen }
    }

    fn note(&self, changed: Changed) {
        self.seen.lock().unwrap().changed = changed;
    }
}

/// Syncs, or leaves it out.
fn sync_unless_skipped(meddle: &impl Meddle, what: SyncOf, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if meddle.skips(what) { Ok(()) } else { sync() }
}

impl<M: Meddle> Fs for Meddled<M> {
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
        let changed = {
            let mut seen = self.seen.lock().unwrap();
            seen.log_begun = false;
            seen.changed
        };
        let what = match changed {
            _ if dir != self.dir => SyncOf::StoreName,
            Changed::Log => SyncOf::LogName,
            Changed::Table => SyncOf::TableName,
            Changed::Manifest => SyncOf::ManifestName,
            Changed::Nothing => return self.fs.sync_dir(dir),
        };
        sync_unless_skipped(&*self.meddle, what, || self.fs.sync_dir(dir))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.fs.read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        self.fs.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = self.fs.create(path)?;
        let what = if path.extension() == Some(OsStr::new("table")) {
            self.note(Changed::Table);
            SyncOf::Table
        } else {
            SyncOf::Manifest
        };
        Ok(Box::new(MeddledFile { file, what, meddle: Arc::clone(&self.meddle) }))
    }

    fn create_log(&self, path: &Path, capacity: u64, mode: LogMode) -> io::Result<Box<dyn LogFile>> {
        if mode == LogMode::Mapped && self.meddle.refuses_mapping() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let log = self.fs.create_log(path, capacity, mode)?;
        *self.seen.lock().unwrap() = Seen { changed: Changed::Log, newest_log: path.to_owned(), log_begun: true };
        let (meddle, seen) = (Arc::clone(&self.meddle), Arc::clone(&self.seen));
        Ok(Box::new(MeddledLog { log, path: path.to_owned(), meddle, seen }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(from, to)?;
        self.note(Changed::Manifest);
        Ok(())
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

struct MeddledFile<M> {
    file: Box<dyn WriteFile>,
    what: SyncOf,
    meddle: Arc<M>,
}

impl<M: Meddle> WriteFile for MeddledFile<M> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        sync_unless_skipped(&*self.meddle, self.what, || self.file.sync())
    }
}

struct MeddledLog<M> {
    log: Box<dyn LogFile>,
    path: PathBuf,
    meddle: Arc<M>,
    seen: Arc<Mutex<Seen>>,
}

impl<M: Meddle> LogFile for MeddledLog<M> {
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
        Arc::new(MeddledSync {
            sync: self.log.syncer(),
            path: self.path.clone(),
            meddle: Arc::clone(&self.meddle),
            seen: Arc::clone(&self.seen),
        })
    }
}

struct MeddledSync<M> {
    sync: Arc<dyn LogSync>,
    path: PathBuf,
    meddle: Arc<M>,
    seen: Arc<Mutex<Seen>>,
}

impl<M: Meddle> LogSync for MeddledSync<M> {
    fn sync(&self) -> io::Result<()> {
        let what = {
            let seen = self.seen.lock().unwrap();
            match seen.changed {
                Changed::Table => SyncOf::LogOfFlush,
                _ if seen.newest_log != self.path => SyncOf::EndedLog,
                _ if seen.log_begun => SyncOf::LogHeader,
                _ => SyncOf::NewestLog,
            }
        };
        sync_unless_skipped(&*self.meddle, what, || self.sync.sync())
    }
}
