//! Rows that are written but not linked yet: they are linked together, which costs a fraction of linking each by itself.
//!
//! A search of the list waits for memory at each step. Sixteen searches side by side wait sixteen at a time. So a row that
//! does not belong right behind the last one is noted here first, where gets (through the table of keys) and cursors find it,
//! and the row that fills the tail pays for all.
use super::node::{HEIGHT_MAX, Node, Row, Target};
use super::{SkipList, Writer};
use crate::Revision;
use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use crate::sync::{Plant, publishing};
use std::array;
use std::cmp::Reverse;
use std::ptr;

/// Rows that wait: so few in a model that it sees them linked.
pub(super) const TAIL_MAX: usize = if cfg!(feature = "model") { 2 } else { 64 };
/// Searches that run side by side: about as many cache misses as a core has under way.
const SEARCHES: usize = 16;

/// The rows that wait, in the order of their inserts.
///
/// Invariants: a slot below `len` holds a row of the list, written in full before the slot was stored (`Release`). A slot once
/// set always holds some row. `len` falls to 0 only after every row of the tail is linked, and is loaded before the list is
/// searched: a reader finds each row in one of the two, or in both.
pub(super) struct Tail {
    slots: [AtomicPtr<Node>; TAIL_MAX],
    len: AtomicUsize,
}

impl Tail {
    pub(super) fn new() -> Self {
        Self { slots: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())), len: AtomicUsize::new(0) }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// Adds a row, and tells whether there is no room for another. Only for the writer.
    pub(super) fn push(&self, row: Row) -> bool {
        let len = self.len.load(Ordering::Relaxed);
        self.slots[len].store(row.as_ptr(), publishing(Plant::Link));
        self.len.store(len + 1, publishing(Plant::Link));
        len + 1 == TAIL_MAX
    }

    /// The rows, as they are now.
    fn rows(&self) -> impl DoubleEndedIterator<Item = Row> {
        let len = self.len.load(Ordering::Acquire);
        // SAFETY: the invariants of `Tail`; the slot is loaded with `Acquire`.
        self.slots[..len].iter().map(|slot| unsafe { Row::new(slot.load(Ordering::Acquire)) })
    }

    /// The rows in the order of the list: of equal (key, revision), the one inserted last first.
    pub(super) fn sorted(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.rows().rev().collect();
        rows.sort_by(|a, b| a.order(*b));
        rows
    }

    /// The newest row of `key` at or before `at`; of equal ones that which was inserted last.
    pub(super) fn find(&self, key: &[u8], at: Revision) -> Option<Row> {
        newest(self.rows().rev(), key, at)
    }
}

/// The same among `rows`, those inserted last first.
///
/// In that order a slot that was filled anew says that all slots still to come were too: of equal rows that are met, none was
/// missed that was inserted later.
fn newest(rows: impl Iterator<Item = Row>, key: &[u8], at: Revision) -> Option<Row> {
    rows.filter(|row| row.revision() <= at && row.key() == key).min_by_key(|row| Reverse(row.revision()))
}

/// One of the searches that run side by side.
struct Search<'a> {
    target: Target<'a>,
    /// The last row known to be before the target, and the one behind it on `level`: looked at in the next step.
    row: Row,
    next: Option<Row>,
    level: usize,
    /// A row that is known not to be before the target.
    bound: Option<Row>,
    before: [Row; HEIGHT_MAX],
}

impl Search<'_> {
    /// Goes one row right, or down to where there is another row to look at. False once it is done.
    #[inline]
    fn step(&mut self) -> bool {
        match self.next {
            Some(next) if next.is_before(&self.target) => self.row = next,
            stop => {
                self.bound = stop;
                if !self.descend() {
                    return false;
                }
            }
        }
        self.next = self.row.next(self.level);
        while self.next.is_none() || self.next == self.bound {
            self.bound = self.next.or(self.bound);
            if !self.descend() {
                return false;
            }
            self.next = self.row.next(self.level);
        }
        self.next.inspect(|next| next.prefetch());
        true
    }

    #[inline]
    fn descend(&mut self) -> bool {
        self.before[self.level] = self.row;
        let more = self.level > 0;
        self.level -= usize::from(more);
        more
    }
}

impl SkipList {
    /// Links the rows of the tail. Only for the writer.
    pub(super) fn link_tail(&self, writer: &mut Writer) {
        let rows = self.tail.sorted();
        let mut last = None;
        for group in rows.chunks(SEARCHES) {
            self.link_group(last, group, &mut writer.finger);
            last = group.last();
        }
        self.tail.len.store(0, publishing(Plant::Link));
    }

    /// Links sorted rows, the one before them being `last`, on which the finger stands, and leaves it on the last of them.
    fn link_group(&self, last: Option<&Row>, rows: &[Row], finger: &mut [Row; HEIGHT_MAX]) {
        let height = self.height();
        let mut searches: Vec<Search<'_>> = rows
            .iter()
            .map(|row| Search {
                target: Target::new(row.key(), row.revision()),
                row: self.head,
                next: self.head.next(height - 1),
                level: height - 1,
                bound: None,
                before: [self.head; HEIGHT_MAX],
            })
            .collect();
        let mut running: u32 = (1 << rows.len()) - 1;
        while running != 0 {
            for (at, search) in searches.iter_mut().enumerate() {
                if running >> at & 1 == 1 && !search.step() {
                    running &= !(1 << at);
                }
            }
        }
        // A search ends before the equals of a row. Those of `last` belong right behind it.
        let is_equal = |row: &Row| last.is_some_and(|last| last.order(*row).is_eq());
        let equals = rows.iter().take_while(|row| is_equal(row)).count();
        searches[..equals].iter_mut().for_each(|search| search.before = *finger);
        // What was before a row when it was searched for may have got rows of this group behind it: the last of them then is
        // where the finger stands, since they come in order.
        let mut searched: [Option<Row>; HEIGHT_MAX] = [None; HEIGHT_MAX];
        for (row, search) in rows.iter().zip(&searches) {
            for level in 0..HEIGHT_MAX {
                if searched[level] != Some(search.before[level]) {
                    searched[level] = Some(search.before[level]);
                    finger[level] = search.before[level];
                }
            }
            self.link(*row, row.height(), finger);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunks::Chunks;
    use super::*;
    use crate::Kind;
    use std::sync::Arc;

    #[test]
    fn of_equal_rows_none_older_is_found_while_the_tail_is_filled_anew() {
        for met_before in 0..4 {
            let list = SkipList::new(Arc::new(Chunks::new(0)));
            let insert = |key: &[u8], revision, value: &[u8]| list.insert(key, Revision(revision), Kind::Put, value);
            insert(b"twice", 1, b"first");
            insert(b"twice", 1, b"second");
            insert(b"twice", 2, b"newer");
            // All are linked, and their slots taken, after a reader has met so many of them.
            let link_all = |(at, row)| {
                if at == met_before {
                    (0..2 * TAIL_MAX as u64).for_each(|i| insert(format!("{:x}", i * 37 % 256).as_bytes(), 3, b""));
                }
                row
            };
            let waiting = newest(list.tail.rows().rev().enumerate().map(link_all), b"twice", Revision(1));
            let found = list.newest(waiting, b"twice", Revision(1));
            assert_eq!(found.map(|found| found.2), Some(&b"second"[..]), "{met_before} met before");
        }
    }
}
