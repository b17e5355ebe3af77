//! What one compaction rewrites.
use crate::version::{HasRecord, TableRef};
use std::fmt;

/// Which tables to rewrite, and where to. Made by a policy; opaque to others.
#[derive(Clone)]
pub struct CompactionPlan<T = TableRef> {
    /// Tables of `level`, in the level's order.
    pub(super) inputs: Vec<T>,
    /// Tables of `target` that they overlap, by key; empty where `target == level`.
    pub(super) overlaps: Vec<T>,
    /// Where the inputs are.
    pub(super) level: usize,
    /// Where the outputs go: a deeper level, or the same one where nothing deeper overlaps.
    pub(super) target: usize,
    /// True where the inputs can be moved down as they are: no rewriting.
    pub(super) trivial_move: bool,
}

impl<T: HasRecord> CompactionPlan<T> {
    /// Where the inputs are.
    pub fn level(&self) -> usize {
        self.level
    }

    /// Where the outputs go.
    pub fn target(&self) -> usize {
        self.target
    }

    /// True where tables only move down: nothing is read or written.
    pub fn is_move(&self) -> bool {
        self.trivial_move
    }

    /// Bytes of the tables that are read.
    pub fn bytes(&self) -> u64 {
        self.tables().map(|table| table.record().bytes).sum()
    }

    /// All tables that are read, inputs first.
    pub fn tables(&self) -> impl Iterator<Item = &T> {
        self.inputs.iter().chain(&self.overlaps)
    }

    /// Smallest and largest key of all tables that are read.
    pub(super) fn key_range(&self) -> (&[u8], &[u8]) {
        hull(self.tables()).expect("a plan has inputs")
    }
}

impl<T: HasRecord> fmt::Debug for CompactionPlan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = |tables: &[T]| tables.iter().map(|table| table.record().file.0).collect::<Vec<_>>();
        let verb = if self.trivial_move { "move" } else { "rewrite" };
        let (inputs, overlaps) = (files(&self.inputs), files(&self.overlaps));
        write!(f, "{verb} L{} {inputs:?} -> L{} {overlaps:?}", self.level, self.target)
    }
}

/// Smallest and largest key of `tables`, `None` of none.
pub(super) fn hull<'a, T: HasRecord + 'a>(tables: impl IntoIterator<Item = &'a T>) -> Option<(&'a [u8], &'a [u8])> {
    let ranges = tables.into_iter().map(HasRecord::record).map(|record| (&*record.smallest, &*record.largest));
    ranges.reduce(|(low, high), (smallest, largest)| (low.min(smallest), high.max(largest)))
}
