//! A cursor over the tables of one level.
use super::Table;
use super::cursor::TableCursor;
use crate::iter::Cursor;
use crate::{Kind, Result, Revision};
use kvarts_formats::block::Block;
use std::sync::Arc;

/// The tables of one level, or some of them: sorted by key, without overlap. Rows of one key lie in one table.
pub trait LevelTables: Send {
    /// How many there are.
    fn count(&self) -> usize;
    /// Table `i`.
    fn table(&self, i: usize) -> &Arc<Table>;
}

impl LevelTables for Vec<Arc<Table>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn table(&self, i: usize) -> &Arc<Table> {
        &self[i]
    }
}

/// A cursor over tables that do not overlap, sorted by key: one level below 0. Opens one table at a time.
pub fn level_cursor(tables: Vec<Arc<Table>>, fill_cache: bool) -> Box<dyn Cursor> {
    debug_assert!(tables.windows(2).all(|two| two[0].record().largest < two[1].record().smallest));
    Box::new(LevelCursor::new(tables, fill_cache))
}

/// The same over whatever the tables are held in.
pub struct LevelCursor<L> {
    tables: L,
    fill_cache: bool,
    at: usize,
    /// The cursor of table `at`; `None` where it stands nowhere.
    cursor: Option<TableCursor>,
}

impl<L: LevelTables> LevelCursor<L> {
    /// Returns a cursor that stands nowhere.
    pub fn new(tables: L, fill_cache: bool) -> Self {
        Self { tables, fill_cache, at: 0, cursor: None }
    }

    /// Returns the cursor of table `at`, made anew unless it is the current one.
    fn open(&mut self, at: usize) -> &mut TableCursor {
        let kept = self.cursor.take().filter(|_| self.at == at);
        self.at = at;
        self.cursor.insert(kept.unwrap_or_else(|| TableCursor::new(Arc::clone(self.tables.table(at)), self.fill_cache)))
    }

    /// Returns the first table that ends at or after `key`.
    fn find(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.tables.count());
        while low < high {
            let middle = low.midpoint(high);
            if &self.tables.table(middle).record().largest[..] < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn stand_first(&mut self, at: usize) -> Result<()> {
        if at >= self.tables.count() {
            self.cursor = None;
            return Ok(());
        }
        self.open(at).seek_first()
    }

    fn stand_last_before(&mut self, at: usize) -> Result<()> {
        match at.checked_sub(1) {
            Some(at) => self.open(at).seek_last(),
            None => {
                self.cursor = None;
                Ok(())
            }
        }
    }

    fn standing(&self) -> &TableCursor {
        self.cursor.as_ref().expect("the cursor is valid")
    }
}

impl<L: LevelTables> Cursor for LevelCursor<L> {
    fn seek_first(&mut self) -> Result<()> {
        self.stand_first(0)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.stand_last_before(self.tables.count())
    }

    fn seek(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        let at = self.find(key);
        if at < self.tables.count() {
            let cursor = self.open(at);
            cursor.seek(key, revision)?;
            if cursor.valid() {
                return Ok(());
            }
        }
        self.stand_first(at + 1)
    }

    fn seek_before(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        let at = self.find(key);
        if at < self.tables.count() {
            let cursor = self.open(at);
            cursor.seek_before(key, revision)?;
            if cursor.valid() {
                return Ok(());
            }
        }
        self.stand_last_before(at)
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        let cursor = self.cursor.as_mut().expect("the cursor is valid");
        cursor.next()?;
        if cursor.valid() { Ok(()) } else { self.stand_first(self.at + 1) }
    }

    fn prev(&mut self) -> Result<()> {
        let cursor = self.cursor.as_mut().expect("the cursor is valid");
        cursor.prev()?;
        if cursor.valid() { Ok(()) } else { self.stand_last_before(self.at) }
    }

    #[inline]
    fn valid(&self) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.valid())
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.standing().key()
    }

    #[inline]
    fn revision(&self) -> Revision {
        self.standing().revision()
    }

    #[inline]
    fn kind(&self) -> Kind {
        self.standing().kind()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.standing().value()
    }
    #[inline]
    fn block(&self) -> Option<(&Block, usize)> {
        self.cursor.as_ref().and_then(|cursor| cursor.block())
    }

    fn skip_in_block(&mut self, row: usize, before: &[u8]) -> Result<()> {
        let cursor = self.cursor.as_mut().expect("the cursor is valid");
        cursor.skip_in_block(row, before)?;
        if cursor.valid() { Ok(()) } else { self.stand_first(self.at + 1) }
    }
}
