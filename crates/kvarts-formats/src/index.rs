//! The index of a table: the last (key, revision) of each block and where the block lies. Binary-searched.
use crate::{Result, Revision};

/// Where a sealed block lies in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockHandle {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes stored, tag included.
    pub len: u32,
}

/// Collects blocks in order and encodes the index.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    _todo: (),
}

impl IndexBuilder {
    /// Adds the next block, whose last row is (`last_key`, `last_revision`).
    pub fn add(&mut self, last_key: &[u8], last_revision: Revision, handle: BlockHandle) {
        todo!("{last_key:?} {last_revision:?} {handle:?}")
    }

    /// Encodes the index (raw).
    pub fn finish(&mut self) -> Vec<u8> {
        todo!()
    }

    /// Bytes that `finish` would write, about.
    pub fn bytes_estimate(&self) -> usize {
        todo!()
    }
}

/// An index in memory, laid out for binary search (8-byte key prefixes in one array, keys behind).
#[derive(Debug)]
pub struct Index {
    _todo: (),
}

impl Index {
    /// Checks and lays out an encoded index. Errors: `Corrupt`.
    pub fn parse(data: &[u8]) -> Result<Self> {
        todo!("{data:?}")
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        todo!()
    }

    /// Where block `i` lies.
    pub fn handle(&self, i: usize) -> BlockHandle {
        todo!("{i}")
    }

    /// Last key of block `i`.
    pub fn last_key(&self, i: usize) -> &[u8] {
        todo!("{i}")
    }

    /// Returns the first block whose last row is at or after (`key`, `revision` descending); `blocks()` if none.
    pub fn find(&self, key: &[u8], revision: Revision) -> usize {
        todo!("{key:?} {revision:?}")
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        todo!()
    }
}
