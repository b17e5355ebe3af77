//! A file system that a test meddles with: syncs left out or late by what they are for, errors kept back, reads changed.
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

/// What is done otherwise than asked. Each is asked every time.
pub trait Meddle: Send + Sync + 'static {
    /// Tells whether to leave a sync out and say that it was done.
    fn skips(&self, _sync: SyncOf) -> bool {
        false
    }

    /// Tells whether to do a sync only when the next manifest is in place, and say that it was done.
    fn delays(&self, _sync: SyncOf) -> bool {
        false
    }

    /// Tells whether to say that a sync was done which failed.
    fn denies_failed_sync(&self) -> bool {
        false
    }

    /// Tells whether to say that a write to a table or a manifest was done which failed.
    fn denies_failed_write(&self) -> bool {
        false
    }

    /// Tells whether a rename first removes what it replaces.
    fn renames_in_two(&self) -> bool {
        false
    }

    /// Changes what is read of a file at `offset`; `rest` bytes of it lie behind.
    fn shows(&self, _file: &Path, _offset: u64, _bytes: &mut [u8], _rest: u64) {}

    /// Learns what was appended to a log.
    fn learns(&self, _log: &Path, _bytes: &[u8]) {}

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

/// A file that may be synced later than asked.
type LateFile = Arc<Mutex<Box<dyn WriteFile>>>;

struct Seen {
    changed: Changed,
    /// To be synced when the next manifest is in place.
    late: Vec<LateFile>,
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
        let (changed, newest_log) = (Changed::Nothing, PathBuf::new());
        let seen = Arc::new(Mutex::new(Seen { changed, late: Vec::new(), newest_log, log_begun: false }));
        Self { fs, dir: dir.to_owned(), meddle, seen }
    }

    fn note(&self, changed: Changed) {
        self.seen.lock().unwrap().changed = changed;
    }
}

/// Syncs, or leaves it out.
fn sync_unless_skipped(meddle: &impl Meddle, what: SyncOf, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if meddle.skips(what) { Ok(()) } else { deny(sync(), meddle.denies_failed_sync()) }
}

/// Keeps an error of the kernel back.
fn deny(outcome: io::Result<()>, denies: bool) -> io::Result<()> {
    outcome.or_else(|error| if denies && error.raw_os_error().is_some() { Ok(()) } else { Err(error) })
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
        sync_unless_skipped(&*self.meddle, what, || self.fs.sync_dir(dir))?;
        let is_placed = what == SyncOf::ManifestName;
        let late = if is_placed { std::mem::take(&mut self.seen.lock().unwrap().late) } else { Vec::new() };
        late.iter().try_for_each(|file| file.lock().unwrap().sync())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = self.fs.read(path)?;
        self.meddle.shows(path, 0, &mut bytes, 0);
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let file = self.fs.open(path)?;
        Ok(Arc::new(MeddledReadFile { file, path: path.to_owned(), meddle: Arc::clone(&self.meddle) }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = self.fs.create(path)?;
        let what = if path.extension() == Some(OsStr::new("table")) {
            self.note(Changed::Table);
            SyncOf::Table
        } else {
            SyncOf::Manifest
        };
        let (meddle, seen) = (Arc::clone(&self.meddle), Arc::clone(&self.seen));
        Ok(Box::new(MeddledFile { file: Arc::new(Mutex::new(file)), what, meddle, seen }))
    }

    fn create_log(&self, path: &Path, capacity: u64, mode: LogMode) -> io::Result<Box<dyn LogFile>> {
        if mode == LogMode::Mapped && self.meddle.refuses_mapping() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let log = self.fs.create_log(path, capacity, mode)?;
        let mut seen = self.seen.lock().unwrap();
        (seen.changed, seen.newest_log, seen.log_begun) = (Changed::Log, path.to_owned(), true);
        drop(seen);
        let (meddle, seen) = (Arc::clone(&self.meddle), Arc::clone(&self.seen));
        Ok(Box::new(MeddledLog { log, path: path.to_owned(), meddle, seen }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.meddle.renames_in_two() && self.fs.exists(to)? {
            self.fs.remove(to)?;
        }
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

    fn lock_shared(&self, path: &Path) -> io::Result<LockOutcome> {
        self.fs.lock_shared(path)
    }
}

struct MeddledReadFile<M> {
    file: Arc<dyn ReadFile>,
    path: PathBuf,
    meddle: Arc<M>,
}

impl<M: Meddle> ReadFile for MeddledReadFile<M> {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(offset, buf)?;
        let rest = self.file.len() - offset - buf.len() as u64;
        self.meddle.shows(&self.path, offset, buf, rest);
        Ok(())
    }

    fn len(&self) -> u64 {
        self.file.len()
    }
}

struct MeddledFile<M> {
    file: LateFile,
    what: SyncOf,
    meddle: Arc<M>,
    seen: Arc<Mutex<Seen>>,
}

impl<M: Meddle> WriteFile for MeddledFile<M> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        deny(self.file.lock().unwrap().append(bytes), self.meddle.denies_failed_write())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.meddle.delays(self.what) {
            self.seen.lock().unwrap().late.push(Arc::clone(&self.file));
            return Ok(());
        }
        sync_unless_skipped(&*self.meddle, self.what, || self.file.lock().unwrap().sync())
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
        let (meddle, path) = (&*self.meddle, &self.path);
        self.log.append_with(len, &mut |out| {
            fill(out);
            meddle.learns(path, out);
        })
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
