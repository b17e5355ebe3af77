//! The store: opening and recovery, writing, reading, snapshots, background work, checkpoints.
//!
//! Lock order: `write` (log, memtables, revisions) before `install` (manifest, versions) before `snapshots`; all of it
//! stands with `state::Shared`. The walk of a write and of a read: docs/internals/db.md.
use crate::fs::Finding;
use crate::iter::{Bounds, Columns, VisibleCursor};
use crate::sync::Mutex;
use crate::{Revision, TreeId};
use kvarts_formats::compress::ByLevel;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

mod apply;
mod background;
mod batches;
mod checkpoint;
mod close;
mod compact;
mod filtering;
mod floor;
mod flush;
mod history;
mod manifest;
mod many;
mod memory;
#[cfg(all(test, feature = "model"))]
mod models;
mod next_log;
mod open;
mod open_read;
mod pace;
mod publish;
mod read;
mod recover;
mod repair;
mod rest;
mod room;
mod rotate;
mod scan;
mod scrub;
mod snapshot;
mod spares;
mod state;
mod stats;
mod trees;
mod verify;
mod waste;
mod write;

pub use apply::Applier;
pub use batches::{Batch, BatchOptions, Batches};
pub use history::ReadAt;
pub use many::{Gathered, ReadPoint};
pub use memory::Memory;
pub use open::permissions;
pub use repair::{Gone, RepairReport, repair};
pub use spares::{ColumnMemory, ColumnOf, Spares};

/// An open store. Shared between threads as `Arc<Db>`.
pub struct Db {
    shared: Arc<state::Shared>,
    report: OpenReport,
    /// Background threads; held while closing.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A tree of an open store: what reads and writes name. Cheap to clone.
#[derive(Clone)]
pub struct Tree {
    shared: Arc<trees::TreeShared>,
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
    /// How its tables are compressed; `None`: as the options of the store say.
    pub compression: Option<ByLevel>,
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
    held: Arc<snapshot::SnapshotShared>,
}

/// A scan in one direction over one tree at one revision.
pub struct Scan {
    /// What it reads; `None` while it rests.
    awake: Option<Awake>,
    /// Where it began; once it has rested, where it stands.
    bounds: Bounds,
    reverse: bool,
    revision: Revision,
    now_ms: u64,
    /// How it finds its rows again, where it rests between two calls.
    rest: Option<rest::Rest>,
    counted: rest::Counted,
}

/// Cursors of a scan. They keep memtables and tables alive.
struct Awake {
    rows: VisibleCursor<scan::Source>,
    /// All of the tree's rows at the scan's revision.
    state: Arc<trees::TreeState>,
}

/// Rows in columns: what crosses the border in one piece.
pub type RowChunk = Columns<usize>;

/// Reads as a conditional write sees them: the newest state, with the write lock held.
pub struct WriteView<'a> {
    db: &'a Db,
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
    /// Bytes that scrubbing has read.
    pub scrubbed_bytes: u64,
    /// How often it has been through all tables.
    pub scrub_rounds: u64,
    /// Damage that it has found, in files that are still live.
    pub damage: Vec<Damage>,
    /// Per tree.
    pub trees: Vec<TreeStats>,
}

/// What [`Db::rotate_key`] has written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Tables.
    pub tables: u64,
    /// Their bytes.
    pub bytes: u64,
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
    /// Smallest key concerned, or one before it; empty where unknown.
    pub smallest: Vec<u8>,
    /// Largest key concerned; empty where unknown.
    pub largest: Vec<u8>,
}

/// What opening found.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// Batches replayed from logs.
    pub replayed: u64,
    /// Where the log ends after an unclean stop, file and offset, and the newest revision that was found: what was written
    /// later and was not yet on stable storage may be gone. `None` after a clean close.
    pub unclean: Option<(PathBuf, u64, Revision)>,
    /// A torn tail that was dropped after an unclean stop: file, offset, bytes.
    pub torn: Option<(PathBuf, u64, u64)>,
    /// True where the store was made by this open.
    pub created: bool,
    /// What everybody on this machine can read of it, if anything.
    pub exposed: Option<Finding>,
}
