//! Writing sorted rows into tables.
use super::Retention;
use crate::fs::Fs;
use crate::iter::BoxCursor;
use crate::options::Options;
use crate::table::BlockCache;
use crate::version::TableRef;
use crate::{FileId, Result};
use std::path::Path;
use std::sync::Arc;

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
    /// Asked every few rows; true stops the job, which then removes its outputs and returns `Closed`.
    pub stop: &'a dyn Fn() -> bool,
}

/// Writes `rows` (sorted, all sources merged) into tables of about `options.table_bytes`, leaving out what `retention`
/// lets go but no tombstones: older rows may lie in other tables. For flushes; compactions go by [`run`](super::run).
/// Syncs the tables and the directory. Rows of one key never straddle two tables. On error no outputs are left.
pub fn write_tables(rows: BoxCursor, retention: &Retention, context: &OutputContext<'_>) -> Result<Vec<TableRef>> {
    todo!("{} {retention:?} {}", rows.valid(), context.dir.display())
}
