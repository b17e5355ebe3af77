//! What may be forgotten while rewriting. Pure.
use crate::Revision;

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
