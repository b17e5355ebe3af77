//! A data block: columns of keys (prefix-compressed, with restarts), revisions, kinds, value offsets and value bytes.
//!
//! Rows are sorted by (key ascending, revision descending). Revisions and kinds are elided where uniform.
use crate::{Kind, Result, Revision};

/// Collects sorted rows and encodes them as one block.
#[derive(Debug)]
pub struct BlockBuilder {
    _todo: (),
}

impl BlockBuilder {
    /// Returns an empty builder with a full key every `restart_interval` rows.
    pub fn new(restart_interval: usize) -> Self {
        todo!("{restart_interval}")
    }

    /// Adds a row; rows must come sorted. `value` is as stored (with expiry for `PutExpiring`).
    pub fn add(&mut self, key: &[u8], revision: Revision, kind: Kind, value: &[u8]) {
        todo!("{key:?} {revision:?} {kind:?} {value:?}")
    }

    /// Number of rows so far.
    pub fn rows(&self) -> usize {
        todo!()
    }

    /// Bytes that `finish` would write, about.
    pub fn bytes_estimate(&self) -> usize {
        todo!()
    }

    /// The last key added; empty before the first.
    pub fn last_key(&self) -> &[u8] {
        todo!()
    }

    /// Encodes the block (raw: before compression and tag) and empties the builder.
    pub fn finish(&mut self) -> Vec<u8> {
        todo!()
    }
}

/// A decoded block. Every offset in it was checked by [`Block::parse`], so access cannot panic on damaged bytes.
#[derive(Debug)]
pub struct Block {
    data: Box<[u8]>,
}

impl Block {
    /// Checks the columns of a raw block (already opened: tag checked, decompressed). Errors: `Corrupt`.
    pub fn parse(data: Vec<u8>) -> Result<Self> {
        Ok(Self { data: data.into_boxed_slice() })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        todo!()
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Revision of a row.
    pub fn revision(&self, row: usize) -> Revision {
        todo!("{row}")
    }

    /// Kind of a row.
    pub fn kind(&self, row: usize) -> Kind {
        todo!("{row}")
    }

    /// Value of a row, as stored.
    pub fn value(&self, row: usize) -> &[u8] {
        todo!("{row}")
    }

    /// Value bytes of consecutive rows `start..stop`, contiguous as stored.
    pub fn value_run(&self, start: usize, stop: usize) -> &[u8] {
        todo!("{start} {stop}")
    }

    /// Writes the key of `row` into `out` (replacing it).
    pub fn key_into(&self, row: usize, out: &mut Vec<u8>) {
        todo!("{row} {out:?}")
    }

    /// Turns the key of `row - 1` in `key` into the key of `row`: the cheap step of a forward scan.
    pub fn key_after(&self, row: usize, key: &mut Vec<u8>) {
        todo!("{row} {key:?}")
    }

    /// Returns the first row at or after (`key`, `revision` descending); `rows()` where there is none.
    pub fn lower_bound(&self, key: &[u8], revision: Revision) -> usize {
        todo!("{key:?} {revision:?}")
    }

    /// Returns the row with the newest revision <= `at` of exactly `key`, if it lies in this block.
    pub fn find(&self, key: &[u8], at: Revision) -> Option<usize> {
        todo!("{key:?} {at:?}")
    }
}
