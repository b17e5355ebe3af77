//! The tail of a table: properties block and footer. `header, data blocks, filter, index, properties, footer`.
use crate::index::BlockHandle;
use crate::{FileId, Result, Revision};

/// Bytes of the footer, its tag included; it ends the file.
pub const FOOTER_BYTES: usize = 128;

/// Where the parts of a table lie. Each is a sealed block (see [`crate::compress`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The index block.
    pub index: BlockHandle,
    /// The filter block; length 0 where the table has none.
    pub filter: BlockHandle,
    /// The properties block.
    pub properties: BlockHandle,
}

impl Footer {
    /// Encodes the footer that starts at `offset` of `file`.
    pub fn encode(&self, file: FileId, offset: u64) -> [u8; FOOTER_BYTES] {
        todo!("{self:?} {file:?} {offset}")
    }

    /// Decodes and checks it. Errors: `Corrupt`.
    pub fn decode(file: FileId, offset: u64, bytes: &[u8]) -> Result<Self> {
        todo!("{file:?} {offset} {bytes:?}")
    }
}

/// What is known of a table's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Rows, tombstones included.
    pub rows: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Rows with an expiry.
    pub expiring: u64,
    /// Bytes of keys and values before compression.
    pub raw_bytes: u64,
    /// Smallest revision.
    pub revision_min: Revision,
    /// Largest revision.
    pub revision_max: Revision,
    /// Earliest expiry among its rows (Unix milliseconds); `u64::MAX` where none expires.
    pub expiry_min_ms: u64,
    /// Smallest key.
    pub smallest: Vec<u8>,
    /// Largest key.
    pub largest: Vec<u8>,
}

impl Properties {
    /// Encodes the properties (raw).
    pub fn encode(&self) -> Vec<u8> {
        todo!("{self:?}")
    }

    /// Decodes them. Errors: `Corrupt`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        todo!("{bytes:?}")
    }
}
