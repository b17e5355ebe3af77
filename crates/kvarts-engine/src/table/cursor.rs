//! A cursor over one table.
use super::Table;
use crate::iter::Cursor;
use crate::{Kind, Result, Revision};
use kvarts_formats::block::Block;
use kvarts_formats::index::Index;
use std::sync::Arc;

/// A position in a table. Loads a block when it first stands in it. After an error it stands nowhere.
pub struct TableCursor {
    table: Arc<Table>,
    fill_cache: bool,
    /// The block it stands in; `None` where it stands nowhere.
    block: Option<Arc<Block>>,
    /// Number of that block.
    at: usize,
    row: usize,
    /// Key of the row.
    key: Vec<u8>,
    /// Keys right before the row, as a stack: going backward, a run of them is decoded at once.
    before: KeyStack,
}

/// Keys, the last one on top.
#[derive(Default)]
struct KeyStack {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl KeyStack {
    fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }

    fn push(&mut self, key: &[u8]) {
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(key);
    }

    /// Moves the top into `key`. False where there is none.
    fn pop(&mut self, key: &mut Vec<u8>) -> bool {
        let Some(start) = self.starts.pop() else { return false };
        key.clear();
        key.extend_from_slice(&self.bytes[start..]);
        self.bytes.truncate(start);
        true
    }
}

impl TableCursor {
    /// Returns a cursor that stands nowhere. `fill_cache` is false for compaction and checks.
    pub fn new(table: Arc<Table>, fill_cache: bool) -> Self {
        Self { table, fill_cache, block: None, at: 0, row: 0, key: Vec::new(), before: KeyStack::default() }
    }

    fn index(&self) -> Result<&Index> {
        Ok(&self.table.load()?.tail.index)
    }

    fn standing(&self) -> &Block {
        self.block.as_ref().expect("the cursor is valid")
    }

    /// Returns block `at`, and stands nowhere until [`TableCursor::stand`].
    fn load(&mut self, at: usize) -> Result<Arc<Block>> {
        match self.block.take() {
            Some(block) if self.at == at => Ok(block),
            _ => self.table.block(self.table.load()?, at as u32, self.fill_cache),
        }
    }

    fn stand(&mut self, block: Arc<Block>, at: usize, row: usize) {
        block.key_into(row, &mut self.key);
        self.before.clear();
        (self.at, self.row) = (at, row);
        self.block = Some(block);
    }

    /// Stands on the first row of block `at`, or nowhere behind the last block.
    fn stand_first(&mut self, at: usize) -> Result<()> {
        if at >= self.index()?.blocks() {
            self.block = None;
            return Ok(());
        }
        let block = self.load(at)?;
        self.stand(block, at, 0);
        Ok(())
    }

    /// Stands on the last row of the block before `at`, or nowhere before the first.
    fn stand_last_before(&mut self, at: usize) -> Result<()> {
        let Some(at) = at.checked_sub(1) else {
            self.block = None;
            return Ok(());
        };
        let block = self.load(at)?;
        let last = block.rows() - 1;
        self.stand(block, at, last);
        Ok(())
    }
}

impl Cursor for TableCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.stand_first(0)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.stand_last_before(self.index()?.blocks())
    }

    fn seek(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        let index = self.index()?;
        let at = index.find(key, revision);
        if at >= index.blocks() {
            self.block = None;
            return Ok(());
        }
        let block = self.load(at)?;
        match block.lower_bound(key, revision) {
            row if row < block.rows() => {
                self.stand(block, at, row);
                Ok(())
            }
            // The index says otherwise; `verify` would name it. The next row is still the right one.
            _ => self.stand_first(at + 1),
        }
    }

    fn seek_before(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        let index = self.index()?;
        let at = index.find(key, revision);
        if at >= index.blocks() {
            return self.stand_last_before(at);
        }
        let block = self.load(at)?;
        match block.lower_bound(key, revision).checked_sub(1) {
            Some(row) => {
                self.stand(block, at, row);
                Ok(())
            }
            None => self.stand_last_before(at),
        }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        let block = self.block.as_ref().expect("the cursor is valid");
        if self.row + 1 < block.rows() {
            self.row += 1;
            block.key_after(self.row, &mut self.key);
            self.before.clear();
            return Ok(());
        }
        self.stand_first(self.at + 1)
    }

    fn prev(&mut self) -> Result<()> {
        let block = self.block.as_ref().expect("the cursor is valid");
        if self.row > 0 {
            self.row -= 1;
            if !self.before.pop(&mut self.key) {
                for row in block.restart_of(self.row)..self.row {
                    block.key_after(row, &mut self.key);
                    self.before.push(&self.key);
                }
                block.key_after(self.row, &mut self.key);
            }
            return Ok(());
        }
        self.stand_last_before(self.at)
    }

    #[inline]
    fn valid(&self) -> bool {
        self.block.is_some()
    }

    #[inline]
    fn key(&self) -> &[u8] {
        &self.key
    }

    #[inline]
    fn revision(&self) -> Revision {
        self.standing().revision(self.row)
    }

    #[inline]
    fn kind(&self) -> Kind {
        self.standing().kind(self.row)
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.standing().value(self.row)
    }
    #[inline]
    fn block(&self) -> Option<(&Block, usize)> {
        self.block.as_deref().map(|block| (block, self.row))
    }

    fn skip_in_block(&mut self, row: usize, before: &[u8]) -> Result<()> {
        let block = self.block.as_ref().expect("the cursor is valid");
        if row >= block.rows() {
            return self.stand_first(self.at + 1);
        }
        self.key.clear();
        self.key.extend_from_slice(before);
        block.key_after(row, &mut self.key);
        self.before.clear();
        self.row = row;
        Ok(())
    }
}
