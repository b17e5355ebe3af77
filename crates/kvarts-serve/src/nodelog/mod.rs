//! One append-only log for all groups of a node.
//!
//! Files and records are those of the engine's log (`kvarts_engine::log`, `kvarts_formats::node_record`): a record's stream
//! is its group. A turn is one write; nothing is ever cut off or written over: an entry supersedes what stands at its index
//! and after, a snapshot mark voids what is before it, a compaction forgets. Which of the records count is known in memory
//! ([`NodeLog`] keeps for each entry where it lies), and recovery finds it out by playing them.
//!
//! Every file begins with all that the groups are but for their entries, so older files may go once no entry in them counts;
//! they go oldest first, and only when what made them useless is durable. Recovery never trusts bytes that no later record
//! shows to be synced: it writes what counts of them into a new file, whose name it gets only when it is whole and durable.
//!
//! Lock order: appender, then index. The index is never locked across a file; the appender is, since its lock is what
//! makes appends follow each other. Caches, positions and the syncer are behind locks of their own, all leaves.
//!
//! Rooms: `group` (one group's part, pure), `index` (all groups, and in which file their entries lie), `recent` (payloads in
//! memory), `recover` (opening), `rewrite` (the file that recovery makes), `log` (the surface).
use bytes::Bytes;
pub use kvarts_engine::log::LogPosition;
pub use kvarts_engine::{Error, Result};
pub use kvarts_formats::node_record::HardState;
use std::path::PathBuf;

mod group;
mod index;
mod log;
mod recent;
mod recover;
mod rewrite;

#[cfg(test)]
mod tests;

pub use log::NodeLog;

/// What is known of an entry without reading its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryMeta {
    /// The term it was appended in.
    pub term: u64,
    /// Its place in the group's log, from 1.
    pub index: u64,
    /// What kind of payload it has: the replicator's business.
    pub kind: u32,
    /// Bytes of its payload.
    pub size: u32,
}

/// What a turn writes for one group, in this order: snapshot, entries, hard state.
#[derive(Clone, Debug, Default)]
pub struct GroupWrite {
    /// The group; it was added before.
    pub group: u64,
    /// The hard state from here on.
    pub hard_state: Option<HardState>,
    /// Index, term and membership of a leader's snapshot: the log before it is void and goes on after that index.
    pub snapshot: Option<(u64, u64, Vec<u8>)>,
    /// Entries in order; the first supersedes what stands at its index and after. None may be left out.
    pub entries: Vec<(EntryMeta, Bytes)>,
}

/// How a node log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLogOptions {
    /// Bytes of a file; a turn that needs more gets a file of its own size. Default 64 MiB.
    pub log_bytes: u64,
    /// Bytes of recent payloads kept in memory. Default 64 MiB; a follower that lags further is served from the files.
    pub cache_bytes: usize,
}

impl Default for NodeLogOptions {
    fn default() -> Self {
        Self { log_bytes: 64 << 20, cache_bytes: 64 << 20 }
    }
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Files read.
    pub files: usize,
    /// Records played.
    pub records: u64,
    /// Entries that were copied, since nothing showed them to be durable.
    pub copied: u64,
    /// Where the log stopped short of what was written, and how many bytes of that were seen; `None` after a clean stop.
    pub torn: Option<(PathBuf, u64, u64)>,
}

/// Figures of a node log at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeLogStats {
    /// Files on disk that count.
    pub files: usize,
    /// Entries that count, in all groups.
    pub entries: u64,
    /// Bytes of payloads in memory.
    pub cached_bytes: usize,
    /// Syncs of log files so far.
    pub syncs: u64,
}
