//! The index of a table: where each block lies and its end, a (key, revision) at or after its last row and before the first
//! row of the next block. Binary-searched. The end of the last block is its last row.
//!
//! `layout u32 (1), blocks u32, key bytes u32, zero u32`, then columns: `offset u64` each, `revision u64` each,
//! `length u32` each, `end of key u32` each, and the keys one after another. It is compressed when it is sealed.
use crate::bytes::{common_prefix, u32_at, u64_at};
use crate::{FormatError, Result, Revision};
use guess::Guess;

mod guess;

/// Bytes in front of the columns.
const HEAD_BYTES: usize = 16;

/// Bytes of a block in all columns but its key.
const ROW_BYTES: usize = 24;

/// The one layout so far.
const LAYOUT: u32 = 1;

/// Where a sealed block lies in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockHandle {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes stored, tag included.
    pub len: u32,
}

impl BlockHandle {
    /// Where the block ends; `None` where that is no offset.
    pub fn end(self) -> Option<u64> {
        self.offset.checked_add(u64::from(self.len))
    }
}

/// Collects blocks in order and encodes the index.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    handles: Vec<BlockHandle>,
    revisions: Vec<Revision>,
    key_ends: Vec<u32>,
    keys: Vec<u8>,
}

impl IndexBuilder {
    /// Adds the next block, whose last row is (`last_key`, `last_revision`), and which `next_key` follows. Its end is the
    /// shortest key that lies between, so that long keys do not fill memory.
    pub fn add_before(&mut self, last_key: &[u8], last_revision: Revision, next_key: &[u8], handle: BlockHandle) {
        match end_between(last_key, next_key) {
            Some(end) => self.add(&end, Revision::ZERO, handle),
            None => self.add(last_key, last_revision, handle),
        }
    }

    /// Adds the next block, which ends at (`last_key`, `last_revision`). Panics where the keys exceed 4 GiB.
    pub fn add(&mut self, last_key: &[u8], last_revision: Revision, handle: BlockHandle) {
        self.keys.extend_from_slice(last_key);
        self.key_ends.push(u32::try_from(self.keys.len()).expect("the keys of an index take less than 4 GiB"));
        self.revisions.push(last_revision);
        self.handles.push(handle);
    }

    /// Encodes the index (raw) and empties the builder.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes_estimate());
        for field in [LAYOUT, self.handles.len() as u32, self.keys.len() as u32, 0] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        self.handles.iter().for_each(|handle| out.extend_from_slice(&handle.offset.to_le_bytes()));
        self.revisions.iter().for_each(|revision| out.extend_from_slice(&revision.0.to_le_bytes()));
        self.handles.iter().for_each(|handle| out.extend_from_slice(&handle.len.to_le_bytes()));
        self.key_ends.iter().for_each(|end| out.extend_from_slice(&end.to_le_bytes()));
        out.extend_from_slice(&self.keys);
        *self = Self::default();
        out
    }

    /// Bytes that `finish` would write.
    pub fn bytes_estimate(&self) -> usize {
        HEAD_BYTES + ROW_BYTES * self.handles.len() + self.keys.len()
    }
}

/// Returns a key after `last`, before `next` and shorter than `last`, if there is one: a key that lies between as soon as it
/// differs from `last`.
fn end_between(last: &[u8], next: &[u8]) -> Option<Vec<u8>> {
    let shared = common_prefix(last, next);
    // One more than a byte of `last`: behind the byte that differs, or there, where `next` is still greater.
    let fits = |at: usize| last[at] < u8::MAX && (at > shared || [&last[..at], &[last[at] + 1]].concat()[..] < *next);
    let at = (shared..last.len().saturating_sub(1)).find(|&at| fits(at))?;
    let mut end = last[..=at].to_vec();
    end[at] += 1;
    Some(end)
}

/// An index in memory, laid out for binary search (8-byte key prefixes in one array, keys behind).
#[derive(Debug)]
pub struct Index {
    /// Per block: the 8 bytes of its end after the first `common`, big-endian, padded with zeros.
    prefixes: Box<[u64]>,
    /// How many leading bytes all keys share.
    common: usize,
    guess: Guess,
    key_ends: Box<[u32]>,
    keys: Box<[u8]>,
    revisions: Box<[Revision]>,
    handles: Box<[BlockHandle]>,
}

impl Index {
    /// Checks and lays out an encoded index. Errors: `Corrupt`.
    pub fn parse(data: &[u8]) -> Result<Self> {
        let Some((head, columns)) = data.split_at_checked(HEAD_BYTES) else {
            return Err(FormatError::corrupt(0, "an index is cut short"));
        };
        if u32_at(head, 0) != LAYOUT || u32_at(head, 12) != 0 {
            return Err(FormatError::corrupt(0, "the head of an index is not one"));
        }
        let (blocks, key_bytes) = (u32_at(head, 4) as usize, u32_at(head, 8) as usize);
        if columns.len() as u64 != blocks as u64 * ROW_BYTES as u64 + key_bytes as u64 {
            return Err(FormatError::corrupt(4, "the length of an index differs"));
        }
        let lens = 16 * blocks;
        let handle = |i| BlockHandle { offset: u64_at(columns, 8 * i), len: u32_at(columns, lens + 4 * i) };
        let mut index = Self {
            prefixes: Box::default(),
            common: 0,
            guess: Guess::default(),
            key_ends: (0..blocks).map(|i| u32_at(columns, 20 * blocks + 4 * i)).collect(),
            keys: columns[columns.len() - key_bytes..].into(),
            revisions: (0..blocks).map(|i| Revision(u64_at(columns, 8 * (blocks + i)))).collect(),
            handles: (0..blocks).map(handle).collect(),
        };
        index.check()?;
        index.lay_out_prefixes();
        Ok(index)
    }

    /// Checks that keys ascend and blocks follow one another.
    fn check(&self) -> Result<()> {
        let last_end = self.key_ends.last().map_or(0, |&end| end as usize);
        if !self.key_ends.is_sorted() || last_end != self.keys.len() {
            return Err(FormatError::corrupt(0, "the keys of an index are damaged"));
        }
        let mut end = 0;
        for (i, handle) in self.handles.iter().enumerate() {
            if i > 0 && !self.is_before(i - 1, self.end_key(i), self.revisions[i]) {
                return Err(FormatError::corrupt(0, "the keys of an index are not sorted"));
            }
            end = match handle.end() {
                Some(next) if handle.offset >= end => next,
                _ => return Err(FormatError::corrupt(0, "the blocks of an index overlap")),
            };
        }
        Ok(())
    }

    fn lay_out_prefixes(&mut self) {
        if self.blocks() > 0 {
            // Keys are sorted, so what the first and the last share they all share.
            self.common = common_prefix(self.end_key(0), self.end_key(self.blocks() - 1));
        }
        self.prefixes = (0..self.blocks()).map(|i| prefix_of(&self.end_key(i)[self.common..])).collect();
        self.guess = Guess::of(&self.prefixes);
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.handles.len()
    }

    /// Where block `i` lies.
    #[inline]
    pub fn handle(&self, i: usize) -> BlockHandle {
        self.handles[i]
    }

    /// Key of the end of block `i`.
    #[inline]
    pub fn end_key(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.key_ends[i - 1] as usize };
        &self.keys[start..self.key_ends[i] as usize]
    }

    /// Revision of the end of block `i`.
    #[inline]
    pub fn end_revision(&self, i: usize) -> Revision {
        self.revisions[i]
    }

    /// Returns the first block whose end is at or after (`key`, `revision` descending); `blocks()` if none. The first row at or
    /// after them lies in it, or is the first of the next block.
    #[inline]
    pub fn find(&self, key: &[u8], revision: Revision) -> usize {
        if self.blocks() == 0 {
            return 0;
        }
        let shared = common_prefix(&self.keys[..self.common], key);
        if shared < self.common {
            let is_after = key.get(shared).is_some_and(|&byte| byte > self.keys[shared]);
            return if is_after { self.blocks() } else { 0 };
        }
        let prefix = prefix_of(&key[self.common..]);
        let near = self.guess.window(prefix, self.prefixes.len());
        let mut low = near.start + self.prefixes[near].partition_point(|&other| other < prefix);
        let mut high = low;
        while high < self.prefixes.len() && self.prefixes[high] == prefix {
            // Widen by doubling: equal prefixes are rare, long runs of them rarer.
            high = (high + (high - low).max(1)).min(self.prefixes.len());
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.is_before(middle, key, revision) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Tells whether the end of block `i` comes before (`key`, `revision` descending).
    #[inline]
    fn is_before(&self, i: usize, key: &[u8], revision: Revision) -> bool {
        (self.end_key(i), std::cmp::Reverse(self.revisions[i])) < (key, std::cmp::Reverse(revision))
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let row = size_of::<u64>() + size_of::<u32>() + size_of::<Revision>() + size_of::<BlockHandle>();
        size_of::<Self>() + self.blocks() * row + self.keys.len()
    }
}

/// Returns the first 8 bytes of `key` as a number that sorts as they do; of unequal numbers the order is the keys' order.
#[inline]
fn prefix_of(key: &[u8]) -> u64 {
    if let Some(bytes) = key.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    bytes[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests;
