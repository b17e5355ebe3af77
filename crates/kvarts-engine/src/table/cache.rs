//! The cache of decoded blocks.
use crate::FileId;
use kvarts_formats::block::Block;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A block of a store: its file and its number there.
pub(super) type BlockKey = (FileId, u32);

/// What an entry costs beside its block: the `Arc`, the entry, its share of the cache's tables.
const ENTRY_BYTES: usize = 128;

/// Bytes of a usual block: says how many entries to expect.
const BLOCK_BYTES_USUAL: usize = 8 << 10;

/// Hits are counted in so many places, so that readers on several cores do not share one.
const STRIPES: usize = 8;

#[derive(Clone)]
struct Bytes;

impl Weighter<BlockKey, Arc<Block>> for Bytes {
    fn weight(&self, _: &BlockKey, block: &Arc<Block>) -> u64 {
        (block.bytes() + ENTRY_BYTES) as u64
    }
}

/// A counter alone in its cache line.
#[derive(Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

/// The cache of decoded blocks, keyed by (file, block number); bounded in bytes; shared by all tables of a store.
pub struct BlockCache {
    blocks: Cache<BlockKey, Arc<Block>, Bytes>,
    capacity: AtomicUsize,
    hits: [Stripe; STRIPES],
    misses: Stripe,
}

impl BlockCache {
    /// Returns a cache of `bytes` bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            blocks: Cache::with_weighter(bytes / BLOCK_BYTES_USUAL, bytes as u64, Bytes),
            capacity: AtomicUsize::new(bytes),
            hits: Default::default(),
            misses: Stripe::default(),
        })
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.blocks.weight() as usize
    }

    /// Sets how many bytes it may hold: the budget less what indexes, filters and memtables take. 0 = hold nothing.
    pub fn set_capacity(&self, bytes: usize) {
        self.capacity.store(bytes, Ordering::Relaxed);
        self.blocks.set_capacity(bytes as u64);
    }

    /// Hits and misses so far. A search in memory that ends in a read counts as one miss.
    pub fn counts(&self) -> (u64, u64) {
        let hits = self.hits.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum();
        (hits, self.misses.0.load(Ordering::Relaxed))
    }

    /// Returns a block, waiting for a lock if another thread inserts.
    #[inline]
    pub(super) fn get(&self, key: BlockKey) -> Option<Arc<Block>> {
        let found = self.blocks.get(&key);
        match found {
            Some(_) => self.count_hit(key),
            None => _ = self.misses.0.fetch_add(1, Ordering::Relaxed),
        }
        found
    }

    /// Returns a block; `None` also where another thread holds the lock. Counts hits only.
    #[inline]
    pub(super) fn try_get(&self, key: BlockKey) -> Option<Arc<Block>> {
        let found = self.blocks.try_get(&key).ok().flatten();
        if found.is_some() {
            self.count_hit(key);
        }
        found
    }

    /// Returns a block without counting it or keeping it longer.
    pub(super) fn peek(&self, key: BlockKey) -> Option<Arc<Block>> {
        self.blocks.peek(&key)
    }

    /// Adds a block, unless the cache is to hold nothing or the block is too large for it.
    pub(super) fn insert(&self, key: BlockKey, block: &Arc<Block>) {
        if self.capacity.load(Ordering::Relaxed) > 0 {
            self.blocks.insert(key, Arc::clone(block));
        }
    }

    /// Forgets blocks `0..blocks` of a file.
    pub(super) fn forget(&self, file: FileId, blocks: usize) {
        for block in 0..blocks as u32 {
            self.blocks.remove(&(file, block));
        }
    }

    #[inline]
    fn count_hit(&self, key: BlockKey) {
        self.hits[key.1 as usize % STRIPES].0.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hits, misses) = self.counts();
        write!(f, "<BlockCache blocks={} bytes={} hits={hits} misses={misses}>", self.blocks.len(), self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Revision};
    use kvarts_formats::block::BlockBuilder;

    fn block(value_len: usize) -> Arc<Block> {
        let mut builder = BlockBuilder::new(16);
        builder.add(b"key", Revision(1), Kind::Put, &vec![0; value_len]);
        Arc::new(Block::parse(builder.finish()).unwrap())
    }

    #[test]
    fn it_holds_no_more_than_its_capacity() {
        let cache = BlockCache::new(1 << 20);
        (0..1000).for_each(|i| cache.insert((FileId(1), i), &block(8000)));
        assert!(cache.bytes() <= 1 << 20 && cache.bytes() > 1 << 19, "{cache:?}");
        cache.set_capacity(1 << 18);
        assert!(cache.bytes() <= 1 << 18);
    }

    #[test]
    fn nothing_is_held_at_capacity_0() {
        let cache = BlockCache::new(1 << 20);
        cache.insert((FileId(1), 0), &block(100));
        cache.set_capacity(0);
        cache.insert((FileId(1), 1), &block(100));
        assert_eq!(cache.bytes(), 0);
        assert!(BlockCache::new(0).get((FileId(1), 0)).is_none());
    }

    #[test]
    fn hits_and_misses_are_counted() {
        let cache = BlockCache::new(1 << 20);
        assert!(cache.try_get((FileId(1), 0)).is_none() && cache.get((FileId(1), 0)).is_none());
        cache.insert((FileId(1), 0), &block(100));
        assert!(cache.try_get((FileId(1), 0)).is_some() && cache.get((FileId(1), 0)).is_some());
        assert!(cache.peek((FileId(1), 0)).is_some());
        assert_eq!(cache.counts(), (2, 1));
    }

    #[test]
    fn a_file_is_forgotten_alone() {
        let cache = BlockCache::new(1 << 20);
        for (file, i) in [(1, 0), (1, 1), (2, 0)] {
            cache.insert((FileId(file), i), &block(100));
        }
        cache.forget(FileId(1), 2);
        assert!(cache.peek((FileId(1), 0)).is_none() && cache.peek((FileId(1), 1)).is_none());
        assert!(cache.peek((FileId(2), 0)).is_some());
    }
}
