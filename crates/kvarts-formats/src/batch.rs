//! A batch of writes, encoded once: the bytes that callers fill are the bytes that the log stores.
//!
//! `revision u64, count u32`, then per operation: `tree varint, kind u8, key length varint, value length varint, key, value`.
//! A [`Kind::PutExpiring`] value starts with its expiry (8 bytes), which the value length includes.
use crate::{Kind, Result, Revision, TreeId};

/// One operation, borrowed from a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op<'a> {
    /// The tree written to.
    pub tree: TreeId,
    /// What is said about the key.
    pub kind: Kind,
    /// The key.
    pub key: &'a [u8],
    /// The value as stored: with its expiry in front for `PutExpiring`, empty for `Delete`.
    pub value: &'a [u8],
}

/// A batch being filled.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Returns an empty batch.
    pub fn new() -> Self {
        Self { bytes: Vec::new(), count: 0 }
    }

    /// Adds a write of `value` under `key`.
    pub fn put(&mut self, tree: TreeId, key: &[u8], value: &[u8]) {
        todo!("{tree:?} {key:?} {value:?}")
    }

    /// Adds a write that is absent from `expiry_ms` (Unix milliseconds) on.
    pub fn put_expiring(&mut self, tree: TreeId, key: &[u8], expiry_ms: u64, value: &[u8]) {
        todo!("{tree:?} {key:?} {expiry_ms} {value:?}")
    }

    /// Adds a delete.
    pub fn delete(&mut self, tree: TreeId, key: &[u8]) {
        todo!("{tree:?} {key:?}")
    }

    /// Number of operations.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Tells whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        todo!()
    }

    /// Bytes encoded so far.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Stamps the revision and the count, and returns the encoded batch.
    pub fn encoded(&mut self, revision: Revision) -> &[u8] {
        todo!("{revision:?}")
    }

    /// Iterates over the operations. Cannot fail: the batch was built here.
    pub fn ops(&self) -> impl Iterator<Item = Op<'_>> {
        std::iter::empty()
    }
}

/// A batch read back from a log.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    /// The revision of the commit.
    pub revision: Revision,
    /// Number of operations.
    pub count: u32,
    #[allow(dead_code)]
    ops: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Decodes the head of a batch. Errors: `Corrupt`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        todo!("{bytes:?}")
    }

    /// Iterates over the operations; yields an error once and stops where the bytes are damaged.
    pub fn ops(&self) -> impl Iterator<Item = Result<Op<'a>>> {
        std::iter::empty()
    }
}
