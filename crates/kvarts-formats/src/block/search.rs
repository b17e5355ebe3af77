//! Search in a block: binary over the full keys, then a walk of less than one restart interval. Allocates nothing.
use super::Block;
use crate::Revision;
use crate::bytes::common_prefix;
use std::cmp::Ordering;

impl Block {
    /// Returns the first row at or after (`key`, `revision` descending); `rows()` where there is none.
    #[inline]
    pub fn lower_bound(&self, key: &[u8], revision: Revision) -> usize {
        self.seek(key, revision).0
    }

    /// Returns the row with the newest revision <= `at` of exactly `key`, if it lies in this block.
    #[inline]
    pub fn find(&self, key: &[u8], at: Revision) -> Option<usize> {
        let (row, is_key) = self.seek(key, at);
        is_key.then_some(row)
    }

    /// Returns the lower bound and whether its key is `key`.
    fn seek(&self, key: &[u8], revision: Revision) -> (usize, bool) {
        let interval = self.restart_interval as usize;
        // Invariant: restarts below `low` come before the target, those from `high` on do not.
        let (mut low, mut high) = (0, self.rows().div_ceil(interval));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.restart_is_before(middle * interval, key, revision) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        match low.checked_sub(1) {
            None => (0, self.entry(0).1 == key),
            Some(restart) => self.walk(restart * interval, key, revision),
        }
    }

    #[inline]
    fn restart_is_before(&self, row: usize, key: &[u8], revision: Revision) -> bool {
        match self.entry(row).1.cmp(key) {
            Ordering::Less => true,
            Ordering::Equal => self.revision(row) > revision,
            Ordering::Greater => false,
        }
    }

    /// Walks on from the restart at `row`, which comes before the target, to the next restart at most.
    fn walk(&self, row: usize, key: &[u8], revision: Revision) -> (usize, bool) {
        let stop = (row + self.restart_interval as usize).min(self.rows());
        // Invariant: the key before `row` comes before the target and has exactly `matched` bytes in common with `key`.
        let mut matched = common_prefix(self.entry(row).1, key);
        for row in row + 1..stop {
            let (shared, own) = self.entry(row);
            match shared.cmp(&matched) {
                // Differs from `key` where the key before did.
                Ordering::Greater => continue,
                // Greater than the key before at a byte where that one equals `key`.
                Ordering::Less => return (row, false),
                Ordering::Equal => {}
            }
            let wanted = &key[matched..];
            let more = common_prefix(own, wanted);
            matched += more;
            match (own.get(more), wanted.get(more)) {
                (None, None) if self.revision(row) <= revision => return (row, true),
                (Some(_), None) => return (row, false),
                (Some(ours), Some(theirs)) if ours > theirs => return (row, false),
                _ => {}
            }
        }
        (stop, stop < self.rows() && self.entry(stop).1 == key)
    }
}
