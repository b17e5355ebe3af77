//! Memory of columns that nobody reads any more, for later ones: what is fresh from the kernel costs a fault per page, which
//! is more than the rows that fill it.
use crate::sync::Mutex;

/// The part of `memory` that is kept at most.
const MEMORY_PART: usize = 8;

/// Columns of a kind that are kept at most: many small batches must not make the search for a large one long.
const COLUMNS_MAX: usize = 16;

/// Memory of a column: offsets and bytes.
pub type ColumnMemory = (Vec<i32>, Vec<u8>);

/// Which column: what a store keeps of keys and of values differs in size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnOf {
    /// Keys.
    Keys,
    /// Values.
    Values,
}

/// Spare memory of a store, bounded in bytes.
#[derive(Debug)]
pub struct Spares(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    columns: [Vec<ColumnMemory>; 2],
    bytes: usize,
    bytes_max: usize,
}

impl Spares {
    pub(super) fn beside(memory_bytes: usize) -> Self {
        let bytes_max = memory_bytes / MEMORY_PART;
        Self(Mutex::new(Kept { columns: Default::default(), bytes: 0, bytes_max }))
    }

    /// Takes memory back. Never waits: in a forked child the lock may be held by a thread that is not there.
    pub fn give(&self, of: ColumnOf, mut memory: ColumnMemory) {
        memory.0.clear();
        memory.1.clear();
        let size = bytes_of(&memory);
        if let Some(mut kept) = self.0.try_lock()
            && kept.bytes + size <= kept.bytes_max
            && kept.columns[of as usize].len() < COLUMNS_MAX
        {
            kept.bytes += size;
            kept.columns[of as usize].push(memory);
        }
    }

    /// Returns memory for a column: empty, and the largest that was used before where there is any.
    pub(super) fn take(&self, of: ColumnOf) -> ColumnMemory {
        let Some(mut kept) = self.0.try_lock() else { return ColumnMemory::default() };
        let columns = &mut kept.columns[of as usize];
        let largest = (0..columns.len()).max_by_key(|&at| bytes_of(&columns[at]));
        let Some(memory) = largest.map(|at| columns.swap_remove(at)) else { return ColumnMemory::default() };
        kept.bytes -= bytes_of(&memory);
        memory
    }

    /// Lets all go, and keeps none from now on.
    pub(super) fn keep_none(&self) {
        let mut kept = self.0.lock();
        *kept = Kept { columns: Default::default(), bytes: 0, bytes_max: 0 };
    }
}

fn bytes_of((ends, bytes): &ColumnMemory) -> usize {
    ends.capacity() * size_of::<i32>() + bytes.capacity()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_up_to_the_bound() {
        let spares = Spares::beside(1000 * MEMORY_PART);
        spares.give(ColumnOf::Keys, (vec![1; 10], vec![2; 500]));
        spares.give(ColumnOf::Values, (vec![1; 10], vec![2; 500]));
        assert_eq!(spares.take(ColumnOf::Values).1.capacity(), 0, "the second was too much");
        let (ends, bytes) = spares.take(ColumnOf::Keys);
        assert!(ends.is_empty() && bytes.is_empty() && ends.capacity() == 10 && bytes.capacity() == 500);
        spares.give(ColumnOf::Values, (ends, bytes));
        (0..2 * COLUMNS_MAX).for_each(|_| spares.give(ColumnOf::Keys, (vec![1], Vec::new())));
        assert_eq!(spares.0.lock().columns[ColumnOf::Keys as usize].len(), COLUMNS_MAX);
        spares.keep_none();
        assert_eq!(spares.take(ColumnOf::Values).1.capacity(), 0);
        spares.give(ColumnOf::Keys, (vec![1], vec![2]));
        assert_eq!(spares.take(ColumnOf::Keys).1.capacity(), 0);
    }
}
