//! Sorted tables: writing, reading, and the cache of decoded blocks.
use crate::fs::Fs;
use crate::iter::Cursor;
use crate::options::Options;
use crate::{FileId, Kind, Result, Revision};
use kvarts_formats::block::Block;
use kvarts_formats::table::Properties;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of a table file: `000001.table`.
pub fn table_path(dir: &Path, file: FileId) -> PathBuf {
    dir.join(format!("{:06}.table", file.0))
}

/// Writes one table from sorted rows.
pub struct TableWriter {
    _todo: (),
}

impl TableWriter {
    /// Makes the file and writes its header.
    pub fn create(fs: &dyn Fs, dir: &Path, store: [u8; 16], file: FileId, options: &Options) -> Result<Self> {
        todo!("{} {store:?} {file:?} {options:?} {}", dir.display(), fs.exists(dir).is_ok())
    }

    /// Adds a row; rows must come sorted by (key, revision descending), no two equal.
    pub fn add(&mut self, key: &[u8], revision: Revision, kind: Kind, value: &[u8]) -> Result<()> {
        todo!("{key:?} {revision:?} {kind:?} {value:?}")
    }

    /// Bytes written so far, about.
    pub fn bytes_estimate(&self) -> u64 {
        todo!()
    }

    /// Writes the rest and syncs the file (not the directory). Returns its properties and length in bytes.
    pub fn finish(self) -> Result<(Properties, u64)> {
        todo!()
    }
}

/// The cache of decoded blocks, keyed by (file, block number); bounded in bytes; shared by all tables of a store.
pub struct BlockCache {
    _todo: (),
}

impl BlockCache {
    /// Returns a cache of `bytes` bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        todo!("{bytes}")
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        todo!()
    }

    /// Sets how many bytes it may hold: the budget less what indexes, filters and memtables take.
    pub fn set_capacity(&self, bytes: usize) {
        todo!("{bytes}")
    }

    /// Hits and misses so far.
    pub fn counts(&self) -> (u64, u64) {
        todo!()
    }
}

/// An open table: index and filter in memory, blocks through the cache.
pub struct Table {
    _todo: (),
}

/// Answer of a search in one table.
pub enum TableAnswer {
    /// The newest row of the key at or before the revision asked for, as (block, row).
    Found(Arc<Block>, usize),
    /// No such row.
    Absent,
    /// The block is not in the cache; ask again with [`Table::get`].
    NeedsRead,
}

impl Table {
    /// Opens a table: checks header, footer, index, filter and properties. Errors: `Corruption`, `NewerFormat`, `Io`.
    ///
    /// It keeps `fs`: the last user of an obsolete table removes its file.
    pub fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        store: [u8; 16],
        file: FileId,
        cache: &Arc<BlockCache>,
    ) -> Result<Arc<Self>> {
        todo!("{} {store:?} {file:?} {} {}", dir.display(), fs.exists(dir).is_ok(), cache.bytes())
    }

    /// Its properties.
    pub fn properties(&self) -> &Properties {
        todo!()
    }

    /// Its file.
    pub fn file(&self) -> FileId {
        todo!()
    }

    /// Bytes of memory that its index and filter take.
    pub fn memory_bytes(&self) -> usize {
        todo!()
    }

    /// Looks for the newest row of `key` (whose filter hash is `hash`) at or before `at`, in memory only.
    pub fn try_get(&self, key: &[u8], hash: u64, at: Revision) -> TableAnswer {
        todo!("{key:?} {hash} {at:?}")
    }

    /// The same, reading the block if needed. Never returns `NeedsRead`.
    pub fn get(&self, key: &[u8], hash: u64, at: Revision) -> Result<TableAnswer> {
        todo!("{key:?} {hash} {at:?}")
    }

    /// Returns a cursor over all rows. `fill_cache` is false for compaction and checks.
    pub fn cursor(self: &Arc<Self>, fill_cache: bool) -> Box<dyn Cursor> {
        todo!("{fill_cache}")
    }

    /// Reads every block past the cache and checks tags, order and properties. Returns the number of blocks.
    pub fn verify(&self) -> Result<u64> {
        todo!()
    }

    /// Deletes the file when the last user of this table is gone, and its blocks from the cache.
    pub fn mark_obsolete(&self) {
        todo!()
    }
}

/// A cursor over tables that do not overlap, sorted by key: one level below 0. Opens one table at a time.
pub fn level_cursor(tables: Vec<Arc<Table>>, fill_cache: bool) -> Box<dyn Cursor> {
    todo!("{} {fill_cache}", tables.len())
}
