//! Cursors over sorted rows, their merge, and the view of one revision.
//!
//! Rows are ordered by (key ascending, revision descending): [`compare`].
use crate::{Kind, Result, Revision};
use std::cmp::Ordering;

mod merge;
#[cfg(test)]
mod tests;
mod visible;

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
}

/// A cursor of any kind.
pub type BoxCursor = Box<dyn Cursor>;

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
