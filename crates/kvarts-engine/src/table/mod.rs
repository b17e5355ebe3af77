//! Sorted tables: writing, reading, and the cache of decoded blocks.
//!
//! A table file is `header, data blocks, filter, index, properties, footer` without gaps; every part is sealed with its own
//! tag. Index and filter are read at the first use and stay in memory; data blocks go through the [`BlockCache`]. The descriptor
//! of a table is its own only as long as there are enough (`files`).
use crate::FileId;
use std::path::{Path, PathBuf};

mod cache;
mod cursor;
mod files;
#[cfg(test)]
mod forged;
mod level;
mod lost;
mod open;
mod queues;
mod read;
mod reseal;
mod salvage;
mod slots;
mod split;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub use cache::{BlockCache, Blocks};
pub use cursor::TableCursor;
pub use level::{LevelCursor, LevelTables, level_cursor};
pub use lost::Lost;
pub use open::record;
pub use read::{Located, Table, TableAnswer};
pub use salvage::Salvaged;
pub use slots::BlockRef;
pub use write::{TableWriter, Unsynced};

/// Name of a table file: `000001.table`.
pub fn table_path(dir: &Path, file: FileId) -> PathBuf {
    dir.join(format!("{:06}.table", file.0))
}
