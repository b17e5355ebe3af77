//! A cursor over a memtable, which keeps it alive.
use super::{Row, Target};
use crate::iter::Cursor;
use crate::memtable::Memtable;
use crate::{Kind, Result, Revision};
use std::cmp::Ordering as Order;
use std::sync::Arc;

/// A position in a memtable: in its list, and among the rows that waited to be linked when the cursor was made.
///
/// Those may be linked while the cursor walks, and are then met in both. Rows inserted later may be seen as the cursor reaches
/// them.
pub struct MemtableCursor {
    memtable: Arc<Memtable>,
    /// The rows that waited, in order. All rows here and below are of `memtable`.
    waiting: Vec<Row>,
    /// Where it stands. Never the head.
    row: Option<Row>,
    /// A row of the list at or before `row`, the head included: none between them was there when the cursor came to `row`.
    linked: Row,
    /// So many of those waiting are at or before `row`.
    passed: usize,
}

// SAFETY: the rows lie in the arena of `memtable`, which is `Sync` and which this keeps alive.
unsafe impl Send for MemtableCursor {}

impl MemtableCursor {
    /// Returns a cursor that stands nowhere.
    pub fn new(memtable: Arc<Memtable>) -> Self {
        let (linked, waiting) = (memtable.list.head, memtable.list.tail.sorted());
        Self { memtable, waiting, row: None, linked, passed: 0 }
    }

    fn standing(&self) -> Row {
        self.row.expect("the cursor is valid")
    }

    /// Stands on the first of `linked`, a row of the list, and the next one waiting.
    fn stand_on_first(&mut self, linked: Option<Row>) {
        let waiting = self.waiting.get(self.passed).copied();
        let order = match (waiting, linked) {
            (None, None) => {
                self.row = None;
                return;
            }
            (Some(_), None) => Order::Less,
            (None, Some(_)) => Order::Greater,
            (Some(waiting), Some(linked)) if waiting == linked => Order::Equal,
            // Inserted last, and so before its equals.
            (Some(waiting), Some(linked)) => waiting.order(linked).then(Order::Less),
        };
        if order.is_le() {
            self.passed += 1;
            self.row = waiting;
        }
        if order.is_ge() {
            self.row = linked;
            self.linked = linked.expect("a row of the list was chosen");
        }
    }

    /// Stands on the last of `linked`, which may be the head, and the first `passed` of those waiting.
    fn stand_on_last(&mut self, linked: Row, passed: usize) {
        (self.linked, self.passed) = (linked, passed);
        let linked = (linked != self.memtable.list.head).then_some(linked);
        let waiting = passed.checked_sub(1).map(|last| self.waiting[last]);
        self.row = match (waiting, linked) {
            (Some(waiting), Some(linked)) if waiting.order(linked).is_le() => Some(linked),
            (waiting, linked) => waiting.or(linked),
        };
    }

    /// Tells whether a row of the list behind `linked` lies before where the cursor stands, or has been met among those waiting:
    /// it was linked since.
    fn is_behind(&self, found: Row, here: Row) -> bool {
        let is_equal = |row: &&Row| row.order(found).is_eq();
        match found.order(here) {
            Order::Less => true,
            Order::Equal => self.waiting[..self.passed].iter().rev().take_while(is_equal).any(|row| *row == found),
            Order::Greater => false,
        }
    }

    /// Finds the row before a target and the one at it in the list, and how many of those waiting are before it.
    fn find(&self, key: &[u8], revision: Revision) -> (Row, Option<Row>, usize) {
        let target = Target::new(key, revision);
        let (before, at) = self.memtable.list.find(&target);
        (before, at, self.waiting.partition_point(|row| row.is_before(&target)))
    }
}

impl Cursor for MemtableCursor {
    fn seek_first(&mut self) -> Result<()> {
        (self.linked, self.passed) = (self.memtable.list.head, 0);
        self.stand_on_first(self.linked.next(0));
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.stand_on_last(self.memtable.list.last(), self.waiting.len());
        Ok(())
    }

    fn seek(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        let (before, at, passed) = self.find(key, revision);
        (self.linked, self.passed) = (before, passed);
        self.stand_on_first(at);
        Ok(())
    }

    fn seek_before(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        let (before, _, passed) = self.find(key, revision);
        self.stand_on_last(before, passed);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        let here = self.standing();
        let mut next = self.linked.next(0);
        if self.linked != here {
            while let Some(found) = next.filter(|&found| self.is_behind(found, here)) {
                self.linked = found;
                next = found.next(0);
            }
        }
        self.stand_on_first(next);
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        let here = self.standing();
        let is_waiting = self.passed.checked_sub(1).is_some_and(|last| self.waiting[last] == here);
        let linked = if self.linked == here { here.prev() } else { self.linked };
        self.stand_on_last(linked, self.passed - usize::from(is_waiting));
        Ok(())
    }

    fn valid(&self) -> bool {
        self.row.is_some()
    }

    fn key(&self) -> &[u8] {
        self.standing().key()
    }

    fn revision(&self) -> Revision {
        self.standing().revision()
    }

    fn kind(&self) -> Kind {
        self.standing().kind()
    }

    fn value(&self) -> &[u8] {
        self.standing().value()
    }
}
