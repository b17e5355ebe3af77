//! A hash table from each key to its first row, so that a point read costs two cache misses and not a search.
//!
//! Open addressing with linear probing, one writer, readers without locks. It lives in the arena. Where it grows too full the
//! writer copies it into one twice as large and publishes that; readers of the old one find all that was published before.
use super::arena::Arena;
use super::node::{Node, Row};
use crate::prefetch;
use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::sync::{Plant, Witness, is_planted, publishing};
use std::ptr;

/// Slots of the first table: few in a model, which then sees it grow.
const SLOTS_MIN: usize = if cfg!(feature = "model") { 4 } else { 32 };

/// The table in use. Invariant: points to a [`Slots`] in the arena of the list.
pub(super) struct Lookup {
    slots: AtomicPtr<Slots>,
}

/// The head of a table. `count` tags (`AtomicU32`), then as many rows (`AtomicPtr<Node>`), follow it in the same piece.
///
/// Invariant: a tag is 0 where the slot is free, and then never was anything else; else it is the lower half of the hash of
/// the key of the row, never changes, and was stored (`Release`) after the row. At least one slot is free.
#[repr(C)]
struct Slots {
    /// A power of two.
    count: usize,
    /// Slots taken. Only the writer uses it.
    taken: AtomicU32,
    written: Witness,
}

/// What stands for a hash in a slot: never 0.
#[inline]
fn tag_of(hash: u64) -> u32 {
    (hash as u32).max(1)
}

/// A table that the writer or a reader holds.
///
/// Invariant: `0` was made by [`Table::allocate`] in an arena that outlives this.
#[derive(Clone, Copy)]
struct Table(*mut Slots);

impl Table {
    fn allocate(arena: &mut Arena, count: usize) -> Self {
        debug_assert!(count.is_power_of_two() && count <= 1 << 32);
        let tags = count * size_of::<AtomicU32>();
        let rows = count * size_of::<AtomicPtr<Node>>();
        let slots = arena.take(size_of::<Slots>() + tags + rows).cast::<Slots>().as_ptr();
        // SAFETY: the piece is ours alone, aligned, and as long as head, tags and rows together.
        unsafe {
            slots.write(Slots { count, taken: AtomicU32::new(0), written: Witness::default() });
            let tags = slots.add(1).cast::<AtomicU32>();
            (0..count).for_each(|at| tags.add(at).write(AtomicU32::new(0)));
            let rows = tags.add(count).cast::<AtomicPtr<Node>>();
            (0..count).for_each(|at| rows.add(at).write(AtomicPtr::new(ptr::null_mut())));
            (*slots).written.write();
        }
        Self(slots)
    }

    #[inline]
    fn head<'a>(self) -> &'a Slots {
        // SAFETY: the invariant of `Table`; only atomics in it change.
        let head = unsafe { &*self.0 };
        head.written.read();
        head
    }

    /// Tag and row of a slot below `count`.
    #[inline]
    fn slot<'a>(self, at: usize) -> (&'a AtomicU32, &'a AtomicPtr<Node>) {
        let count = self.head().count;
        debug_assert!(at < count);
        // SAFETY: the invariant of `Table`: so many tags and rows follow the head; callers mask `at` with `count - 1`.
        unsafe {
            let tags = self.0.add(1).cast::<AtomicU32>();
            (&*tags.add(at), &*tags.add(count).cast::<AtomicPtr<Node>>().add(at))
        }
    }

    /// Returns the slots to probe for a tag, in order. Endless: the caller stops at a free one.
    #[inline]
    fn probe<'a>(self, tag: u32) -> impl Iterator<Item = (&'a AtomicU32, &'a AtomicPtr<Node>)> {
        let mask = self.head().count - 1;
        (tag as usize..).map(move |at| self.slot(at & mask))
    }

    /// Takes the first free slot on the way of `tag`.
    fn take(self, tag: u32, row: *mut Node) {
        let (free, place) = self
            .probe(tag)
            .find(|(found, _)| found.load(Ordering::Relaxed) == 0)
            .expect("the probe is endless and a slot is free");
        if is_planted(Plant::Slot) {
            free.store(tag, Ordering::Release);
        }
        place.store(row, Ordering::Relaxed);
        free.store(tag, publishing(Plant::Note));
        self.head().taken.store(self.head().taken.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Returns a table twice as large with the same rows.
    fn grown(self, arena: &mut Arena) -> Self {
        let grown = Self::allocate(arena, self.head().count * 2);
        for at in 0..self.head().count {
            let (tag, row) = self.slot(at);
            if tag.load(Ordering::Relaxed) != 0 {
                grown.take(tag.load(Ordering::Relaxed), row.load(Ordering::Relaxed));
            }
        }
        grown
    }
}

impl Lookup {
    pub(super) fn new(arena: &mut Arena) -> Self {
        Self { slots: AtomicPtr::new(Table::allocate(arena, SLOTS_MIN).0) }
    }

    #[inline]
    fn table(&self) -> Table {
        Table(self.slots.load(Ordering::Acquire))
    }

    /// Returns the first row of `key`, whose hash is `hash`.
    #[inline]
    pub(super) fn first(&self, key: &[u8], hash: u64) -> Option<Row> {
        let wanted = tag_of(hash);
        for (tag, row) in self.table().probe(wanted) {
            match tag.load(Ordering::Acquire) {
                0 => return None,
                tag if tag == wanted => {
                    // SAFETY: the tag is not 0, so a row of this list was stored before it, whole (`Release`).
                    let row = unsafe { Row::new(row.load(Ordering::Acquire)) };
                    if row.key() == key {
                        return Some(row);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Fetches the place of a hash into the cache while the caller does other work.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        let table = self.table();
        let (tag, row) = table.slot(tag_of(hash) as usize & (table.head().count - 1));
        prefetch::line(ptr::from_ref(tag).cast());
        prefetch::line(ptr::from_ref(row).cast());
    }

    /// Notes a row that is linked or waits in the tail: it becomes the first of its key unless a newer one is known. Only for the writer.
    #[inline]
    pub(super) fn note(&self, arena: &mut Arena, hash: u64, new: Row) {
        let wanted = tag_of(hash);
        let table = self.table();
        for (tag, row) in table.probe(wanted) {
            match tag.load(Ordering::Relaxed) {
                0 => break,
                tag if tag == wanted => {
                    // SAFETY: the tag is not 0, so a row of this list was stored before it, by this writer or with the
                    // acquiring swap of `writing` in between.
                    let known = unsafe { Row::new(row.load(Ordering::Relaxed)) };
                    if known.key() == new.key() {
                        if new.revision() >= known.revision() {
                            row.store(new.as_ptr(), publishing(Plant::Note));
                        }
                        return;
                    }
                }
                _ => {}
            }
        }
        table.take(wanted, new.as_ptr());
        let head = table.head();
        // Three quarters: a probe for an absent key then reads about a cache line of tags.
        if head.taken.load(Ordering::Relaxed) as usize * 4 >= head.count * 3 {
            self.slots.store(table.grown(arena).0, publishing(Plant::Grow));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunks::Chunks;
    use super::*;
    use crate::{Kind, Revision};
    use std::sync::Arc;

    fn row(arena: &mut Arena, key: &[u8], revision: u64) -> Row {
        // SAFETY: just allocated; the tests keep the arena until they end.
        unsafe { Row::new(Node::allocate(arena, 1, key, Revision(revision), Kind::Put, b"")) }
    }

    #[test]
    fn keys_of_equal_hash_are_told_apart() {
        let mut arena = Arena::new(Arc::new(Chunks::new(0)));
        let lookup = Lookup::new(&mut arena);
        let rows: Vec<Row> = (0..200u8).map(|i| row(&mut arena, &[i], 1)).collect();
        for (i, &row) in rows.iter().enumerate() {
            lookup.note(&mut arena, (i % 3) as u64, row);
        }
        for (i, row) in rows.iter().enumerate() {
            assert!(lookup.first(&[i as u8], (i % 3) as u64) == Some(*row), "{i}");
        }
        assert!(lookup.first(&[200], 0).is_none());
        assert!(lookup.first(&[0], 7).is_none());
    }

    #[test]
    fn the_newest_row_of_a_key_is_first() {
        let mut arena = Arena::new(Arc::new(Chunks::new(0)));
        let lookup = Lookup::new(&mut arena);
        let [old, new, again] = [1, 5, 5].map(|revision| row(&mut arena, b"k", revision));
        lookup.note(&mut arena, 9, new);
        lookup.note(&mut arena, 9, old);
        assert!(lookup.first(b"k", 9) == Some(new));
        lookup.note(&mut arena, 9, again);
        assert!(lookup.first(b"k", 9) == Some(again));
    }
}
