//! Options of a store: data only, one default, unit and advice each.
use crate::{Error, Result};
use kvarts_formats::compress::{ByLevel, Compression};

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On stable storage before the call returns.
    Sync,
    /// In the kernel's hands before the call returns; on stable storage at most `sync_interval_ms` later.
    Batch,
    /// Never synced by us but at flush and close.
    None,
}

/// Options of a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// When a write counts as done. Default: `Batch`.
    pub durability: Durability,
    /// Open it for reading: nothing on disk changes, others may read it at the same time, logs are replayed in memory, and
    /// a damaged table fails only the reads that need it. Default: false.
    pub read_only: bool,
    /// Make the store if there is none. Default: true.
    pub create: bool,
    /// Take from others what they may not have, in place of refusing a store that they can write. Default: false.
    pub fix_permissions: bool,
    /// Bytes of anonymous memory for memtables, cache, indexes and filters together. Default 256 MiB; at least 1 MiB.
    pub memory_bytes: usize,
    /// Bytes a memtable may take before it is flushed; 0 = a sixteenth of `memory_bytes`, at most 64 MiB.
    pub memtable_bytes: usize,
    /// Descriptors of tables that are kept open. Default: no limit but the process's, of which all stores together take three
    /// quarters at most.
    pub open_files: usize,
    /// Raw bytes of a data block. Default 8 KiB: see the ADR on block size.
    pub block_bytes: usize,
    /// Bytes of a table made by compaction. Default 32 MiB.
    pub table_bytes: u64,
    /// Bytes of level 1; each deeper level is `level_growth` times larger, level 0 at most half of it. Default 1 GiB.
    pub level_base_bytes: u64,
    /// Growth from level to level. Default 10.
    pub level_growth: u64,
    /// Runs in level 0 (a flush makes one) from which they are merged with level 1. Default 4.
    pub level0_tables: usize,
    /// Bits per key in filters; 0 = no filters. Default 10.
    pub filter_bits: usize,
    /// How blocks are compressed, by level, in trees that do not say it for themselves. Default LZ4.
    pub compression: ByLevel,
    /// Bytes of one log file. Default 64 MiB.
    pub log_bytes: u64,
    /// Longest time between syncs with `Durability::Batch`, in milliseconds. Default 100.
    pub sync_interval_ms: u64,
    /// Keep a log. Default true. `false` for a store whose writes stand in another log: what is not in tables yet is lost with
    /// the process.
    pub log: bool,
    /// Forget no row until [`Db::set_retain_from`](crate::db::Db::set_retain_from) says which may go. Default false: what no
    /// snapshot sees may go.
    pub keep_history: bool,
    /// Bytes a second that a thread of the store reads to look for damage in tables; 0 = it does not. Default 0: embedded,
    /// what reads the disk is for the program to say.
    pub scrub_bytes_per_s: u64,
    /// Flush and compact on threads of the store. `false` only in tests: then `flush`/`compact` run in the caller
    /// and a full memtable is flushed by the write that filled it, so that a seed fixes every step.
    pub background: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Batch,
            read_only: false,
            create: true,
            fix_permissions: false,
            memory_bytes: 256 << 20,
            memtable_bytes: 0,
            open_files: usize::MAX,
            block_bytes: 8 << 10,
            table_bytes: 32 << 20,
            level_base_bytes: 1 << 30,
            level_growth: 10,
            level0_tables: 4,
            filter_bits: 10,
            compression: Compression::Lz4.into(),
            log_bytes: 64 << 20,
            sync_interval_ms: 100,
            log: true,
            keep_history: false,
            scrub_bytes_per_s: 0,
            background: true,
        }
    }
}

/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 64 << 10;
/// Longest value in bytes, embedded.
pub const VALUE_BYTES_MAX: usize = 256 << 20;
/// Smallest `memory_bytes`.
pub const MEMORY_BYTES_MIN: usize = 1 << 20;

impl Options {
    /// Checks the options and fills in those derived from others. Errors: `InvalidArgument`.
    pub fn validate(mut self) -> Result<Self> {
        if self.memory_bytes < MEMORY_BYTES_MIN {
            return Err(Error::invalid(
                format!("memory of {} bytes is less than 1 MiB", self.memory_bytes),
                "give at least memory=\"1MiB\"",
            ));
        }
        if !(256..=1 << 20).contains(&self.block_bytes) {
            return Err(Error::invalid(
                format!("block_bytes={} is out of range", self.block_bytes),
                "256 bytes to 1 MiB; 4 KiB serves gets, 16 to 32 KiB scans",
            ));
        }
        if self.level_growth < 2 || self.level0_tables < 1 || self.filter_bits > 32 {
            return Err(Error::invalid(
                "level_growth, level0_tables or filter_bits is out of range",
                "growth >= 2, level0_tables >= 1, filter_bits <= 32",
            ));
        }
        if self.memtable_bytes == 0 {
            self.memtable_bytes = (self.memory_bytes / 16).clamp(64 << 10, 64 << 20);
        }
        self.log_bytes = self.log_bytes.max(64 << 10);
        self.table_bytes = self.table_bytes.max(4 << 10);
        Ok(self)
    }
}
