//! The memory of a store, or of several that share one budget.
//!
//! What is shared: the cache of blocks, the chunks that memtables are made of, what scans hold in advance, and spare columns.
//! Indexes and filters of all stores count against the cache, as memtables do, from when they are loaded. Blocks of a store
//! that is closed go once nobody reads it any more.
use super::spares::Spares;
use crate::memtable::Chunks;
use crate::options::Options;
use crate::table::{BlockCache, Blocks};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The part of a budget for rows on their way: of flushes, compactions and scans.
const WORK_PART: usize = 8;

/// A budget. Stores opened with the same one take what they need of it, and none of them has a part of its own.
pub struct Memory {
    bytes: usize,
    memtable_bytes: usize,
    pub(super) chunks: Arc<Chunks>,
    blocks: Arc<Blocks>,
    pub(super) spares: Arc<Spares>,
    /// Bytes that live scans may hold of rows handed out in advance.
    pub(super) scan_bytes: AtomicUsize,
    /// Bytes of indexes and filters.
    indexes: AtomicUsize,
}

impl Memory {
    /// A budget of `bytes`, of which the memtables of a store may take `memtable_bytes` before one is flushed.
    ///
    /// How much those of all stores take together is for their owner to watch: see [`Memory::memtables`].
    pub fn new(bytes: usize, memtable_bytes: usize) -> Arc<Self> {
        let chunks = Arc::new(Chunks::new(memtable_bytes));
        let blocks = Blocks::beside(cache_bytes(bytes, 0), Arc::clone(chunks.held()), memtable_bytes);
        let spares = Arc::new(Spares::beside(bytes));
        let (scan_bytes, indexes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { bytes, memtable_bytes, chunks, blocks, spares, scan_bytes, indexes })
    }

    /// Bytes of the budget.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that memtables of all stores hold at the moment, and what is kept for later ones.
    pub fn memtables(&self) -> usize {
        self.chunks.held().load(Ordering::Relaxed)
    }

    pub(super) fn of(options: &Options) -> Arc<Self> {
        Self::new(options.memory_bytes, options.memtable_bytes)
    }

    /// The options of a store that takes part.
    pub(super) fn shared_by(&self, options: Options) -> Options {
        Options { memory_bytes: self.bytes, memtable_bytes: self.memtable_bytes, ..options }
    }

    /// The cache of a store that takes part.
    pub(super) fn cache(&self, open_files: usize) -> Arc<BlockCache> {
        BlockCache::sharing(Arc::clone(&self.blocks), open_files)
    }

    /// A store's indexes and filters, which took `before` bytes, take `now`; `cache` is its own.
    pub(super) fn indexes_took(&self, before: usize, now: usize, cache: &BlockCache) {
        let others = self.indexes.fetch_add(now.wrapping_sub(before), Ordering::Relaxed).wrapping_sub(before);
        cache.set_capacity(cache_bytes(self.bytes, others + now));
    }
}

/// Bytes for the block cache and the memtables together: what indexes and filters leave of a budget, less the part of rows
/// on their way; at least an eighth.
fn cache_bytes(memory_bytes: usize, index_bytes: usize) -> usize {
    (memory_bytes - memory_bytes / WORK_PART).saturating_sub(index_bytes).max(memory_bytes / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::OsClock;
    use crate::db::{Db, Tree};
    use crate::fs::{Fs, MemFs};
    use kvarts_formats::batch::Batch;
    use std::path::Path;

    const BUDGET: usize = 4 << 20;
    const ROWS: u32 = 2_000;

    /// A store in a directory of its own, with 2 MB of rows in tables.
    fn filled(memory: &Arc<Memory>, dir: &str) -> (Arc<Db>, Tree) {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::volatile());
        let options = Options { level0_tables: 100, ..Options::default() };
        let db = Db::open_sharing(memory, fs, Arc::new(OsClock::default()), Path::new(dir), "test", options).unwrap();
        let tree = db.create_tree("rows", "", "").unwrap();
        for first in (0..ROWS).step_by(100) {
            let mut batch = Batch::new();
            for number in first..first + 100 {
                let value = number.to_le_bytes().repeat(250);
                batch.put(db.tree_info(&tree).id, &number.to_be_bytes(), &value);
            }
            db.write(&mut batch).unwrap();
        }
        db.flush().unwrap();
        (db, tree)
    }

    fn read_all(db: &Db, tree: &Tree) {
        for number in 0..ROWS {
            let found =
                db.get(tree, &number.to_be_bytes(), None, |entry| entry.map(|entry| entry.value.len())).unwrap();
            assert_eq!(found, Some(1000));
        }
    }

    #[test]
    fn stores_that_share_a_budget_hold_no_more_than_it_together() {
        let memory = Memory::new(BUDGET, BUDGET / 8);
        let stores: Vec<_> = (0..8).map(|_| filled(&memory, "/")).collect();
        for _ in 0..2 {
            stores.iter().for_each(|(db, tree)| read_all(db, tree));
        }
        let (blocks, memtables) = (stores[0].0.stats().cache_bytes as usize, memory.memtables());
        assert!(blocks > BUDGET / 8, "{blocks} bytes: the budget is used");
        assert!(blocks + memtables <= BUDGET, "{blocks} bytes of blocks, {memtables} of memtables");
    }

    #[test]
    fn a_store_that_is_closed_leaves_its_part_to_the_others() {
        let memory = Memory::new(BUDGET, BUDGET / 8);
        let ((one, tree), (other, its_tree)) = (filled(&memory, "/"), filled(&memory, "/"));
        read_all(&one, &tree);
        read_all(&other, &its_tree);
        let before = memory.indexes.load(Ordering::Relaxed);
        other.close().unwrap();
        drop((other, its_tree));
        assert!(memory.indexes.load(Ordering::Relaxed) < before);
        read_all(&one, &tree);
        assert!(one.stats().cache_bytes > 0);
        one.close().unwrap();
        drop((one, tree));
        assert_eq!(memory.indexes.load(Ordering::Relaxed), 0);
        assert_eq!(memory.cache(1).bytes(), 0, "nobody can ask for these blocks any more");
    }

    #[test]
    fn what_one_store_has_loaded_counts_also_when_another_installs_tables() {
        let memory = Memory::new(BUDGET, 0);
        let (one, other) = (memory.cache(1), memory.cache(1));
        memory.indexes_took(0, 0, &one);
        memory.indexes_took(0, 0, &other);
        one.give_up(1 << 20);
        other.give_up(1 << 19);
        let whole = cache_bytes(BUDGET, 0);
        assert_eq!(one.capacity(), whole - (1 << 20) - (1 << 19));
        memory.indexes_took(0, 1 << 19, &other);
        assert_eq!(one.capacity(), whole - (1 << 20) - (1 << 19));
        memory.indexes_took(0, 1 << 20, &one);
        assert_eq!(one.capacity(), whole - (1 << 20) - (1 << 19));
        memory.indexes_took(1 << 20, 0, &one);
        assert_eq!(one.capacity(), whole - (1 << 19));
    }

    #[test]
    fn indexes_of_all_stores_count_against_the_cache() {
        let memory = Memory::new(BUDGET, 0);
        let cache = memory.cache(1);
        memory.indexes_took(0, 1 << 20, &cache);
        memory.indexes_took(0, 2 << 20, &cache);
        memory.indexes_took(1 << 20, 1 << 19, &cache);
        assert_eq!(memory.indexes.load(Ordering::Relaxed), (2 << 20) + (1 << 19));
        assert_eq!(cache_bytes(BUDGET, 2 << 20), BUDGET - BUDGET / 8 - (2 << 20));
        assert_eq!(cache_bytes(BUDGET, BUDGET), BUDGET / 8, "however much indexes take");
    }
}
