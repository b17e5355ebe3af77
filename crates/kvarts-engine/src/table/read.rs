//! An open table and its point reads.
use super::cursor::TableCursor;
use super::open::{Tail, in_block, read_at};
use super::slots::Slots;
use super::{BlockCache, BlockRef};
use crate::fs::{Fs, ReadFile};
use crate::iter::Cursor;
use crate::{Error, FileId, Result, Revision, prefetch};
use kvarts_formats::block::Block;
use kvarts_formats::compress::open_block_owned;
use kvarts_formats::header::FileHeader;
use kvarts_formats::seal::FileSeal;
use kvarts_formats::table::Properties;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Lines of a value that are fetched while its key is compared: from there on the processor sees the pattern itself.
const VALUE_LINES: usize = 4;

/// An open table: index and filter in memory, blocks through the cache.
pub struct Table {
    pub(super) file: FileId,
    pub(super) header: FileHeader,
    pub(super) seal: FileSeal,
    pub(super) path: PathBuf,
    pub(super) reader: Arc<dyn ReadFile>,
    pub(super) tail: Tail,
    pub(super) cache: Arc<BlockCache>,
    /// Its blocks in the cache.
    pub(super) slots: Arc<Slots>,
    pub(super) fs: Arc<dyn Fs>,
    /// Why no row of it can be read.
    pub(super) broken: Option<Error>,
    /// Set once; the file goes with the last user.
    pub(super) obsolete: AtomicBool,
}

/// Answer of a search in one table.
pub enum TableAnswer {
    /// The newest row of the key at or before the revision asked for, as (block, row).
    Found(BlockRef, usize),
    /// No such row.
    Absent,
    /// The block is not in the cache; ask again with [`Table::get`].
    NeedsRead,
}

impl Table {
    /// Its properties.
    pub fn properties(&self) -> &Properties {
        &self.tail.properties
    }

    /// Its file.
    pub fn file(&self) -> FileId {
        self.file
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of its file, as of opening.
    pub fn file_bytes(&self) -> u64 {
        self.reader.len()
    }

    /// Bytes of memory that its index and filter take.
    pub fn memory_bytes(&self) -> usize {
        let properties = self.properties();
        let filter = self.tail.filter.as_ref().map_or(0, |filter| filter.bytes());
        let slots = size_of_val(&**self.slots);
        size_of::<Self>()
            + properties.smallest.len()
            + properties.largest.len()
            + self.tail.index.bytes()
            + filter
            + slots
    }

    /// Looks for the newest row of `key` (whose filter hash is `hash`) at or before `at`, in memory only.
    ///
    /// Takes no lock and allocates nothing. The caller chose this table by its key range.
    #[inline]
    pub fn try_get(&self, key: &[u8], hash: u64, at: Revision) -> TableAnswer {
        let Some(block) = self.locate(key, hash, at) else {
            return TableAnswer::Absent;
        };
        match self.cached(block) {
            Some(block) => answer_hot(block, key, hash, at),
            None => TableAnswer::NeedsRead,
        }
    }

    /// The same, reading the block if needed. Never returns `NeedsRead`.
    pub fn get(&self, key: &[u8], hash: u64, at: Revision) -> Result<TableAnswer> {
        let Some(block) = self.locate(key, hash, at) else {
            return Ok(TableAnswer::Absent);
        };
        Ok(match self.cached(block) {
            Some(block) => answer_hot(block, key, hash, at),
            None => answer(self.load(block)?.into(), key, at),
        })
    }

    /// Fetches what [`Table::locate`] looks at first.
    #[inline]
    pub(crate) fn prefetch_filter(&self, hash: u64) {
        if let Some(filter) = &self.tail.filter {
            prefetch::line(filter.place_of(hash));
        }
    }

    /// Fetches the slot of a block that [`Table::locate`] has named.
    #[inline]
    pub(crate) fn prefetch_slot(&self, block: u32) {
        prefetch::line(std::ptr::from_ref(&self.slots[block as usize]).cast());
    }

    /// Fetches the first lines of a cached block, whose slot is near.
    #[inline]
    pub(crate) fn prefetch_block(&self, block: u32) {
        self.slots[block as usize].prefetch();
    }

    /// Returns a block that is cached, and fetches what a search of it looks at.
    #[inline]
    pub(crate) fn cached(&self, block: u32) -> Option<BlockRef> {
        let block = self.cache.try_get(&self.slots[block as usize])?;
        let (data, entries) = block.first_bytes();
        prefetch::line(data);
        prefetch::line(entries);
        Some(block)
    }

    /// Looks for a row of a block that was cached, and fetches its value while its key is compared.
    #[inline]
    pub(crate) fn find_in(block: &Block, key: &[u8], hash: u64, at: Revision) -> Option<usize> {
        block.find_hashed(key, hash, at, |value| prefetch::bytes(value, VALUE_LINES))
    }

    /// Returns a cursor over all rows. `fill_cache` is false for compaction and checks.
    pub fn cursor(self: &Arc<Self>, fill_cache: bool) -> Box<dyn Cursor> {
        Box::new(TableCursor::new(Arc::clone(self), fill_cache))
    }

    /// Deletes the file when the last user of this table is gone, and its blocks from the cache.
    pub fn mark_obsolete(&self) {
        self.obsolete.store(true, Ordering::Release);
    }

    /// Returns the one block in which the row would be: the first row at or after (`key`, `at`) is the newest one that
    /// counts, if it is of this key at all.
    #[inline]
    pub(crate) fn locate(&self, key: &[u8], hash: u64, at: Revision) -> Option<u32> {
        let may_contain = self.tail.filter.as_ref().is_none_or(|filter| filter.may_contain(hash));
        let block = if may_contain { self.tail.index.find(key, at) } else { self.tail.index.blocks() };
        (block < self.tail.index.blocks()).then_some(block as u32)
    }

    /// Returns block `i` from the cache or the file. `fill_cache` false neither adds to the cache nor counts.
    pub(super) fn block(&self, i: u32, fill_cache: bool) -> Result<Arc<Block>> {
        let slot = &self.slots[i as usize];
        if !fill_cache {
            return slot.peek().map_or_else(|| self.read_block(i).map(Arc::new), Ok);
        }
        match self.cache.try_get(slot) {
            Some(block) => Ok(block.into_arc()),
            None => self.load(i),
        }
    }

    /// Reads block `i` from the file into the cache.
    fn load(&self, i: u32) -> Result<Arc<Block>> {
        self.cache.count_miss();
        let block = Arc::new(self.read_block(i)?);
        self.cache.insert(self.file, &self.slots, i, &block);
        Ok(block)
    }

    /// Reads block `i` from the file and checks it.
    pub(super) fn read_block(&self, i: u32) -> Result<Block> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let handle = self.tail.index.handle(i as usize);
        let stored = read_at(&*self.reader, &self.path, handle.offset, handle.len as usize)?;
        open_block_owned(&self.seal, handle.offset, stored)
            .and_then(Block::parse)
            .map_err(|error| in_block(&self.path, handle, error))
    }
}

/// The answer of a block that was in the cache.
#[inline]
fn answer_hot(block: BlockRef, key: &[u8], hash: u64, at: Revision) -> TableAnswer {
    match Table::find_in(&block, key, hash, at) {
        Some(row) => TableAnswer::Found(block, row),
        None => TableAnswer::Absent,
    }
}

#[inline]
fn answer(block: BlockRef, key: &[u8], at: Revision) -> TableAnswer {
    match block.find(key, at) {
        Some(row) => TableAnswer::Found(block, row),
        None => TableAnswer::Absent,
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire) {
            self.cache.forget(self.file, &self.slots);
            // A file that stays behind is in no manifest: the next open removes it.
            let _ = self.fs.remove(&self.path);
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, blocks) = (self.properties().rows, self.tail.index.blocks());
        write!(f, "<Table {} rows={rows} blocks={blocks}>", self.file.0)
    }
}
