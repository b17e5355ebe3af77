//! What may be forgotten while rewriting. Pure.
//!
//! Off-by-ones here are the commonest bug of such engines: `tests` tries every short history there is.
use crate::{Kind, Revision};
use kvarts_formats::ids::EXPIRY_BYTES;

/// What readers may still ask for, as of the start of a job; decides what may be forgotten while rewriting.
///
/// A later retention never keeps less apart than an earlier one could see: snapshots taken later read at or above
/// [`visible`](Self::visible), and `expired_ms` must not go back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Revisions that live snapshots read at, ascending, ending with the revision visible when the job started.
    snapshots: Vec<Revision>,
    /// Rows that expire at or before this time are absent to every reader, open snapshots included: the time now, or
    /// that of the oldest open snapshot.
    expired_ms: u64,
}

impl Retention {
    /// Returns the retention for `snapshots` (any order) and the newest revision `visible`. `visible` must have been read
    /// before `snapshots` were listed, so that a snapshot taken in between is no older than `visible` or in the list.
    pub fn new(snapshots: impl IntoIterator<Item = Revision>, visible: Revision, expired_ms: u64) -> Self {
        let mut snapshots: Vec<_> = snapshots.into_iter().chain([visible]).collect();
        snapshots.sort_unstable();
        snapshots.dedup();
        Self { snapshots, expired_ms }
    }

    /// The oldest revision that is read.
    pub fn oldest(&self) -> Revision {
        self.snapshots[0]
    }

    /// The newest revision that counts: rows above it are always kept.
    pub fn visible(&self) -> Revision {
        self.snapshots[self.snapshots.len() - 1]
    }

    /// Rows that expire at or before this time are absent to every reader.
    pub fn expired_ms(&self) -> u64 {
        self.expired_ms
    }
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is left out, or held back: see [`Collector::held`].
    Skip,
    /// It is written as it is.
    Row,
    /// A tombstone with its revision is written.
    Tombstone,
}

/// Decides row by row what is kept of sorted rows (key ascending, revision descending).
///
/// Every reader at a snapshot of the retention, or at a revision from its `visible` up, sees the same in what is kept as in
/// the rows given:
/// 1. A row above `visible` is kept.
/// 2. Of the others, a row is kept where it is the newest of its key at or before one of the snapshots.
/// 3. A row that has expired for every reader becomes a tombstone.
/// 4. At the bottom, where no older row lies anywhere, a tombstone says no more than its absence unless an older row of its
///    key is kept. So tombstones are held back until such a row comes, and forgotten where none does.
pub(super) struct Collector<'a> {
    retention: &'a Retention,
    bottom: bool,
    /// Key of the row judged last.
    key: Vec<u8>,
    /// Its revision; `None` before the first row.
    revision: Option<Revision>,
    /// Position of the oldest snapshot that has met its row of this key; those before it have not.
    met: usize,
    /// Tombstones of this key held back, newest first.
    held: Vec<Revision>,
}

impl<'a> Collector<'a> {
    /// Returns a collector. `bottom` tells that no older row of these keys lies outside of the rows it will be given.
    pub(super) fn new(retention: &'a Retention, bottom: bool) -> Self {
        Self { retention, bottom, key: Vec::new(), revision: None, met: 0, held: Vec::new() }
    }

    /// Judges the next row. Before writing it (`Row`, `Tombstone`), the caller writes [`Self::take_held`] as tombstones.
    pub(super) fn judge(&mut self, key: &[u8], revision: Revision, kind: Kind, value: &[u8]) -> Verdict {
        let snapshots = &self.retention.snapshots;
        match self.revision {
            Some(newer) if self.key == key => {
                if newer == revision {
                    return Verdict::Skip; // The same write from an older source.
                }
                assert!(newer > revision, "rows of a key came out of order");
            }
            _ => {
                self.key.clear();
                self.key.extend_from_slice(key);
                self.held.clear();
                self.met = snapshots.len();
            }
        }
        self.revision = Some(revision);
        let absent = kind == Kind::Delete || self.expired(kind, value);
        // The oldest snapshot that can see the row; one past the end where only readers above `visible` can.
        let seen_by = snapshots.partition_point(|snapshot| *snapshot < revision);
        if seen_by < snapshots.len() {
            if seen_by >= self.met {
                return Verdict::Skip; // A newer row hides it from every snapshot that could see it.
            }
            self.met = seen_by;
            if absent && self.bottom {
                self.held.push(revision);
                return Verdict::Skip;
            }
        }
        if absent { Verdict::Tombstone } else { Verdict::Row }
    }

    /// Takes the tombstones to be written before the row just judged, newest first.
    pub(super) fn take_held(&mut self) -> impl Iterator<Item = Revision> + '_ {
        self.held.drain(..)
    }

    fn expired(&self, kind: Kind, value: &[u8]) -> bool {
        let expiry_ms = value.first_chunk::<EXPIRY_BYTES>().map(|bytes| u64::from_le_bytes(*bytes));
        kind == Kind::PutExpiring && expiry_ms.is_some_and(|expiry_ms| expiry_ms <= self.retention.expired_ms)
    }
}

#[cfg(test)]
mod tests;
