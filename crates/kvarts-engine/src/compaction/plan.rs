//! What one compaction rewrites.
use crate::options::Options;
use crate::version::{HasRecord, LEVELS, TableRef, Version, VersionEdit};
use std::fmt;

/// Bytes of the level below its target that one output may overlap, in tables: more would make its own compaction dear.
const GRANDPARENT_TABLES_MAX: u64 = 10;

/// Which tables to rewrite, and where to. Made by a policy; opaque to others.
#[derive(Clone)]
pub struct CompactionPlan<T = TableRef> {
    /// Tables of `level`, in the level's order.
    pub(super) inputs: Vec<T>,
    /// Tables of `target` that they overlap, by key; empty where `target == level`.
    pub(super) overlaps: Vec<T>,
    /// Where the inputs are.
    pub(super) level: usize,
    /// Where the outputs go: a deeper level; level 0 again; or the same one where nothing deeper overlaps.
    pub(super) target: usize,
    /// True where the inputs can be moved down as they are: no rewriting.
    pub(super) trivial_move: bool,
}

impl<T> CompactionPlan<T> {
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

    /// The same plan, that writes its tables anew where it would only move them: what moved would keep its compression.
    pub fn rewriting(self) -> Self {
        Self { trivial_move: false, ..self }
    }

    /// All tables that are read, inputs first.
    pub fn tables(&self) -> impl Iterator<Item = &T> {
        self.inputs.iter().chain(&self.overlaps)
    }
}

impl<T: HasRecord + Clone> CompactionPlan<T> {
    /// Plans to bring `inputs` from `level` down to the deeper `target`; the levels between are empty in their key range.
    pub(super) fn down(version: &Version<T>, options: &Options, level: usize, target: usize, inputs: Vec<T>) -> Self {
        assert!(level < target, "{target} is not deeper than {level}");
        let (smallest, largest) = hull(&inputs).expect("a plan has inputs");
        let overlaps = version.overlapping(target, smallest, largest);
        let below: u64 =
            grandparents(version, target, smallest, largest).iter().map(|table| table.record().bytes).sum();
        // Tables of level 0 may overlap each other, so only one of them can move; below, they cannot.
        let alone = level > 0 || inputs.len() == 1;
        let trivial_move = alone && overlaps.is_empty() && below <= grandparent_bytes_max(options);
        Self { inputs, overlaps, level, target, trivial_move }
    }

    /// Plans to rewrite `inputs` within `level`, below which nothing overlaps them, to free what readers no longer need.
    pub(super) fn in_place(level: usize, inputs: Vec<T>) -> Self {
        assert!(level > 0, "tables of level 0 go down");
        Self { inputs, overlaps: Vec::new(), level, target: level, trivial_move: false }
    }

    /// Plans to merge neighbours of level 0, newest first, into one run there.
    pub(super) fn within_level0(inputs: Vec<T>) -> Self {
        Self { inputs, overlaps: Vec::new(), level: 0, target: 0, trivial_move: false }
    }

    /// Bytes of the tables that are read.
    pub fn bytes(&self) -> u64 {
        self.tables().map(|table| table.record().bytes).sum()
    }

    /// Bytes that running it writes, about.
    pub fn cost(&self) -> u64 {
        if self.trivial_move { 0 } else { self.bytes() }
    }

    /// Smallest and largest key of all tables that are read.
    pub(super) fn key_range(&self) -> (&[u8], &[u8]) {
        hull(self.tables()).expect("a plan has inputs")
    }

    /// Tells whether no row older than the plan's can lie outside of it: then tombstones can go.
    ///
    /// Rows of its keys that are older than an input lie in deeper levels, in the target (all in `overlaps`), or, of level
    /// 0, in older tables there (all in `inputs`, see [`Self::check`]).
    pub(super) fn is_bottom(&self, version: &Version<T>) -> bool {
        if self.target == 0 {
            return false; // What is older may lie in level 0 itself.
        }
        let (smallest, largest) = self.key_range();
        !version.overlaps_below(self.target, smallest, largest)
    }

    /// Tables of the level below the target that the outputs may overlap.
    pub(super) fn grandparents(&self, version: &Version<T>) -> Vec<T> {
        let (smallest, largest) = self.key_range();
        grandparents(version, self.target, smallest, largest)
    }

    /// Asserts that the plan fits `version` and keeps the order of levels: what lies above is newer.
    pub(super) fn check(&self, version: &Version<T>) {
        let (smallest, largest) = hull(&self.inputs).expect("a plan has inputs");
        let live = |level: usize, table: &T| {
            let record = table.record();
            let found = version.overlapping(level, &record.smallest, &record.largest);
            assert!(found.iter().any(|other| other.record().file == record.file), "{self:?} is stale");
        };
        self.inputs.iter().for_each(|table| live(self.level, table));
        self.overlaps.iter().for_each(|table| live(self.target, table));
        if self.level == 0 {
            // Rows that stay in level 0 lie above those that go down, so they must be newer. What is merged within it must
            // not have others in between.
            let newest = self.inputs.iter().map(|table| table.record().revision_max).max();
            let oldest = self.inputs.iter().map(|table| table.record().revision_min).min();
            let stays = |table: &T| !self.inputs.iter().any(|input| input.record().file == table.record().file);
            let mut rest = version.overlapping(0, smallest, largest).into_iter().filter(stays);
            let fits = |table: T| {
                let record = table.record();
                Some(record.revision_min) > newest || (self.target == 0 && Some(record.revision_max) < oldest)
            };
            assert!(rest.all(fits), "{self:?} leaves older rows above");
        }
        for between in self.level + 1..self.target {
            let rest = version.overlapping_range(between, smallest, largest);
            assert!(rest.is_empty(), "{self:?} skips level {between}, which overlaps");
        }
        if self.target > self.level {
            let met = version.overlapping_range(self.target, smallest, largest).len();
            assert_eq!(met, self.overlaps.len(), "{self:?} misses tables of its target");
        }
    }

    /// Returns the edit that puts `outputs` in the place of what the plan reads.
    pub(super) fn edit(&self, outputs: Vec<T>) -> VersionEdit<T> {
        let inputs = self.inputs.iter().map(|table| (self.level, table.record().file));
        let overlaps = self.overlaps.iter().map(|table| (self.target, table.record().file));
        VersionEdit {
            added: outputs.into_iter().map(|table| (self.target, table)).collect(),
            removed: inputs.chain(overlaps).collect(),
            flushed: None,
        }
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

/// Bytes of the level below its target that one output may overlap.
pub(super) fn grandparent_bytes_max(options: &Options) -> u64 {
    options.table_bytes.saturating_mul(GRANDPARENT_TABLES_MAX)
}

/// Smallest and largest key of `tables`, `None` of none.
pub(super) fn hull<'a, T: HasRecord + 'a>(tables: impl IntoIterator<Item = &'a T>) -> Option<(&'a [u8], &'a [u8])> {
    let ranges = tables.into_iter().map(HasRecord::record).map(|record| (&*record.smallest, &*record.largest));
    ranges.reduce(|(low, high), (smallest, largest)| (low.min(smallest), high.max(largest)))
}

fn grandparents<T: HasRecord + Clone>(version: &Version<T>, target: usize, smallest: &[u8], largest: &[u8]) -> Vec<T> {
    if target + 1 < LEVELS { version.overlapping(target + 1, smallest, largest) } else { Vec::new() }
}
