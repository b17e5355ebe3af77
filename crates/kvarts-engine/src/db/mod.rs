//! The store: opening and recovery, writing, reading, snapshots, background work, checkpoints.
//!
//! Lock order: `write` (log, memtables, revisions) before `install` (manifest, versions) before `snapshots`.
use crate::clock::Clock;
use crate::fs::Fs;
use crate::iter::Bounds;
use crate::options::Options;
use crate::{Result, Revision, TreeId};
use kvarts_formats::batch::Batch;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open store. Shared between threads as `Arc<Db>`.
pub struct Db {
    _todo: (),
}

/// A tree of an open store: what reads and writes name. Cheap to clone.
#[derive(Clone)]
pub struct Tree {
    _todo: (),
}

/// What is known of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeInfo {
    /// Its number.
    pub id: TreeId,
    /// Its name.
    pub name: String,
    /// Name of the key codec it was made with.
    pub key_codec: String,
    /// Name of the value codec it was made with.
    pub value_codec: String,
}

/// A value found, borrowed from where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The user's value.
    pub value: &'a [u8],
    /// The revision that wrote it.
    pub revision: Revision,
    /// Unix milliseconds from which it is absent, if it expires.
    pub expiry_ms: Option<u64>,
}

/// Outcome of a read that may not wait.
pub enum Attempt<R> {
    /// Answered from memory.
    Done(R),
    /// It takes a read from disk or a wait: call the form that may block.
    WouldBlock,
}

/// One revision held for reading: compaction keeps what it sees until it is dropped. Expiry is judged as of its creation.
#[derive(Clone)]
pub struct Snapshot {
    _todo: (),
}

impl Snapshot {
    /// The revision it reads at.
    pub fn revision(&self) -> Revision {
        todo!()
    }
}

/// A scan in one direction over one tree at one revision.
pub struct Scan {
    _todo: (),
}

/// Rows in columns: what crosses the border in one piece.
#[derive(Clone, Debug, Default)]
pub struct RowChunk {
    /// Key bytes, one after the other.
    pub keys: Vec<u8>,
    /// End of each key in `keys`.
    pub key_ends: Vec<usize>,
    /// Value bytes, one after the other.
    pub values: Vec<u8>,
    /// End of each value in `values`.
    pub value_ends: Vec<usize>,
    /// Revision of each row.
    pub revisions: Vec<Revision>,
}

impl Scan {
    /// Appends rows to `chunk` until it has `rows_max` rows or `bytes_max` bytes. Returns false once there are no more.
    pub fn fill(&mut self, chunk: &mut RowChunk, rows_max: usize, bytes_max: usize, with_values: bool) -> Result<bool> {
        todo!("{chunk:?} {rows_max} {bytes_max} {with_values}")
    }
}

/// Reads as a conditional write sees them: the newest state, with the write lock held.
pub struct WriteView<'a> {
    #[allow(dead_code)]
    db: &'a Db,
}

impl WriteView<'_> {
    /// Calls `with` on the entry of `key`, or on `None`.
    pub fn get<R>(&self, tree: &Tree, key: &[u8], with: impl FnOnce(Option<Entry<'_>>) -> R) -> Result<R> {
        let _ = (tree, key, with);
        todo!()
    }

    /// First (or last) live key of a tree within bounds, with its value: for `popitem`.
    pub fn edge(&self, tree: &Tree, bounds: &Bounds, reverse: bool) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let _ = (tree, bounds, reverse);
        todo!()
    }
}

/// Numbers about one tree.
#[derive(Clone, Debug, Default)]
pub struct TreeStats {
    /// Its name.
    pub name: String,
    /// Rows in its tables, versions and tombstones included.
    pub table_rows: u64,
    /// Rows in memtables.
    pub memtable_rows: u64,
    /// Per level: tables and bytes.
    pub levels: Vec<(u64, u64)>,
}

/// Numbers about a store.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Newest visible revision.
    pub revision: u64,
    /// Bytes of tables.
    pub table_bytes: u64,
    /// Bytes of logs in use (written, not preallocated).
    pub log_bytes: u64,
    /// Bytes allocated by memtables.
    pub memtable_bytes: u64,
    /// Bytes in the block cache.
    pub cache_bytes: u64,
    /// Bytes of indexes and filters.
    pub index_bytes: u64,
    /// The budget.
    pub memory_bytes: u64,
    /// Cache hits.
    pub cache_hits: u64,
    /// Cache misses.
    pub cache_misses: u64,
    /// Bytes that callers wrote (keys and values).
    pub user_bytes: u64,
    /// Bytes written to tables by flushes.
    pub flush_bytes: u64,
    /// Bytes written to tables by compactions.
    pub compaction_bytes: u64,
    /// Flushes done.
    pub flushes: u64,
    /// Compactions done.
    pub compactions: u64,
    /// Syncs of the log.
    pub syncs: u64,
    /// Nanoseconds that writers waited for flush or compaction.
    pub stall_ns: u64,
    /// Live snapshots and scans.
    pub snapshots: u64,
    /// Per tree.
    pub trees: Vec<TreeStats>,
}

/// What `verify` found. Damage is listed, not raised.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Blocks checked.
    pub blocks: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Damage found: file, offset, what, smallest and largest key concerned (empty when unknown).
    pub damage: Vec<Damage>,
}

/// One damaged place.
#[derive(Clone, Debug)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// Smallest key of the file.
    pub smallest: Vec<u8>,
    /// Largest key of the file.
    pub largest: Vec<u8>,
}

/// What opening found.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// Batches replayed from logs.
    pub replayed: u64,
    /// A torn tail that was dropped after an unclean stop: file, offset, bytes.
    pub torn: Option<(PathBuf, u64, u64)>,
    /// True where the store was made by this open.
    pub created: bool,
}

impl Db {
    /// Opens the store in `dir` and recovers it. `holder` is what a second opener is told about us.
    ///
    /// Errors: `NotFound` (no store and `create` is false; or no parent directory), `Locked`, `Corruption`, `NewerFormat`,
    /// `StorageFull`, `Io`, `InvalidArgument`.
    pub fn open(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        holder: &str,
        options: Options,
    ) -> Result<Arc<Self>> {
        let _ = (fs, clock, dir, holder, options);
        todo!()
    }

    /// What opening found.
    pub fn open_report(&self) -> &OpenReport {
        todo!()
    }

    /// Returns the tree called `name`, if there is one.
    pub fn tree(&self, name: &str) -> Result<Option<Tree>> {
        todo!("{name}")
    }

    /// What is known of a tree.
    pub fn tree_info(&self, tree: &Tree) -> TreeInfo {
        let _ = tree;
        todo!()
    }

    /// Makes a tree; durable on return. Errors: `InvalidArgument` where the name is taken or not 1 to 255 bytes.
    pub fn create_tree(&self, name: &str, key_codec: &str, value_codec: &str) -> Result<Tree> {
        todo!("{name} {key_codec} {value_codec}")
    }

    /// All trees, by name.
    pub fn trees(&self) -> Result<Vec<TreeInfo>> {
        todo!()
    }

    /// Drops a tree and its rows; durable on return. Reads through old handles then fail with `InvalidArgument`.
    pub fn drop_tree(&self, tree: &Tree) -> Result<()> {
        let _ = tree;
        todo!()
    }

    /// Commits a batch: atomic, at the store's durability. Returns its revision (the current one if it is empty).
    pub fn write(&self, batch: &mut Batch) -> Result<Revision> {
        todo!("{batch:?}")
    }

    /// Commits if that takes no wait: the lock is free, log and memtable have room, durability is not `sync`.
    pub fn try_write(&self, batch: &mut Batch) -> Result<Attempt<Revision>> {
        todo!("{batch:?}")
    }

    /// Reads, decides and writes as one step: `decide` sees the newest state under the write lock and fills the batch.
    ///
    /// An empty batch commits nothing. `decide` must not call this store. An error from it commits nothing.
    pub fn update<R, E: From<crate::Error>>(
        &self,
        decide: impl FnOnce(&WriteView<'_>, &mut Batch) -> std::result::Result<R, E>,
    ) -> std::result::Result<(R, Revision), E> {
        let _ = decide;
        todo!()
    }

    /// Commits `batch` to `tree` at a given revision, which must exceed every earlier one of that tree: what replication
    /// will use. Errors: `InvalidArgument` where it does not, or where the batch names another tree.
    pub fn apply(&self, tree: &Tree, batch: &mut Batch, revision: Revision) -> Result<()> {
        let _ = (tree, batch, revision);
        todo!()
    }

    /// Calls `with` on the newest entry of `key` (or `None`), from memory only and without waiting.
    /// `with` is not called when the outcome is `WouldBlock`.
    pub fn try_get<R>(&self, tree: &Tree, key: &[u8], with: impl FnOnce(Option<Entry<'_>>) -> R) -> Result<Attempt<R>> {
        let _ = (tree, key, with);
        todo!()
    }

    /// Calls `with` on the entry of `key` as of `at` (`None` = newest).
    pub fn get<R>(
        &self,
        tree: &Tree,
        key: &[u8],
        at: Option<&Snapshot>,
        with: impl FnOnce(Option<Entry<'_>>) -> R,
    ) -> Result<R> {
        let _ = (tree, key, at, with);
        todo!()
    }

    /// Looks up many keys at one revision. `each` gets the position of the key in `keys` and its entry, in any order.
    pub fn get_many(
        &self,
        tree: &Tree,
        keys: &[&[u8]],
        at: Option<&Snapshot>,
        each: &mut dyn FnMut(usize, Option<Entry<'_>>),
    ) -> Result<()> {
        let _ = (tree, keys, at, each);
        todo!()
    }

    /// Starts a scan of `bounds` as of `at` (`None` = now), forward or in reverse.
    pub fn scan(&self, tree: &Tree, bounds: Bounds, reverse: bool, at: Option<&Snapshot>) -> Result<Scan> {
        let _ = (tree, bounds, reverse, at);
        todo!()
    }

    /// Takes a snapshot of the newest revision.
    pub fn snapshot(&self) -> Result<Snapshot> {
        todo!()
    }

    /// Newest visible revision.
    pub fn revision(&self) -> Revision {
        todo!()
    }

    /// Puts everything committed on stable storage (sync of the log).
    pub fn sync(&self) -> Result<()> {
        todo!()
    }

    /// Writes all memtables into tables and waits for it.
    pub fn flush(&self) -> Result<()> {
        todo!()
    }

    /// Flushes, then rewrites every tree (or one) into its deepest level and waits. Space of deleted and expired rows returns.
    pub fn compact(&self, tree: Option<&Tree>) -> Result<()> {
        let _ = tree;
        todo!()
    }

    /// Makes a copy of the store at `to` (which must not exist) by hard links; it opens as a store of its own.
    /// One tree only where `tree` is given. Consistent: all trees at one revision. Durable on return.
    pub fn checkpoint(&self, tree: Option<&Tree>, to: &Path) -> Result<Revision> {
        let _ = (tree, to);
        todo!()
    }

    /// Reads everything on disk and checks it. `progress` gets (bytes done, bytes in all).
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport> {
        let _ = progress;
        todo!()
    }

    /// Numbers about the store.
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// Flushes, syncs, ends the threads, writes a clean manifest, frees the lock. Idempotent; later calls fail with `Closed`.
    ///
    /// Calls in flight on other threads finish first. Live scans and snapshots keep their tables and can go on reading
    /// what they hold until dropped; they do not keep the lock.
    pub fn close(&self) -> Result<()> {
        todo!()
    }
}
