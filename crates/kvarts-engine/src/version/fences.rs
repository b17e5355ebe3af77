//! The key ranges of a level in flat arrays, so that finding a table rarely leaves them.
//!
//! All keys between the smallest and the largest of a level share a prefix. Behind it, the next 8 bytes of each table's
//! bounds are kept as big-endian integers (zero-padded), which compare as the keys do unless they are equal: only then
//! are the whole keys looked at.
use super::HasRecord;
use std::cmp::Ordering;

/// The key ranges of one level.
#[derive(Default)]
pub(super) struct Fences {
    /// What all keys of the level begin with.
    common: Box<[u8]>,
    /// Per table, what follows in its smallest key.
    smallest: Box<[u64]>,
    /// Per table, what follows in its largest key.
    largest: Box<[u64]>,
}

impl Fences {
    /// Lays out the ranges of `tables`, in their order.
    pub(super) fn new<T: HasRecord>(tables: &[T]) -> Self {
        let first = tables.iter().map(|table| table.record().smallest.as_slice()).min();
        let last = tables.iter().map(|table| table.record().largest.as_slice()).max();
        let (Some(first), Some(last)) = (first, last) else { return Self::default() };
        let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let heads = |bound: fn(&T) -> &[u8]| tables.iter().map(|table| head(&bound(table)[common..])).collect();
        Self {
            common: first[..common].into(),
            smallest: heads(|table| &table.record().smallest),
            largest: heads(|table| &table.record().largest),
        }
    }

    /// Returns what to compare `key` by, or `None` where no table of the level can hold it.
    pub(super) fn probe(&self, key: &[u8]) -> Option<u64> {
        key.strip_prefix(&*self.common).map(head)
    }

    /// Tells whether table `i`, which is `table`, has `key` in its range. `probe` is that of `key`.
    pub(super) fn holds<T: HasRecord>(&self, i: usize, table: &T, key: &[u8], probe: u64) -> bool {
        let above = match self.smallest[i].cmp(&probe) {
            Ordering::Less => true,
            Ordering::Equal => table.record().smallest.as_slice() <= key,
            Ordering::Greater => false,
        };
        above && !self.ends_before(i, table, key, probe)
    }

    /// Returns the first table that does not end before `key`, of sorted `tables` without overlap.
    pub(super) fn find<T: HasRecord>(&self, tables: &[T], key: &[u8], probe: u64) -> usize {
        let (mut low, mut high) = (0, tables.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.ends_before(middle, &tables[middle], key, probe) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn ends_before<T: HasRecord>(&self, i: usize, table: &T, key: &[u8], probe: u64) -> bool {
        match self.largest[i].cmp(&probe) {
            Ordering::Less => true,
            Ordering::Equal => table.record().largest.as_slice() < key,
            Ordering::Greater => false,
        }
    }
}

/// The first 8 bytes of `key`, zero-padded, as a number that orders as they do.
fn head(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}
