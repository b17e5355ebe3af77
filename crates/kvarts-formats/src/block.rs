//! A data block: columns of keys (prefix-compressed, with restarts), revisions, kinds, value offsets and value bytes.
//!
//! Rows are sorted by (key ascending, revision descending). Revisions and kinds are elided where uniform.
//!
//! ```text
//! layout u8 (1) | kind u8, 255 = column | revision width u8: 0 1 2 4 8 | value offsets width u8: 0 4
//! rows u32 | restart interval u32 | key bytes u32 | value bytes u32 | zero u32 | smallest revision u64
//! value offsets (rows + 1) x u32, unless all values have one length
//! revisions     rows x width: above the smallest revision
//! kinds         rows x u8, unless all rows have one kind
//! keys          per row: shared varint, own length varint, own bytes; shared is 0 every `restart interval` rows
//! values        one after another
//! ```
//!
//! `shared` counts exactly the bytes that a key has in common with the one before (but at restarts). A search relies on
//! that: it then knows the order of most keys without looking at their bytes.
mod builder;
mod parse;
mod run;
mod search;
mod tags;

use crate::buffer::Buffer;
use crate::bytes::{read_varint, u32_at, u64_at};
use crate::{Kind, Revision};
pub use builder::BlockBuilder;
use std::sync::OnceLock;

/// Bytes in front of the columns.
const HEAD_BYTES: usize = 32;

/// The one layout so far.
const LAYOUT: u8 = 1;

/// Kind byte of the head where the kinds differ and have a column.
const KINDS_DIFFER: u8 = 255;

/// Rows from one full key to the next, where nothing else is asked for.
pub const RESTART_INTERVAL: usize = 16;

/// A decoded block. Every offset in it was checked by [`Block::parse`], so access cannot panic on damaged bytes.
///
/// A point read touches the lines of memory of one block once or twice: what it needs first lies in the first line.
#[derive(Debug)]
#[repr(align(64))]
pub struct Block {
    /// The raw bytes, perhaps with those around them in the file.
    data: Buffer,
    /// Where each row's key entry starts in `data`. Built by the pass that checks them, so a scan need not search.
    entries: Box<[u32]>,
    /// Made by the first point read of a block that stays in memory.
    tags: OnceLock<tags::Tags>,
    /// Where the columns start in `data`, the value offsets first, if there are any. A block has at most 1 GiB.
    columns: u32,
    values: u32,
    /// The length of all values, if they have one.
    value_len: Option<u32>,
    restart_interval: u32,
    revisions: u32,
    kinds: u32,
    revision_min: u64,
    revision_width: u8,
    /// The kind of all rows, if they have one.
    kind: Option<Kind>,
}

impl Block {
    /// Number of rows; at least one.
    #[inline]
    pub fn rows(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.data.capacity() + size_of_val(&*self.entries) + tags::bytes_of(self.rows())
    }

    /// Revision of a row.
    #[inline]
    pub fn revision(&self, row: usize) -> Revision {
        let at = self.revisions as usize + row * usize::from(self.revision_width);
        let above = match self.revision_width {
            0 => 0,
            1 => u64::from(self.data[at]),
            2 => u64::from(u16::from_le_bytes([self.data[at], self.data[at + 1]])),
            4 => u64::from(u32_at(&self.data, at)),
            _ => u64_at(&self.data, at),
        };
        // Wraps only for a row that does not exist.
        Revision(self.revision_min.wrapping_add(above))
    }

    /// Kind of a row.
    #[inline]
    pub fn kind(&self, row: usize) -> Kind {
        self.kind.unwrap_or_else(|| Kind::from_byte(self.data[self.kinds as usize + row]).expect("kinds were checked"))
    }

    /// Value of a row, as stored.
    #[inline]
    pub fn value(&self, row: usize) -> &[u8] {
        self.value_run(row, row + 1)
    }

    /// Value bytes of consecutive rows `start..stop`, contiguous as stored.
    #[inline]
    pub fn value_run(&self, start: usize, stop: usize) -> &[u8] {
        let values = self.values as usize;
        &self.data[values + self.value_offset(start)..values + self.value_offset(stop)]
    }

    /// Where the value of a row starts, in bytes from the first value; `rows()` gives the end of all.
    #[inline]
    pub fn value_offset(&self, row: usize) -> usize {
        match self.value_len {
            Some(len) => row * len as usize,
            None => u32_at(&self.data, self.columns as usize + 4 * row) as usize,
        }
    }

    /// Returns the row at or before `row` whose key is stored in full: from it on, [`Block::key_after`] needs no key.
    #[inline]
    pub fn restart_of(&self, row: usize) -> usize {
        row - row % self.restart_interval as usize
    }

    /// Writes the key of `row` into `out` (replacing it).
    pub fn key_into(&self, row: usize, out: &mut Vec<u8>) {
        for row in self.restart_of(row)..=row {
            self.key_after(row, out);
        }
    }

    /// Turns the key of `row - 1` in `key` into the key of `row`: the cheap step of a forward scan.
    #[inline]
    pub fn key_after(&self, row: usize, key: &mut Vec<u8>) {
        let (shared, own) = self.entry(row);
        key.truncate(shared);
        key.extend_from_slice(own);
    }

    /// How many bytes the key of `row` shares with the one before, and the bytes of its own.
    #[inline]
    fn entry(&self, row: usize) -> (usize, &[u8]) {
        self.entry_from(self.entries[row] as usize)
    }

    /// The same, of the row whose entry starts at `at`.
    #[inline]
    fn entry_from(&self, at: usize) -> (usize, &[u8]) {
        let (shared, at) = read_varint(&self.data, at).expect("entries were checked");
        let (len, at) = read_varint(&self.data, at).expect("entries were checked");
        (shared as usize, &self.data[at..at + len as usize])
    }
}

#[cfg(test)]
mod tests;
