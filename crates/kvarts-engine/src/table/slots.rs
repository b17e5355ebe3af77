//! Where the cached blocks of a table hang: one slot per block, read without a lock, a hash or a counter shared by readers.
use crate::prefetch::{self, LINE_BYTES};
use arc_swap::{ArcSwapOption, Guard};
use kvarts_formats::block::Block;
use std::ops::Deref;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, Ordering};

/// Hits that a block is remembered for.
const HEAT_MAX: u8 = 3;

/// The place of one block. Only who holds the lock of its shard (see `cache`) fills or empties it.
#[derive(Default)]
pub(super) struct Slot {
    block: ArcSwapOption<Block>,
    /// Where the block lies, for a prefetch and nothing else: it may have gone.
    place: AtomicPtr<Block>,
    /// When it last left the queue of newcomers, in evictions of its shard; 0 = never.
    pub(super) left: AtomicU32,
    /// Hits since it was looked at for eviction.
    heat: AtomicU8,
    /// True where it stands in the main queue.
    pub(super) is_main: AtomicBool,
}

impl Slot {
    /// Returns the block and keeps it longer.
    #[inline]
    pub(super) fn get(&self) -> Option<BlockRef> {
        let block = self.block.load();
        if block.is_none() {
            return None;
        }
        let heat = self.heat.load(Ordering::Relaxed);
        if heat < HEAT_MAX {
            // Two readers at once may count as one: nothing depends on it.
            self.heat.store(heat + 1, Ordering::Relaxed);
        }
        Some(BlockRef(block))
    }

    /// Fetches what a search looks at first, for one that will come soon.
    #[inline]
    pub(super) fn prefetch(&self) {
        let place = self.place.load(Ordering::Relaxed).cast::<u8>().cast_const();
        // Its count in front of it, and its fields.
        [place.wrapping_sub(LINE_BYTES), place, place.wrapping_add(LINE_BYTES)].into_iter().for_each(prefetch::line);
    }

    /// Returns the block without keeping it longer.
    pub(super) fn peek(&self) -> Option<Arc<Block>> {
        self.block.load_full()
    }

    /// Tells whether there is no block.
    pub(super) fn is_empty(&self) -> bool {
        self.block.load().is_none()
    }

    /// Takes a block in, cold.
    pub(super) fn fill(&self, block: Arc<Block>) {
        self.heat.store(0, Ordering::Relaxed);
        self.place.store(Arc::as_ptr(&block).cast_mut(), Ordering::Relaxed);
        self.block.store(Some(block));
    }

    /// Returns what was in it.
    pub(super) fn empty(&self) -> Option<Arc<Block>> {
        self.place.store(ptr::null_mut(), Ordering::Relaxed);
        self.block.swap(None)
    }

    /// Returns the hits since the last call that `keep` of them were left at.
    pub(super) fn cool(&self, keep: impl FnOnce(u8) -> u8) -> u8 {
        let heat = self.heat.load(Ordering::Relaxed);
        self.heat.store(keep(heat), Ordering::Relaxed);
        heat
    }
}

/// The slots of a table, by block number.
pub(super) type Slots = Box<[Slot]>;

/// Returns empty slots for so many blocks.
pub(super) fn slots(blocks: usize) -> Arc<Slots> {
    Arc::new((0..blocks).map(|_| Slot::default()).collect())
}

/// A block that a reader holds. Taking one from the cache writes to no memory that other threads use.
pub struct BlockRef(Guard<Option<Arc<Block>>>);

impl BlockRef {
    /// Returns the block for longer: a thread has few cheap holds.
    pub fn into_arc(self) -> Arc<Block> {
        Guard::into_inner(self.0).expect("a BlockRef holds a block")
    }
}

impl From<Arc<Block>> for BlockRef {
    fn from(block: Arc<Block>) -> Self {
        Self(Guard::from_inner(Some(block)))
    }
}

impl Deref for BlockRef {
    type Target = Block;

    #[inline]
    fn deref(&self) -> &Block {
        self.0.as_ref().expect("a BlockRef holds a block")
    }
}
