//! Compaction: a pure policy that says which tables to rewrite, and the job that rewrites them.
use crate::fs::Fs;
use crate::iter::BoxCursor;
use crate::options::Options;
use crate::table::BlockCache;
use crate::version::{TableRef, Version, VersionEdit};
use crate::{FileId, Result, Revision};
use std::path::Path;
use std::sync::Arc;

/// Which tables to rewrite, and where to.
#[derive(Clone)]
pub struct CompactionPlan {
    /// Tables of `level`.
    pub inputs: Vec<TableRef>,
    /// Tables of `target` that they overlap.
    pub overlaps: Vec<TableRef>,
    /// Where the inputs are.
    pub level: usize,
    /// Where the outputs go.
    pub target: usize,
    /// True where the inputs can be moved down as they are: no rewriting.
    pub trivial_move: bool,
}

/// Decides which tables to rewrite next. Pure: reads `version`, touches nothing.
pub trait CompactionPolicy: Send + Sync {
    /// Returns the most urgent plan, or `None` when every level is within its target size.
    ///
    /// `now_ms` lets tables whose rows have expired be rewritten. The same arguments always yield the same plan.
    fn pick(&self, version: &Version, options: &Options, now_ms: u64) -> Option<CompactionPlan>;
}

/// Leveled compaction. Source: LevelDB's scheme; RocksDB wiki, Leveled Compaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leveled;

impl CompactionPolicy for Leveled {
    fn pick(&self, version: &Version, options: &Options, now_ms: u64) -> Option<CompactionPlan> {
        todo!("{} {options:?} {now_ms}", version.levels.len())
    }
}

/// What may be forgotten while rewriting.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Revisions that live snapshots read at, ascending, ending with the revision visible when the job started.
    pub snapshots: Vec<Revision>,
    /// Rows that expired at or before this time are absent to every reader, open snapshots included.
    pub expired_ms: u64,
    /// True where nothing older than these rows can lie below the target: tombstones can go too.
    pub bottom: bool,
}

/// Where outputs go.
pub struct OutputContext<'a> {
    /// The file system.
    pub fs: &'a Arc<dyn Fs>,
    /// The store's directory.
    pub dir: &'a Path,
    /// The store.
    pub store: [u8; 16],
    /// Options of the store.
    pub options: &'a Options,
    /// The cache that output tables will use.
    pub cache: &'a Arc<BlockCache>,
    /// Gives out file ids.
    pub next_file: &'a dyn Fn() -> FileId,
    /// Asked between rows; true stops the job, which then removes its outputs and returns `Closed`.
    pub stop: &'a dyn Fn() -> bool,
}

/// Writes `rows` (sorted, all sources merged) into tables of about `options.table_bytes`, leaving out what `retention`
/// lets go. Syncs the tables and the directory. Rows of one key never straddle two tables. Used by flush and compaction.
pub fn write_tables(rows: BoxCursor, retention: &Retention, context: &OutputContext<'_>) -> Result<Vec<TableRef>> {
    todo!("{} {retention:?} {}", rows.valid(), context.dir.display())
}

/// Runs a plan and returns the edit that installs it.
pub fn run(
    plan: &CompactionPlan,
    version: &Version,
    retention: &Retention,
    context: &OutputContext<'_>,
) -> Result<VersionEdit> {
    todo!("{} {} {retention:?} {}", plan.level, version.levels.len(), context.dir.display())
}
