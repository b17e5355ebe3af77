//! What the parts of an open store share: counters, locks, signals, and how the store goes bad.
use super::manifest::Install;
use super::memory::Memory;
use super::publish;
use super::scrub::Scrubbed;
use super::snapshot::Registry;
use super::spares::Spares;
use super::trees::{AtomicPosition, Mem};
use super::write::WriteState;
use crate::clock::Clock;
use crate::fs::Fs;
use crate::keys::Identity;
use crate::log::{LogPosition, LogSyncer, PreparedLog};
use crate::memtable::Chunks;
use crate::options::{Durability, Options};
use crate::sync::{Condvar, Mutex, atomic};
use crate::table::BlockCache;
use crate::{Error, FileId, Result, Revision, TreeId};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Bit of `status`: no more calls.
const CLOSED: u8 = 1;
/// Bit of `status`: no more writes.
const POISONED: u8 = 2;

/// Bit of `status`: never any writes.
const READ_ONLY: u8 = 4;

/// An open store, as its threads, scans and snapshots share it.
///
/// Lock order: `rotating`, `compacting`, `write`, `next_log`, `flushing`, `install`, then the leaves, of which none is held while another
/// is taken: `snapshots`, `logs`, `ended`, `failure`, a tree's swap, the mutexes of `signals`.
pub(super) struct Shared {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) store: Identity,
    pub(super) cache: Arc<BlockCache>,
    /// Memory of memtables.
    pub(super) chunks: Arc<Chunks>,
    /// The next file id to give out.
    pub(super) next_file: AtomicU64,
    /// Newest revision in the log and the memtables. Changed under the write lock.
    pub(super) applied: atomic::AtomicU64,
    /// Newest revision that readers see. Invariant: visible <= applied; with `Sync`, everything up to it is durable.
    pub(super) visible: atomic::AtomicU64,
    /// End of the log. Invariant: everything before it is in the memtables.
    pub(super) appended: AtomicPosition,
    /// Syncs the log.
    pub(super) syncer: Arc<LogSyncer>,
    /// Owns the log's end, the active memtables and the revisions.
    pub(super) write: Mutex<WriteState>,
    /// Held by whoever flushes memtables.
    pub(super) flushing: Mutex<()>,
    /// Held by whoever compacts; the tree that had its turn last.
    pub(super) compacting: Mutex<TreeId>,
    /// Held by whoever moves the store to another master key.
    pub(super) rotating: Mutex<()>,
    /// Compactions by hand that wait for `compacting`.
    pub(super) hands: AtomicUsize,
    /// Owns the manifest. The one lock that is held across file operations, since that is what it orders.
    pub(super) install: Mutex<Install>,
    /// Revisions that are read at.
    pub(super) snapshots: Mutex<Registry>,
    /// All rows above this revision are kept; `u64::MAX`: only what snapshots see, and what is newest.
    pub(super) retain_from: AtomicU64,
    /// Log files that exist, oldest first, with the bytes written to those that are ended.
    pub(super) logs: Mutex<Vec<(FileId, u64)>>,
    /// The log file that comes next, where it was made in advance. Held while it is made.
    pub(super) next_log: Mutex<Option<PreparedLog>>,
    /// The newest log that was ended, and its last revision, until the floor says that it is durable.
    pub(super) ended: Mutex<Option<(FileId, Revision)>>,
    /// True while there is one.
    pub(super) has_ended: AtomicBool,
    /// Sealed memtables of all trees.
    pub(super) sealed: AtomicUsize,
    /// Their bytes.
    pub(super) sealed_bytes: AtomicUsize,
    /// Runs in the fullest level 0.
    pub(super) level0_runs: AtomicUsize,
    /// How near compaction is to stopping writers, in millionths: see `pace`.
    pub(super) pressure: AtomicU32,
    /// Live scans.
    pub(super) scans: AtomicUsize,
    /// The budget that all of it is taken from.
    pub(super) memory: Arc<Memory>,
    /// Other stores may take from it too.
    pub(super) shares: bool,
    /// What indexes and filters take, as the budget was told.
    pub(super) index_bytes: AtomicUsize,
    /// Memory of columns that readers of batches gave back.
    pub(super) spares: Arc<Spares>,
    status: AtomicU8,
    cause: OnceLock<Arc<str>>,
    /// Why flush or compaction waits before its next try.
    failure: Mutex<Option<Error>>,
    pub(super) signals: Signals,
    pub(super) counters: Counters,
    /// What scrubbing has found.
    pub(super) scrubbed: Scrubbed,
    /// The lock on the directory, until closed.
    pub(super) lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

/// What [`Shared::new`] is made from.
pub(super) struct Parts {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) store: Identity,
    pub(super) cache: Arc<BlockCache>,
    pub(super) memory: Arc<Memory>,
    /// Other stores may share the memory.
    pub(super) shares: bool,
    pub(super) next_file: u64,
    pub(super) revision: Revision,
    pub(super) write: WriteState,
    pub(super) install: Install,
    pub(super) lock: Box<dyn Send + Sync>,
}

/// Wakes those who wait.
#[derive(Default)]
pub(super) struct Signals {
    /// What background threads are asked to do.
    pub(super) work: Mutex<Work>,
    /// Told when `work` changes.
    pub(super) work_changed: Condvar,
    /// Held to wait for, and to announce, progress of flush and compaction.
    pub(super) progress: Mutex<()>,
    /// Told when a memtable or level 0 got smaller, or all hope is gone.
    pub(super) progressed: Condvar,
    /// True while the timer owes a sync.
    dirty: AtomicBool,
}

/// What background threads are asked to do.
#[derive(Default)]
pub(super) struct Work {
    /// There may be a sealed memtable.
    pub(super) flush: bool,
    /// There may be something to compact.
    pub(super) compact: bool,
    /// The log will soon need its next file.
    pub(super) log: bool,
    /// There are bytes in the log that the timer has to sync.
    pub(super) sync: bool,
    /// End.
    pub(super) stop: bool,
}

/// Numbers that only grow.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) user_bytes: AtomicU64,
    pub(super) flush_bytes: AtomicU64,
    pub(super) compaction_bytes: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) compactions: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) stall_ns: AtomicU64,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let position = parts.write.log().position();
        let appended = AtomicPosition::default();
        let status = if parts.options.read_only { READ_ONLY } else { 0 };
        let retain_from = if parts.options.keep_history { 0 } else { u64::MAX };
        appended.store(position);
        Self {
            fs: parts.fs,
            clock: parts.clock,
            dir: parts.dir,
            options: parts.options,
            store: parts.store,
            cache: parts.cache,
            chunks: Arc::clone(&parts.memory.chunks),
            spares: Arc::clone(&parts.memory.spares),
            memory: parts.memory,
            shares: parts.shares,
            index_bytes: AtomicUsize::new(0),
            next_file: AtomicU64::new(parts.next_file),
            applied: atomic::AtomicU64::new(parts.revision.0),
            visible: atomic::AtomicU64::new(parts.revision.0),
            appended,
            syncer: parts.write.log().syncer(),
            write: Mutex::new(parts.write),
            flushing: Mutex::new(()),
            compacting: Mutex::new(TreeId(0)),
            rotating: Mutex::new(()),
            hands: AtomicUsize::new(0),
            install: Mutex::new(parts.install),
            snapshots: Mutex::default(),
            retain_from: AtomicU64::new(retain_from),
            logs: Mutex::new(vec![(position.file, 0)]),
            next_log: Mutex::new(None),
            ended: Mutex::new(None),
            has_ended: AtomicBool::new(false),
            sealed: AtomicUsize::new(0),
            sealed_bytes: AtomicUsize::new(0),
            level0_runs: AtomicUsize::new(0),
            pressure: AtomicU32::new(0),
            scans: AtomicUsize::new(0),
            status: AtomicU8::new(status),
            cause: OnceLock::new(),
            failure: Mutex::new(None),
            signals: Signals::default(),
            counters: Counters::default(),
            scrubbed: Scrubbed::default(),
            lock: Mutex::new(Some(parts.lock)),
        }
    }

    /// Gives out a file id.
    pub(super) fn new_file(&self) -> FileId {
        FileId(self.next_file.fetch_add(1, Ordering::Relaxed))
    }

    /// Newest revision that readers see.
    pub(super) fn visible(&self) -> Revision {
        publish::shown(&self.visible)
    }

    /// Errors: `Closed`.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Tells whether `close` was called.
    pub(super) fn is_closed(&self) -> bool {
        self.status.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Tells whether writes are refused for good.
    pub(super) fn is_poisoned(&self) -> bool {
        self.status.load(Ordering::Acquire) & POISONED != 0
    }

    /// Tells whether nothing on disk may change any more.
    pub(super) fn leaves_disk_alone(&self) -> bool {
        self.status.load(Ordering::Acquire) & (POISONED | READ_ONLY) != 0
    }

    /// Errors: `Closed`, `ReadOnly`, `Poisoned`.
    pub(super) fn check_writable(&self) -> Result<()> {
        match self.status.load(Ordering::Acquire) {
            0 => Ok(()),
            status if status & CLOSED != 0 => Err(Error::Closed),
            status if status & READ_ONLY != 0 => Err(Error::ReadOnly(self.dir.clone())),
            _ => Err(Error::Poisoned(self.cause.get().map_or_else(|| "an earlier failure".into(), Arc::clone))),
        }
    }

    /// Refuses every later call. Returns true for the first who says so.
    pub(super) fn set_closed(&self) -> bool {
        let first = self.status.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0;
        self.progress();
        first
    }

    /// Refuses every later write because of `error`, and returns what the caller is told.
    pub(super) fn poison(&self, error: Error) -> Error {
        let cause: Arc<str> = match error {
            Error::Poisoned(cause) => cause,
            other => other.to_string().into(),
        };
        let kept = Arc::clone(self.cause.get_or_init(|| cause));
        self.status.fetch_or(POISONED, Ordering::AcqRel);
        self.progress();
        Error::Poisoned(kept)
    }

    /// Puts the log up to `position` on stable storage. A failure poisons the store. Errors: `Poisoned`, `Closed`.
    pub(super) fn sync_to(&self, position: LogPosition) -> Result<()> {
        if self.syncer.synced() >= position {
            return Ok(());
        }
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.syncer.sync_to(position).map_err(|error| match error {
            Error::Closed if !self.is_poisoned() => Error::Closed,
            other => self.poison(other),
        })?;
        if self.has_ended.load(Ordering::Acquire) { self.raise_floor() } else { Ok(()) }
    }

    /// Lets the floor say that an ended log is durable, once it is: nothing in the logs after it may show that yet.
    fn raise_floor(&self) -> Result<()> {
        let synced = self.syncer.synced().file;
        let durable = {
            let mut ended = self.ended.lock();
            let durable = ended.take_if(|(file, _)| *file < synced);
            self.has_ended.store(ended.is_some(), Ordering::Release);
            durable
        };
        let Some(reached) = durable else { return Ok(()) };
        let mut install = self.install.lock();
        install.reached = install.reached.max(reached);
        let is_named = self.logs.lock().first().is_some_and(|(first, _)| *first <= reached.0);
        if !is_named {
            return Ok(());
        }
        let raised = install.floor.reach(&*self.fs, &self.dir, reached.1);
        raised.map_err(|error| self.poison(Error::io("syncing", &self.dir, error)))
    }

    /// Wakes writers that wait for room.
    pub(super) fn progress(&self) {
        drop(self.signals.progress.lock());
        self.signals.progressed.notify_all();
    }

    /// Asks the background threads for work.
    pub(super) fn ask(&self, change: impl FnOnce(&mut Work)) {
        change(&mut self.signals.work.lock());
        self.signals.work_changed.notify_all();
    }

    /// Makes the timer sync within its interval. Wakes it only where it has nothing to do yet.
    pub(super) fn mark_dirty(&self) {
        let wanted = self.options.durability == Durability::Batch && self.options.background;
        if wanted && !self.signals.dirty.load(Ordering::Relaxed) && !self.signals.dirty.swap(true, Ordering::AcqRel) {
            self.ask(|work| work.sync = true);
        }
    }

    /// Lets the timer rest if nothing is left to sync. Under the write lock, so that no commit falls in between;
    /// where that is taken the timer stays for another round.
    pub(super) fn try_rest(&self) -> bool {
        let Some(_write) = self.write.try_lock() else {
            return false;
        };
        let rests = self.syncer.synced() >= self.appended.load();
        self.signals.dirty.store(!rests, Ordering::Release);
        rests
    }

    /// Notes why background work waits (`None`: it goes on), and wakes the writers that wait for it.
    pub(super) fn set_failure(&self, failure: Option<Error>) {
        let wake = failure.is_some();
        *self.failure.lock() = failure;
        if wake {
            self.progress();
        }
    }

    /// Why background work waits.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.lock().clone()
    }

    /// Counts a memtable that now waits for its flush.
    pub(super) fn sealed_came(&self, mem: &Mem) {
        self.sealed.fetch_add(1, Ordering::AcqRel);
        self.sealed_bytes.fetch_add(mem.bytes(), Ordering::AcqRel);
    }

    /// Counts memtables that no longer wait for their flush.
    pub(super) fn sealed_gone(&self, mems: &[Arc<Mem>]) {
        for mem in mems {
            self.sealed.fetch_sub(1, Ordering::AcqRel);
            self.sealed_bytes.fetch_sub(mem.bytes(), Ordering::AcqRel);
        }
    }
}
