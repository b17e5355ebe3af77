//! The set of live tables of one tree.
use super::fences::Fences;
use super::{HasRecord, LEVELS, TableRef, VersionEdit};
use crate::Revision;
use kvarts_formats::manifest::TableRecord;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// An immutable set of live tables of one tree. Made by [`Version::new`] and [`Version::apply`].
#[derive(Clone)]
pub struct Version<T = TableRef> {
    /// Tables by level, [`LEVELS`] of them; level 0 newest first (by `revision_max`), deeper levels by key without overlap.
    /// Not to be changed in place: `fences` follow them.
    pub levels: Vec<Vec<T>>,
    /// Every commit up to this revision is in these tables.
    pub flushed: Revision,
    /// Shared with the versions in which the level is the same.
    fences: Vec<Arc<Fences>>,
}

impl<T> Default for Version<T> {
    fn default() -> Self {
        Self {
            levels: (0..LEVELS).map(|_| Vec::new()).collect(),
            flushed: Revision::ZERO,
            fences: vec![Arc::default(); LEVELS],
        }
    }
}

impl<T: HasRecord + Clone> Version<T> {
    /// Returns the version of these tables, as a manifest lists them: at most [`LEVELS`] levels, in any order within one.
    /// Panics where the invariants of the room do not hold: the manifest's tag was right, so that is a bug.
    pub fn new(mut levels: Vec<Vec<T>>, flushed: Revision) -> Self {
        assert!(levels.len() <= LEVELS, "{} levels of at most {LEVELS}", levels.len());
        levels.resize_with(LEVELS, Vec::new);
        for (level, tables) in levels.iter_mut().enumerate() {
            arrange(level, tables);
        }
        let fences = levels.iter().map(|tables| Arc::new(Fences::new(tables))).collect();
        Self { levels, flushed, fences }
    }

    /// Returns this version with `edit` applied. Panics where the edit does not fit (overlap, unknown table): a bug.
    pub fn apply(&self, edit: &VersionEdit<T>) -> Self {
        let mut next = self.clone();
        for &(level, file) in &edit.removed {
            let at = next.levels[level].iter().position(|table| table.record().file == file);
            next.levels[level].remove(at.unwrap_or_else(|| panic!("no table {} in level {level}", file.0)));
        }
        for (level, table) in &edit.added {
            next.levels[*level].push(table.clone());
        }
        let changed = edit.removed.iter().map(|(level, _)| *level).chain(edit.added.iter().map(|(level, _)| *level));
        for level in changed.collect::<BTreeSet<_>>() {
            arrange(level, &mut next.levels[level]);
            next.fences[level] = Arc::new(Fences::new(&next.levels[level]));
        }
        next.flushed = edit.flushed.unwrap_or(self.flushed);
        assert!(next.flushed >= self.flushed, "flushed went back from {:?} to {:?}", self.flushed, next.flushed);
        next
    }

    /// Tables whose key range holds `key`, newest first: level 0 in order, then at most one per deeper level.
    /// Does not allocate.
    pub fn candidates<'a, 'k>(&'a self, key: &'k [u8]) -> Candidates<'a, 'k, T> {
        Candidates { version: self, key, level: 0, next: 0 }
    }

    /// Tables of `level` that overlap the keys from `smallest` to `largest`, both included, in the level's order.
    pub fn overlapping(&self, level: usize, smallest: &[u8], largest: &[u8]) -> Vec<T> {
        let tables = &self.levels[level];
        if level > 0 {
            return tables[self.overlapping_range(level, smallest, largest)].to_vec();
        }
        tables.iter().filter(|table| overlaps(table.record(), smallest, largest)).cloned().collect()
    }

    /// The same as positions, for levels below 0.
    pub fn overlapping_range(&self, level: usize, smallest: &[u8], largest: &[u8]) -> Range<usize> {
        assert!(level > 0, "tables of level 0 are not sorted by key");
        let tables = &self.levels[level];
        let start = tables.partition_point(|table| table.record().largest.as_slice() < smallest);
        let len = tables[start..].partition_point(|table| table.record().smallest.as_slice() <= largest);
        start..start + len
    }

    /// Tells whether a table of a level deeper than `level` overlaps the keys from `smallest` to `largest`.
    pub fn overlaps_below(&self, level: usize, smallest: &[u8], largest: &[u8]) -> bool {
        (level + 1..LEVELS).any(|deeper| !self.overlapping_range(deeper, smallest, largest).is_empty())
    }

    /// Bytes of a level.
    pub fn level_bytes(&self, level: usize) -> u64 {
        self.levels[level].iter().map(|table| table.record().bytes).sum()
    }

    /// Tables and levels that may hold a key.
    pub fn sources(&self) -> usize {
        self.levels[0].len() + self.levels[1..].iter().filter(|tables| !tables.is_empty()).count()
    }

    /// All tables, with their level.
    pub fn tables(&self) -> impl Iterator<Item = (usize, &T)> {
        self.levels.iter().enumerate().flat_map(|(level, tables)| tables.iter().map(move |table| (level, table)))
    }

    /// Tells whether there are no tables.
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(Vec::is_empty)
    }
}

impl<T: HasRecord> fmt::Debug for Version<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version flushed={}", self.flushed.0)?;
        for (level, tables) in self.levels.iter().enumerate().filter(|(_, tables)| !tables.is_empty()) {
            let bytes: u64 = tables.iter().map(|table| table.record().bytes).sum();
            write!(f, " L{level}={}t/{bytes}B", tables.len())?;
        }
        Ok(())
    }
}

/// Tables that may hold a key, newest first: see [`Version::candidates`].
pub struct Candidates<'a, 'k, T> {
    version: &'a Version<T>,
    key: &'k [u8],
    level: usize,
    /// Next table of level 0 to look at.
    next: usize,
}

impl<'a, T: HasRecord> Iterator for Candidates<'a, '_, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        while self.level < LEVELS {
            let tables = &self.version.levels[self.level];
            let fences = &self.version.fences[self.level];
            let Some(probe) = fences.probe(self.key) else {
                self.level += 1;
                continue;
            };
            if self.level == 0 {
                while let Some(table) = tables.get(self.next) {
                    self.next += 1;
                    if fences.holds(self.next - 1, table, self.key, probe) {
                        return Some(table);
                    }
                }
                self.level = 1;
                continue;
            }
            self.level += 1;
            let at = fences.find(tables, self.key, probe);
            if at < tables.len() && fences.holds(at, &tables[at], self.key, probe) {
                return Some(&tables[at]);
            }
        }
        None
    }
}

fn overlaps(record: &TableRecord, smallest: &[u8], largest: &[u8]) -> bool {
    record.smallest.as_slice() <= largest && smallest <= record.largest.as_slice()
}

/// Puts the tables of a level in order and asserts the invariants of the room.
fn arrange<T: HasRecord>(level: usize, tables: &mut [T]) {
    for table in tables.iter() {
        let record = table.record();
        assert!(record.smallest <= record.largest, "table {} ends before it begins", record.file.0);
        assert!(record.revision_min <= record.revision_max, "table {} has no revisions", record.file.0);
    }
    if level == 0 {
        // The file breaks ties between tables of one flush, whose keys do not overlap: any order would do, but one.
        tables.sort_by_key(|table| Reverse((table.record().revision_max, table.record().file)));
        tables.iter().enumerate().for_each(|(i, newer)| assert_older(newer.record(), &tables[i + 1..]));
        return;
    }
    tables.sort_by(|a, b| a.record().smallest.cmp(&b.record().smallest));
    for pair in tables.windows(2) {
        let (left, right) = (pair[0].record(), pair[1].record());
        assert!(left.largest < right.smallest, "tables {} and {} overlap in level {level}", left.file.0, right.file.0);
    }
}

fn assert_older<T: HasRecord>(newer: &TableRecord, tables: &[T]) {
    for older in tables.iter().map(HasRecord::record) {
        assert!(
            newer.revision_min > older.revision_max || !overlaps(older, &newer.smallest, &newer.largest),
            "tables {} and {} of level 0 share keys and revisions",
            newer.file.0,
            older.file.0
        );
    }
}
