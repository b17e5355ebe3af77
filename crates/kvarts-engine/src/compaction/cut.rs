//! Where one output ends and the next begins. Pure.
use super::plan::grandparent_bytes_max;
use crate::options::Options;
use crate::version::HasRecord;

/// Cuts outputs at the size of a table, and where one would overlap too much of the level below its target.
pub(super) struct Cutter<T> {
    /// Tables of the level below the target, by key.
    grandparents: Vec<T>,
    /// How many of them end before the last key seen.
    passed: usize,
    /// Their bytes, of those that the current output overlaps.
    overlapped: u64,
    table_bytes: u64,
    overlapped_max: u64,
}

impl<T: HasRecord> Cutter<T> {
    /// Returns a cutter for outputs above `grandparents`.
    pub(super) fn new(options: &Options, grandparents: Vec<T>) -> Self {
        let overlapped_max = grandparent_bytes_max(options);
        Self { grandparents, passed: 0, overlapped: 0, table_bytes: options.table_bytes, overlapped_max }
    }

    /// Tells whether to end the current output, of `bytes` so far, before the first row of `key`. Keys must ascend.
    ///
    /// From half the size of a table on it ends where a grandparent ends: outputs whose bounds agree with those below
    /// overlap fewer of them when their turn comes.
    pub(super) fn cuts_before(&mut self, key: &[u8], bytes: u64) -> bool {
        let passed = self.passed;
        while let Some(table) = self.grandparents.get(self.passed).map(HasRecord::record) {
            if table.largest.as_slice() >= key {
                break;
            }
            self.passed += 1;
            self.overlapped += if bytes > 0 { table.bytes } else { 0 };
        }
        let aligned = self.passed > passed && bytes >= self.table_bytes / 2;
        let cuts = bytes >= self.table_bytes || aligned || self.overlapped > self.overlapped_max;
        if cuts {
            self.overlapped = 0;
        }
        cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileId, Revision};
    use kvarts_formats::manifest::TableRecord;
    use std::sync::Arc;

    /// Cuts before single-byte keys given with the bytes of the output so far; grandparents are (key, bytes).
    fn cuts(grandparents: &[(u8, u64)], keys: &[(u8, u64)]) -> Vec<u8> {
        let options = Options { table_bytes: 100, ..Default::default() };
        let table = |&(key, bytes): &(u8, u64)| TableRecord {
            file: FileId(u64::from(key)),
            bytes,
            rows: 1,
            tombstones: 0,
            revision_min: Revision(1),
            revision_max: Revision(1),
            expiry_min_ms: u64::MAX,
            expiry_half_ms: u64::MAX,
            keys: 1,
            smallest: vec![key],
            largest: vec![key],
        };
        let mut cutter = Cutter::new(&options, grandparents.iter().map(table).map(Arc::new).collect());
        keys.iter().filter(|(key, bytes)| cutter.cuts_before(&[*key], *bytes)).map(|(key, _)| *key).collect()
    }

    #[test]
    fn an_output_ends_at_the_size_of_a_table() {
        assert_eq!(cuts(&[], &[(1, 0), (2, 99), (3, 100), (4, 10)]), [3]);
    }

    #[test]
    fn from_half_that_size_it_ends_where_a_grandparent_ends() {
        let below = [(1, 10), (3, 10), (5, 10)];
        assert_eq!(cuts(&below, &[(1, 0), (2, 49), (3, 50), (4, 50), (5, 10), (6, 60)]), [4, 6]);
    }

    #[test]
    fn it_ends_before_it_overlaps_too_many_bytes_below() {
        let below = [(1, 500), (2, 500), (3, 500), (4, 500)];
        // Exactly ten tables' worth is allowed; what is passed before the first row does not count.
        assert_eq!(cuts(&below, &[(1, 0), (3, 10), (4, 10), (5, 10)]), [4]);
        assert_eq!(cuts(&below, &[(3, 0), (4, 10), (5, 10)]), [0u8; 0]);
    }
}
