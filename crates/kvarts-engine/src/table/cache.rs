//! The cache of decoded blocks: room for them, taken and given back.
//!
//! Which blocks go is decided in `queues`.
use super::files::OpenFiles;
use super::queues::{Entry, Shard, weight};
use super::slots::{BlockRef, Slot, Slots};
use crate::FileId;
use crate::sync::Mutex;
use kvarts_formats::block::Block;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes for which a shard is worth having, and most shards.
const SHARD_BYTES: usize = 16 << 20;
const SHARDS_MAX: usize = 16;

/// However much is lent, one in so many bytes of the capacity is left.
const LEFT_PART: usize = 16;

/// Hits are counted in so many places, so that threads seldom share one.
const STRIPES: usize = 8;

/// A counter alone in its cache line.
#[derive(Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

/// Decoded blocks of all stores that share them; bounded in bytes.
///
/// Readers take no lock. Whoever fills or empties a slot holds the lock of its shard, a leaf: no other is taken under it.
pub struct Blocks {
    shards: Box<[Mutex<Shard>]>,
    capacity: AtomicUsize,
    /// Bytes of the capacity that memtables hold at the moment, and how many are set aside for them in any case.
    lent: Arc<AtomicUsize>,
    set_aside: usize,
    /// What it was last set to hold.
    granted: AtomicUsize,
    /// Bytes of indexes and filters that were loaded and are not taken off what was granted.
    loaded: AtomicUsize,
}

/// The cache of a store as its tables see it: blocks that other stores may share, its own figures and open files.
pub struct BlockCache {
    blocks: Arc<Blocks>,
    hits: [Stripe; STRIPES],
    misses: Stripe,
    /// The open files of the store's tables.
    files: Arc<OpenFiles>,
    /// This store's part of what was loaded.
    loaded: AtomicUsize,
}

impl Blocks {
    /// Returns room for blocks of `bytes` bytes less those in `lent`, which count as at least `set_aside`.
    pub fn beside(bytes: usize, lent: Arc<AtomicUsize>, set_aside: usize) -> Arc<Self> {
        let shards = (bytes / SHARD_BYTES).clamp(1, SHARDS_MAX);
        Arc::new(Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            capacity: AtomicUsize::new(bytes),
            lent,
            set_aside,
            granted: AtomicUsize::new(bytes),
            loaded: AtomicUsize::new(0),
        })
    }

    /// Takes what was loaded off what was granted. An eighth stays.
    fn resize(&self) {
        let (granted, loaded) = (self.granted.load(Ordering::Relaxed), self.loaded.load(Ordering::Relaxed));
        let bytes = granted.saturating_sub(loaded).max(granted / 8);
        if self.capacity.swap(bytes, Ordering::Relaxed) > bytes {
            self.shrink();
        }
    }

    fn shrink(&self) {
        let share = self.share();
        self.shards.iter().for_each(|shard| shard.lock().shrink(share, share));
    }

    /// Neighbours lie in different shards.
    fn shard_of(&self, file: FileId, block: u32) -> usize {
        (file.0 as usize).wrapping_mul(7).wrapping_add(block as usize) % self.shards.len()
    }

    fn share(&self) -> usize {
        let (capacity, lent) = (self.capacity.load(Ordering::Relaxed), self.lent.load(Ordering::Relaxed));
        let left = capacity.saturating_sub(lent.max(self.set_aside));
        left.max(capacity / LEFT_PART) / self.shards.len()
    }
}

impl BlockCache {
    /// Returns a cache of `bytes` bytes, for tables that keep as many files open as the process can.
    pub fn new(bytes: usize) -> Arc<Self> {
        Self::with_files(bytes, usize::MAX)
    }

    /// The same, for tables that keep at most so many files open.
    pub fn with_files(bytes: usize, open_files: usize) -> Arc<Self> {
        Self::beside(bytes, Arc::default(), 0, open_files)
    }

    /// Returns a cache of `bytes` bytes less those in `lent`, which count as at least `set_aside`.
    pub fn beside(bytes: usize, lent: Arc<AtomicUsize>, set_aside: usize, open_files: usize) -> Arc<Self> {
        Self::sharing(Blocks::beside(bytes, lent, set_aside), open_files)
    }

    /// Returns the cache of a store whose blocks lie among those of others.
    pub fn sharing(blocks: Arc<Blocks>, open_files: usize) -> Arc<Self> {
        let (hits, misses, files) = (Default::default(), Stripe::default(), OpenFiles::new(open_files));
        Arc::new(Self { blocks, hits, misses, files, loaded: AtomicUsize::new(0) })
    }

    /// Bytes held now, by all who share them.
    pub fn bytes(&self) -> usize {
        self.blocks.shards.iter().map(|shard| shard.lock().bytes()).sum()
    }

    /// Sets how many bytes it and what is lent may hold: the budget less what indexes and filters take, all of this store's
    /// among them. 0 = hold nothing.
    pub fn set_capacity(&self, bytes: usize) {
        let blocks = &self.blocks;
        blocks.loaded.fetch_sub(self.loaded.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        blocks.granted.store(bytes, Ordering::Relaxed);
        blocks.resize();
    }

    /// Bytes that blocks and what is lent may take at the moment.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.blocks.capacity.load(Ordering::Relaxed)
    }

    /// Makes room for so many bytes of an index and a filter that were loaded, until capacity is set for this store again.
    pub(crate) fn give_up(&self, bytes: usize) {
        self.blocks.loaded.fetch_add(bytes, Ordering::Relaxed);
        self.loaded.fetch_add(bytes, Ordering::Relaxed);
        self.blocks.resize();
    }

    /// The open files of the tables that share it.
    pub(super) fn files(&self) -> &Arc<OpenFiles> {
        &self.files
    }

    /// Has the tables that are still in use keep their files open: soon they are not found by name any more.
    pub fn hold_files(&self) {
        self.files.hold();
    }

    /// Lets go of what exceeds the capacity, since more of it is lent.
    pub fn shrink(&self) {
        self.blocks.shrink();
    }

    /// Hits and misses so far. A search in memory that ends in a read counts as one miss.
    pub fn counts(&self) -> (u64, u64) {
        let hits = self.hits.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum();
        (hits, self.misses.0.load(Ordering::Relaxed))
    }

    /// Returns the block in a slot, if there is one. Counts hits only.
    #[inline]
    pub(super) fn try_get(&self, slot: &Slot) -> Option<BlockRef> {
        let found = slot.get();
        if found.is_some() {
            self.count_hit();
        }
        found
    }

    /// Counts a block that has to be read.
    pub(super) fn count_miss(&self) {
        self.misses.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts block `i` of a file into its slot, unless it is too large to be kept.
    pub(super) fn insert(&self, file: FileId, slots: &Arc<Slots>, i: u32, block: &Arc<Block>) {
        let bytes = weight(block);
        let blocks = &self.blocks;
        if bytes > blocks.share() {
            return;
        }
        let entry = Entry { slots: Arc::clone(slots), block: i, bytes: bytes as u32 };
        let mut shard = blocks.shards[blocks.shard_of(file, i)].lock();
        // Asked under the lock: whoever takes capacity away comes for this shard before or after.
        let share = blocks.share();
        if bytes <= share {
            shard.insert(entry, Arc::clone(block), share);
        }
    }

    /// Forgets all blocks of a file that nobody reads any more.
    pub(super) fn forget(&self, file: FileId, slots: &Slots) {
        let (blocks, count) = (&self.blocks, self.blocks.shards.len());
        for (at, shard) in blocks.shards.iter().enumerate() {
            let first = (at + count - blocks.shard_of(file, 0)) % count;
            let mut shard = shard.lock();
            slots.iter().skip(first).step_by(count).for_each(|slot| shard.forget(slot));
            shard.sweep();
        }
    }

    #[inline]
    fn count_hit(&self) {
        self.hits[stripe()].0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The stripe of this thread.
#[inline]
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    let known = STRIPE.get();
    if known < STRIPES {
        return known;
    }
    let chosen = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    STRIPE.set(chosen);
    chosen
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hits, misses) = self.counts();
        write!(f, "<BlockCache bytes={} hits={hits} misses={misses}>", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::slots;
    use super::*;
    use crate::{Kind, Revision};
    use kvarts_formats::block::BlockBuilder;

    fn block(value_len: usize) -> Arc<Block> {
        let mut builder = BlockBuilder::new(16);
        builder.add(b"key", Revision(1), Kind::Put, &vec![0; value_len]);
        Arc::new(Block::parse(builder.finish()).unwrap())
    }

    /// Blocks `range` of the file are asked for once, and put in where they are not there. Returns the hits.
    fn pass(cache: &BlockCache, slots: &Arc<Slots>, range: std::ops::Range<u32>, bytes: usize) -> usize {
        let is_hit = |&i: &u32| {
            let hit = cache.try_get(&slots[i as usize]).is_some();
            (!hit).then(|| cache.insert(FileId(1), slots, i, &block(bytes)));
            hit
        };
        range.filter(is_hit).count()
    }

    #[test]
    fn it_holds_no_more_than_its_capacity() {
        let (cache, slots) = (BlockCache::new(1 << 20), slots(1000));
        pass(&cache, &slots, 0..1000, 8000);
        assert!(cache.bytes() <= 1 << 20 && cache.bytes() > 1 << 19, "{cache:?}");
        cache.set_capacity(1 << 18);
        assert!(cache.bytes() <= 1 << 18);
        let held = slots.iter().filter(|slot| !slot.is_empty()).count();
        assert_eq!(cache.bytes(), held * weight(&block(8000)));
    }

    #[test]
    fn nothing_is_held_at_capacity_0() {
        let (cache, slots) = (BlockCache::new(1 << 20), slots(2));
        cache.insert(FileId(1), &slots, 0, &block(100));
        cache.set_capacity(0);
        cache.insert(FileId(1), &slots, 1, &block(100));
        assert_eq!(cache.bytes(), 0);
        assert!(slots.iter().all(Slot::is_empty));
    }

    #[test]
    fn what_is_lent_is_not_held_and_comes_back() {
        let lent = Arc::new(AtomicUsize::new(0));
        let (cache, slots) = (BlockCache::beside(1 << 20, Arc::clone(&lent), 100_000, 9), slots(300));
        let fill = || (0..300).for_each(|i| cache.insert(FileId(1), &slots, i, &block(8000)));
        let is_about = |bytes: usize| cache.bytes() <= bytes && cache.bytes() + 10_000 > bytes;
        fill();
        assert!(is_about((1 << 20) - 100_000), "what is set aside is not used: {cache:?}");
        lent.store(700_000, Ordering::Relaxed);
        cache.shrink();
        assert!(is_about((1 << 20) - 700_000), "{cache:?}");
        lent.store(1 << 30, Ordering::Relaxed);
        fill();
        assert!(is_about((1 << 20) / LEFT_PART), "a little is left: {cache:?}");
        lent.store(0, Ordering::Relaxed);
        fill();
        assert!(is_about((1 << 20) - 100_000), "{cache:?}");
    }

    #[test]
    fn hits_and_misses_are_counted() {
        let (cache, slots) = (BlockCache::new(1 << 20), slots(1));
        assert!(cache.try_get(&slots[0]).is_none());
        cache.count_miss();
        cache.insert(FileId(1), &slots, 0, &block(100));
        assert!(cache.try_get(&slots[0]).is_some() && cache.try_get(&slots[0]).is_some());
        assert!(slots[0].peek().is_some());
        assert_eq!(cache.counts(), (2, 1));
    }

    #[test]
    fn a_file_is_forgotten_alone() {
        for megabytes in [1, 64, 200] {
            let cache = BlockCache::new(megabytes << 20);
            let (gone, stays) = (slots(100), slots(100));
            for i in 0..100 {
                cache.insert(FileId(1), &gone, i, &block(100));
                cache.insert(FileId(2), &stays, i, &block(100));
            }
            cache.forget(FileId(1), &gone);
            assert!(gone.iter().all(Slot::is_empty) && !stays.iter().any(Slot::is_empty));
            assert_eq!(cache.bytes(), 100 * weight(&block(100)));
            cache.set_capacity(0);
            assert_eq!(cache.bytes(), 0, "what is left is found, past what was forgotten");
        }
    }

    #[test]
    fn a_scan_does_not_push_out_what_is_hot() {
        let (cache, slots) = (BlockCache::new(64 << 20), slots(100_000));
        let hot = 0..4000; // Of 8000 that fit.
        (0..3).for_each(|_| _ = pass(&cache, &slots, hot.clone(), 8000));
        assert_eq!(pass(&cache, &slots, 20_000..100_000, 8000), 0, "ten times the cache");
        let hits = pass(&cache, &slots, hot.clone(), 8000);
        assert!(hits * 100 > hot.len() * 90, "{hits} hits of {}", hot.len());
    }

    #[test]
    fn a_new_hot_set_takes_the_place_of_the_old() {
        let (cache, slots) = (BlockCache::new(64 << 20), slots(20_000));
        (0..5).for_each(|_| _ = pass(&cache, &slots, 0..6000, 8000));
        (0..8).for_each(|_| _ = pass(&cache, &slots, 10_000..16_000, 8000));
        let hits = pass(&cache, &slots, 10_000..16_000, 8000);
        assert!(hits > 5400, "{hits} hits of 6000");
    }

    #[test]
    fn newcomers_that_nobody_wants_again_are_refused_until_some_are() {
        let (cache, slots) = (BlockCache::new(16 << 20), slots(400_000));
        pass(&cache, &slots, 0..100_000, 8000);
        let there = |range: std::ops::Range<usize>| slots[range].iter().filter(|slot| !slot.is_empty()).count();
        assert_eq!((there(10_000..100_000), there(0..10_000) > 1500), (0, true), "only the first came in");
        assert_eq!(pass(&cache, &slots, 99_900..100_000, 8000), 0);
        assert_eq!(pass(&cache, &slots, 99_900..100_000, 8000), 100, "what comes back is taken in");
        let burst = |start| (0..5).map(|_| pass(&cache, &slots, start..start + 100, 8000)).sum::<usize>();
        let hits: usize = (0..100).map(|number| burst(200_000 + 100 * number)).sum();
        assert!(hits > 39_000, "{hits} hits of 40,000 that bursts could have");
    }

    #[test]
    fn readers_that_fill_and_forget_at_once_leave_the_count_right() {
        let (cache, shared) = (BlockCache::new(1 << 20), slots(64));
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let (cache, shared) = (&cache, &shared);
                scope.spawn(move || {
                    for round in 0..500u32 {
                        let own = slots(16);
                        (0..16).for_each(|i| cache.insert(FileId(9), &own, i, &block(3000)));
                        pass(cache, shared, (thread + round) % 32..64, 20_000);
                        cache.forget(FileId(9), &own);
                    }
                });
            }
        });
        let held: usize = shared.iter().filter_map(Slot::peek).map(|block| weight(&block)).sum();
        assert_eq!(cache.bytes(), held);
        assert!(held <= 1 << 20);
    }
}
