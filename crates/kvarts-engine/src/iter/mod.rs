//! Cursors over sorted rows, their merge, and the view of one revision.
//!
//! Rows are ordered by (key ascending, revision descending): [`compare`].
use crate::{Kind, Result, Revision};
use kvarts_formats::block::Block;
use std::cmp::Ordering;

mod columns;
mod merge;
#[cfg(test)]
mod tests;
mod visible;

pub use columns::{Columns, End, Limits, Wanted};
pub use merge::MergeCursor;
pub use visible::VisibleCursor;

/// Orders rows by key ascending, then revision descending.
pub fn compare(a: (&[u8], Revision), b: (&[u8], Revision)) -> Ordering {
    a.0.cmp(b.0).then_with(|| b.1.cmp(&a.1))
}

/// A position in sorted rows. `key`, `revision`, `kind` and `value` may be called only while `valid`.
pub trait Cursor: Send {
    /// Moves to the first row.
    fn seek_first(&mut self) -> Result<()>;
    /// Moves to the last row.
    fn seek_last(&mut self) -> Result<()>;
    /// Moves to the first row at or after (`key`, `revision` descending).
    fn seek(&mut self, key: &[u8], revision: Revision) -> Result<()>;
    /// Moves to the last row before (`key`, `revision` descending).
    fn seek_before(&mut self, key: &[u8], revision: Revision) -> Result<()>;
    /// Moves to the next row; past the last it is no longer valid.
    fn next(&mut self) -> Result<()>;
    /// Moves to the previous row; before the first it is no longer valid.
    fn prev(&mut self) -> Result<()>;
    /// Tells whether it stands on a row.
    fn valid(&self) -> bool;
    /// Key of the row.
    fn key(&self) -> &[u8];
    /// Revision of the row.
    fn revision(&self) -> Revision;
    /// Kind of the row.
    fn kind(&self) -> Kind;
    /// Value of the row, as stored.
    fn value(&self) -> &[u8];

    /// The block of a table it stands in, and the row there; `None` where rows come one by one.
    #[inline]
    fn block(&self) -> Option<(&Block, usize)> {
        None
    }

    /// Moves on to `row` of that block, or behind it. `before` is the key of the row before.
    fn skip_in_block(&mut self, row: usize, before: &[u8]) -> Result<()> {
        unreachable!("no block to skip to row {row} in, behind a key of {} bytes", before.len())
    }
}

/// A cursor of any kind.
pub type BoxCursor = Box<dyn Cursor>;

impl Cursor for BoxCursor {
    fn seek_first(&mut self) -> Result<()> {
        (**self).seek_first()
    }

    fn seek_last(&mut self) -> Result<()> {
        (**self).seek_last()
    }

    fn seek(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        (**self).seek(key, revision)
    }

    fn seek_before(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        (**self).seek_before(key, revision)
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        (**self).next()
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        (**self).prev()
    }

    #[inline]
    fn valid(&self) -> bool {
        (**self).valid()
    }

    #[inline]
    fn key(&self) -> &[u8] {
        (**self).key()
    }

    #[inline]
    fn revision(&self) -> Revision {
        (**self).revision()
    }

    #[inline]
    fn kind(&self) -> Kind {
        (**self).kind()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        (**self).value()
    }

    #[inline]
    fn block(&self) -> Option<(&Block, usize)> {
        (**self).block()
    }

    fn skip_in_block(&mut self, row: usize, before: &[u8]) -> Result<()> {
        (**self).skip_in_block(row, before)
    }
}

/// Where a scan begins and ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// First key, with whether it is included; `None` = from the first key.
    pub start: Option<(Vec<u8>, bool)>,
    /// Last key, with whether it is included; `None` = to the last key.
    pub stop: Option<(Vec<u8>, bool)>,
}

/// First 8 bytes of `key` as a number that sorts as they do; a shorter key is padded with zeros.
///
/// Keys whose prefixes differ sort as the prefixes; where they are equal, the keys have to be compared.
#[inline]
pub(crate) fn key_prefix(key: &[u8]) -> u64 {
    match key.first_chunk::<8>() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let mut padded = [0; 8];
            padded[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(padded)
        }
    }
}
