//! Bytes on disk and in logs, formats 1 and 2. Pure: no file, clock or thread, no unsafe code.
//!
//! Every multi-byte integer is little-endian. Every block, record and header ends in a 16-byte
//! checksum-or-tag over (file id, offset, content): see [`checksum`].
#![forbid(unsafe_code)]

// Said here, in the crate that is built before all others of ours: the engine above would fail first, and say nothing.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("kvarts runs on Linux and macOS; on other systems use one of these, a container or WSL");

pub mod batch;
pub mod block;
pub mod buffer;
mod bytes;
pub mod checksum;
pub mod compress;
pub mod error;
pub mod filter;
pub mod hash;
pub mod header;
pub mod ids;
pub mod index;
pub mod manifest;
pub mod node_record;
pub mod properties;
pub mod record;
pub mod salvage;
pub mod seal;
pub mod shards;
pub mod table;
pub mod tuple;

pub use error::{FormatError, Result};
pub use ids::{FileId, Kind, Revision, TreeId};

/// The newest on-disk format. A file is written in the oldest that holds what is in it.
pub const FORMAT_VERSION: u32 = 2;

/// The oldest on-disk format that is read: all but blocks of zstd, and compressions of trees.
pub const FORMAT_VERSION_MIN: u32 = 1;
