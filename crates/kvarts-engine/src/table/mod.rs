//! Sorted tables: writing, reading, and the cache of decoded blocks.
//!
//! A table file is `header, data blocks, filter, index, properties, footer` without gaps; every part is sealed with its own
//! tag. Index, filter and properties stay in memory while the table is open; data blocks go through the [`BlockCache`].
use crate::FileId;
use std::path::{Path, PathBuf};

mod cache;
mod cursor;
#[cfg(test)]
mod forged;
mod level;
mod lost;
mod open;
mod read;
mod reseal;
mod salvage;
mod slots;
mod split;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub use cache::BlockCache;
pub use cursor::TableCursor;
pub use level::{LevelCursor, LevelTables, level_cursor};
pub use lost::Lost;
pub use read::{Table, TableAnswer};
pub use salvage::Salvaged;
pub use slots::BlockRef;
pub use write::{TableWriter, Unsynced};

/// Name of a table file: `000001.table`.
pub fn table_path(dir: &Path, file: FileId) -> PathBuf {
    dir.join(format!("{:06}.table", file.0))
}
