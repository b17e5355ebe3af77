//! Cursors over sorted rows, their merge, and the view of one revision.
//!
//! Rows are ordered by (key ascending, revision descending): [`compare`].
use crate::{Kind, Result, Revision};
use std::cmp::Ordering;

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

/// Merges cursors, newest source first: of rows with equal (key, revision) the earlier source's comes first.
pub struct MergeCursor {
    #[allow(dead_code)]
    sources: Vec<BoxCursor>,
}

impl MergeCursor {
    /// Returns a merge of `sources`.
    pub fn new(sources: Vec<BoxCursor>) -> Self {
        Self { sources }
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

/// What one revision of a tree shows: per key the newest row at or before `at`, less tombstones and expired rows.
///
/// Goes in one direction, chosen at the start.
pub struct VisibleCursor {
    #[allow(dead_code)]
    rows: MergeCursor,
}

impl VisibleCursor {
    /// Returns the view of `rows` at `at` and `now_ms` within `bounds`, standing on its first row in the direction.
    pub fn new(rows: MergeCursor, bounds: Bounds, reverse: bool, at: Revision, now_ms: u64) -> Result<Self> {
        todo!("{bounds:?} {reverse} {at:?} {now_ms} {}", rows.sources.len())
    }

    /// Tells whether it stands on a row.
    pub fn valid(&self) -> bool {
        todo!()
    }

    /// Key of the row.
    pub fn key(&self) -> &[u8] {
        todo!()
    }

    /// Revision of the row.
    pub fn revision(&self) -> Revision {
        todo!()
    }

    /// The user's value (expiry removed).
    pub fn value(&self) -> &[u8] {
        todo!()
    }

    /// Moves on in its direction.
    pub fn step(&mut self) -> Result<()> {
        todo!()
    }
}
