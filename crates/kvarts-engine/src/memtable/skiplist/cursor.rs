//! A cursor over a memtable, which keeps it alive.
use super::{Row, Target};
use crate::iter::Cursor;
use crate::memtable::Memtable;
use crate::{Kind, Result, Revision};
use std::sync::Arc;

/// A position in a memtable. Rows inserted later are seen as the cursor reaches them.
pub(in crate::memtable) struct MemtableCursor {
    memtable: Arc<Memtable>,
    /// Invariant: a row of `memtable`, other than the head.
    row: Option<Row>,
}

// SAFETY: `row` lies in the arena of `memtable`, which is `Sync` and which this keeps alive.
unsafe impl Send for MemtableCursor {}

impl MemtableCursor {
    pub(in crate::memtable) fn new(memtable: Arc<Memtable>) -> Self {
        Self { memtable, row: None }
    }

    /// Stands on `row`, or on nothing where it is the head.
    fn stand_on(&mut self, row: Row) {
        self.row = (row != self.memtable.list.head).then_some(row);
    }

    fn standing(&self) -> Row {
        self.row.expect("the cursor is valid")
    }
}

impl Cursor for MemtableCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.row = self.memtable.list.head.next(0);
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.stand_on(self.memtable.list.last());
        Ok(())
    }

    fn seek(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        self.row = self.memtable.list.find(&Target::new(key, revision)).1;
        Ok(())
    }

    fn seek_before(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        self.stand_on(self.memtable.list.find(&Target::new(key, revision)).0);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.row = self.standing().next(0);
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        self.stand_on(self.standing().prev());
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
