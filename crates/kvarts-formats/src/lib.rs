//! Bytes on disk and in logs, format 1. Pure: no file, clock or thread, no unsafe code.
//!
//! Every multi-byte integer is little-endian. Every block, record and header ends in a 16-byte
//! checksum-or-tag over (file id, offset, content): see [`checksum`].
#![forbid(unsafe_code)]

// Said here, in the crate that is built before all others of ours: the engine above would fail first, and say nothing.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("kvarts runs on Linux and macOS; on other systems use one of these, a container or WSL");

pub mod batch;
pub mod block;
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
pub mod table;
pub mod tuple;

pub use error::{FormatError, Result};
pub use ids::{FileId, Kind, Revision, TreeId};

/// The on-disk format this build writes, and the newest one it reads.
pub const FORMAT_VERSION: u32 = 1;
