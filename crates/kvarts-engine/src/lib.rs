//! The LSM engine of kvarts. No Python, no network, no async runtime.
//!
//! Rooms, lower first: `error clock options prefetch sync` · `keys` · `fs` · `iter` · `memtable log table` · `version` · `compaction` · `db`.
//! A room uses only rooms before it (tests/style checks `use crate::`).

pub mod clock;
pub mod compaction;
pub mod db;
pub mod error;
pub mod fs;
pub mod iter;
pub mod keys;
pub mod log;
pub mod memtable;
pub mod options;
mod prefetch;
pub mod sync;
pub mod table;
pub mod version;

pub use error::{Error, Result};
pub use kvarts_formats as formats;
pub use kvarts_formats::{FileId, Kind, Revision, TreeId};
