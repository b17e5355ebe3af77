//! The queues of a part of the cache: which blocks go.
//!
//! Blocks hang in the slots of their tables; the cache keeps them in two queues per shard. A newcomer stands in the first, which
//! holds a tenth of the bytes: what nobody asks for again before it reaches the end goes, so a scan passes through that
//! tenth. What was asked for moves to the main queue, where each hit buys another round. A block that comes back soon after it
//! went is no newcomer. Source: Yang et al. 2023, S3-FIFO. Where hardly any newcomer is asked for again, a full cache only
//! notes them, and takes in those that come back: keeping one costs a good part of its read (figures: ADR 0013).
use super::slots::{Slot, Slots};
use kvarts_formats::block::Block;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What an entry costs beside its block: the counters in front of it, its place in a queue, what the allocator adds.
const ENTRY_BYTES: usize = 128;

/// Of the bytes of a shard, newcomers take one in so many.
const NEW_PART: usize = 10;

/// After so many newcomers of a shard went it is asked how many blocks were wanted again meanwhile: newcomers are refused
/// from fewer than one in [`COLD_PART`] on, until one in [`WARM_PART`] is.
const ROUND: u32 = 256;
const COLD_PART: u32 = 32;
const WARM_PART: u32 = 16;

/// A cached block as the queues know it.
pub(super) struct Entry {
    pub(super) slots: Arc<Slots>,
    pub(super) block: u32,
    /// What it weighs. Blocks have less than 4 GiB.
    pub(super) bytes: u32,
}

impl Entry {
    fn slot(&self) -> &Slot {
        &self.slots[self.block as usize]
    }
}

/// Entries, oldest first, and their bytes. Entries of forgotten tables stay until they are met; their slots are empty.
#[derive(Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes as usize;
        self.entries.push_back(entry);
    }

    /// Takes the oldest live entry.
    fn pop(&mut self, dead: &mut usize) -> Option<Entry> {
        while let Some(entry) = self.entries.pop_front() {
            if !entry.slot().is_empty() {
                self.bytes -= entry.bytes as usize;
                return Some(entry);
            }
            *dead -= 1;
        }
        None
    }
}

/// A part of the blocks, chosen by file and number.
#[derive(Default)]
pub(super) struct Shard {
    new: Queue,
    main: Queue,
    /// Entries whose slots are empty.
    dead: usize,
    /// Newcomers that went so far, from 1: a clock for `Slot::left`.
    evictions: u32,
    /// In this round: newcomers that went, and blocks that were asked for again soon.
    gone: u32,
    wanted: u32,
    /// A newcomer for which there is no room is refused.
    is_cold: bool,
}

impl Shard {
    pub(super) fn bytes(&self) -> usize {
        self.new.bytes + self.main.bytes
    }

    pub(super) fn insert(&mut self, entry: Entry, block: Arc<Block>, share: usize) {
        let slot = entry.slot();
        if !slot.is_empty() {
            return;
        }
        let left = slot.left.load(Ordering::Relaxed);
        // As many that went are remembered as would fit.
        let remembered = share / entry.bytes as usize;
        let comes_back = left != 0 && (self.evictions.wrapping_sub(left) as usize) <= remembered;
        self.wanted += u32::from(comes_back);
        let room = share - entry.bytes as usize;
        if self.is_cold && !comes_back && self.bytes() > room {
            self.note(slot);
            return self.shrink(share, share);
        }
        self.shrink(room, share);
        let slot = entry.slot();
        slot.is_main.store(comes_back, Ordering::Relaxed);
        slot.fill(block);
        if comes_back { self.main.push(entry) } else { self.new.push(entry) }
    }

    /// Remembers a newcomer that goes, or does not come in at all.
    fn note(&mut self, slot: &Slot) {
        self.evictions = self.evictions.wrapping_add(1).max(1);
        slot.left.store(self.evictions, Ordering::Relaxed);
        self.gone += 1;
        if self.gone == ROUND {
            self.is_cold = self.wanted < ROUND / if self.is_cold { WARM_PART } else { COLD_PART };
            (self.gone, self.wanted) = (0, 0);
        }
    }

    /// Evicts until at most `bytes` are left, of a shard that may hold `share`.
    pub(super) fn shrink(&mut self, bytes: usize, share: usize) {
        while self.bytes() > bytes {
            if self.new.bytes > share / NEW_PART || self.main.bytes == 0 {
                self.evict_new();
            } else {
                self.evict_main();
            }
        }
    }

    fn evict_new(&mut self) {
        let Some(entry) = self.new.pop(&mut self.dead) else { return };
        if entry.slot().cool(|_| 0) > 0 {
            entry.slot().is_main.store(true, Ordering::Relaxed);
            self.wanted += 1;
            return self.main.push(entry);
        }
        self.note(entry.slot());
        entry.slot().empty();
    }

    fn evict_main(&mut self) {
        // Ends also where readers heat them all again meanwhile.
        let mut more = 4 * self.main.entries.len();
        while let Some(entry) = self.main.pop(&mut self.dead) {
            more = more.saturating_sub(1);
            if entry.slot().cool(|heat| heat.saturating_sub(1)) == 0 || more == 0 {
                entry.slot().empty();
                return;
            }
            self.main.push(entry);
        }
    }

    /// Empties a slot whose table is gone.
    pub(super) fn forget(&mut self, slot: &Slot) {
        let Some(block) = slot.empty() else { return };
        let queue = if slot.is_main.load(Ordering::Relaxed) { &mut self.main } else { &mut self.new };
        queue.bytes -= weight(&block);
        self.dead += 1;
    }

    /// Drops dead entries once they are the most.
    pub(super) fn sweep(&mut self) {
        if self.dead * 2 > self.new.entries.len() + self.main.entries.len() {
            self.new.entries.retain(|entry| !entry.slot().is_empty());
            self.main.entries.retain(|entry| !entry.slot().is_empty());
            self.dead = 0;
        }
    }
}

pub(super) fn weight(block: &Block) -> usize {
    block.bytes() + ENTRY_BYTES
}
