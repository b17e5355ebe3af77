//! The memtable: a skip list in an arena with a hash table over its keys, one writer at a time, readers without locks.
use crate::iter::Cursor;
use crate::{Kind, Revision};
use kvarts_formats::hash::key_hash;
use std::sync::Arc;

mod skiplist;
#[cfg(test)]
mod tests;

pub use skiplist::{Chunks, MemtableCursor};

/// Recent writes of one tree, sorted. Nothing is freed before the whole table is dropped.
#[derive(Debug)]
pub struct Memtable {
    list: skiplist::SkipList,
}

/// A row found in a memtable. Borrows the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemRow<'a> {
    /// Its revision.
    pub revision: Revision,
    /// Its kind.
    pub kind: Kind,
    /// Its value, as stored.
    pub value: &'a [u8],
}

impl Memtable {
    /// Returns an empty memtable that leaves its memory to no other.
    pub fn new() -> Arc<Self> {
        Self::drawing_on(&Arc::new(Chunks::new(0)))
    }

    /// Returns an empty memtable that takes its large chunks from `chunks`, where they go back to when it is dropped.
    pub fn drawing_on(chunks: &Arc<Chunks>) -> Arc<Self> {
        Arc::new(Self { list: skiplist::SkipList::new(Arc::clone(chunks)) })
    }

    /// Inserts a row. Of rows with equal (key, revision) the one inserted last is found first.
    ///
    /// One thread at a time: concurrent inserts are detected and panic. Readers may read at any time.
    #[inline]
    pub fn insert(&self, key: &[u8], revision: Revision, kind: Kind, value: &[u8]) {
        self.list.insert(key, revision, kind, value);
    }

    /// Returns the newest row of `key` at or before `at`.
    #[inline]
    pub fn get(&self, key: &[u8], at: Revision) -> Option<MemRow<'_>> {
        self.get_hashed(key, key_hash(key), at)
    }

    /// The same for a key whose [`key_hash`] is known: a read asks several memtables and tables.
    #[inline]
    pub fn get_hashed(&self, key: &[u8], hash: u64, at: Revision) -> Option<MemRow<'_>> {
        self.list.get(key, hash, at).map(|(revision, kind, value)| MemRow { revision, kind, value })
    }

    /// Fetches what a look-up of this hash looks at first.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.list.prefetch(hash);
    }

    /// Returns a cursor over all rows, which keeps the table alive.
    pub fn cursor(self: &Arc<Self>) -> Box<dyn Cursor> {
        Box::new(MemtableCursor::new(Arc::clone(self)))
    }

    /// Bytes of memory allocated.
    pub fn bytes(&self) -> usize {
        self.list.bytes()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.list.rows()
    }

    /// Tells whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }
}
