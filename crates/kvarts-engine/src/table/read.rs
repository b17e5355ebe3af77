//! An open table and its point reads.
use super::cursor::TableCursor;
use super::files::TableFile;
use super::open::{Loaded, Tail, in_block, record, unread};
use super::{BlockCache, BlockRef};
use crate::iter::Cursor;
use crate::keys::Identity;
use crate::{FileId, Result, Revision, prefetch};
use kvarts_formats::block::Block;
use kvarts_formats::buffer::Buffer;
use kvarts_formats::compress::open_block_owned;
use kvarts_formats::filter::Filter;
use kvarts_formats::manifest::TableRecord;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Lines of a value that are fetched while its key is compared: from there on the processor sees the pattern itself.
const VALUE_LINES: usize = 4;

/// A table: index and filter in memory from the first use on, blocks through the cache.
pub struct Table {
    /// What point reads need comes first.
    pub(super) loaded: OnceLock<Loaded>,
    pub(super) cache: Arc<BlockCache>,
    pub(super) record: Arc<TableRecord>,
    pub(super) handle: Arc<TableFile>,
    pub(super) store: Identity,
    /// No format above this one is in it, where that is not known better.
    pub(super) format: u32,
    /// Set once; the file goes with the last user.
    pub(super) obsolete: AtomicBool,
}

/// Answer of a search in one table.
pub enum TableAnswer {
    /// The newest row of the key at or before the revision asked for, as (block, row).
    Found(BlockRef, usize),
    /// No such row.
    Absent,
    /// It takes a read from disk; ask again with [`Table::get`].
    NeedsRead,
}

/// Where the row of a key would be.
pub enum Located {
    /// In no block.
    Nowhere,
    /// In this one.
    Block(u32),
    /// Its index is not in memory yet.
    Unknown,
}

impl Table {
    /// What the manifest says of it, or would.
    pub fn record(&self) -> &TableRecord {
        &self.record
    }

    pub(crate) fn shared_record(&self) -> &Arc<TableRecord> {
        &self.record
    }

    /// What the file itself says of it.
    pub fn own_record(&self) -> Result<TableRecord> {
        let of = |loaded: &Loaded, bytes| record(self.file(), bytes, loaded.tail.properties.clone());
        match self.loaded.get() {
            Some(loaded) => Ok(of(loaded, self.handle.reader()?.len())),
            None => self.read_parts().map(|(loaded, bytes)| of(&loaded, bytes)),
        }
    }

    /// The format of its file; where that was not read yet, one that it is not above.
    pub fn format(&self) -> u32 {
        self.loaded.get().map_or(self.format, |loaded| loaded.header.version)
    }

    /// Its file.
    pub fn file(&self) -> FileId {
        self.record.file
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.handle.path()
    }

    /// Bytes of memory that it takes now: index and filter, once they are loaded.
    pub fn memory_bytes(&self) -> usize {
        let of_loaded = self.loaded.get().map_or(0, |Loaded { tail, slots, .. }| {
            let keys = tail.properties.smallest.len() + tail.properties.largest.len();
            keys + tail.index.bytes() + tail.filter.as_ref().map_or(0, Filter::bytes) + size_of_val(&***slots)
        });
        size_of::<Self>() + of_loaded
    }

    /// Looks for the newest row of `key` (whose filter hash is `hash`) at or before `at`, in memory only.
    ///
    /// Takes no lock and allocates nothing. The caller chose this table by its key range.
    #[inline]
    pub fn try_get(&self, key: &[u8], hash: u64, at: Revision) -> TableAnswer {
        let Some(loaded) = self.loaded.get() else {
            return TableAnswer::NeedsRead;
        };
        let Some(block) = loaded.locate(key, hash, at) else {
            return TableAnswer::Absent;
        };
        match self.cached_in(loaded, block) {
            Some(block) => answer_hot(block, key, hash, at),
            None => TableAnswer::NeedsRead,
        }
    }

    /// The same, reading the block if needed. Never returns `NeedsRead`.
    pub fn get(&self, key: &[u8], hash: u64, at: Revision) -> Result<TableAnswer> {
        let loaded = self.load()?;
        let Some(block) = loaded.locate(key, hash, at) else {
            return Ok(TableAnswer::Absent);
        };
        Ok(match self.cached_in(loaded, block) {
            Some(block) => answer_hot(block, key, hash, at),
            None => answer(self.fetch(loaded, block)?.into(), key, at),
        })
    }

    /// Fetches what [`Table::locate`] looks at first.
    #[inline]
    pub(crate) fn prefetch_filter(&self, hash: u64) {
        if let Some(filter) = self.loaded.get().and_then(|loaded| loaded.tail.filter.as_ref()) {
            prefetch::line(filter.place_of(hash));
        }
    }

    /// Fetches the slot of a block that [`Table::locate`] has named.
    #[inline]
    pub(crate) fn prefetch_slot(&self, block: u32) {
        if let Some(loaded) = self.loaded.get() {
            prefetch::line(std::ptr::from_ref(&loaded.slots[block as usize]).cast());
        }
    }

    /// Fetches the first lines of a cached block, whose slot is near.
    #[inline]
    pub(crate) fn prefetch_block(&self, block: u32) {
        if let Some(loaded) = self.loaded.get() {
            loaded.slots[block as usize].prefetch();
        }
    }

    /// Returns a block that is cached, and fetches what a search of it looks at.
    #[inline]
    pub(crate) fn cached(&self, block: u32) -> Option<BlockRef> {
        self.cached_in(self.loaded.get()?, block)
    }

    #[inline]
    fn cached_in(&self, loaded: &Loaded, block: u32) -> Option<BlockRef> {
        let block = self.cache.try_get(&loaded.slots[block as usize])?;
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

    /// Returns the one block in which the row would be, as far as it is known.
    #[inline]
    pub(crate) fn locate(&self, key: &[u8], hash: u64, at: Revision) -> Located {
        match self.loaded.get().map(|loaded| loaded.locate(key, hash, at)) {
            Some(Some(block)) => Located::Block(block),
            Some(None) => Located::Nowhere,
            None => Located::Unknown,
        }
    }

    /// Returns block `i` from the cache or the file. `fill_cache` false neither adds to the cache nor counts.
    pub(super) fn block(&self, loaded: &Loaded, i: u32, fill_cache: bool) -> Result<Arc<Block>> {
        let slot = &loaded.slots[i as usize];
        if !fill_cache {
            return slot.peek().map_or_else(|| self.read_block(loaded, i).map(Arc::new), Ok);
        }
        match self.cache.try_get(slot) {
            Some(block) => Ok(block.into_arc()),
            None => self.fetch(loaded, i),
        }
    }

    /// Reads block `i` from the file into the cache.
    fn fetch(&self, loaded: &Loaded, i: u32) -> Result<Arc<Block>> {
        self.cache.count_miss();
        let block = Arc::new(self.read_block(loaded, i)?);
        self.cache.insert(self.file(), &loaded.slots, i, &block);
        Ok(block)
    }

    /// Reads block `i` from the file and checks it.
    pub(super) fn read_block(&self, loaded: &Loaded, i: u32) -> Result<Block> {
        let handle = loaded.tail.index.handle(i as usize);
        let mut stored = Buffer::unfilled(handle.len as usize);
        let read = self.handle.reader()?.read_exact_at(handle.offset, &mut stored);
        read.map_err(|error| unread(&self.path(), handle.offset, error))?;
        open_block_owned(&loaded.seal, handle.offset, stored)
            .and_then(Block::parse)
            .map_err(|error| in_block(&self.path(), handle, error))
    }
}

impl Loaded {
    /// Returns the one block in which the row would be: the first row at or after (`key`, `at`) is the newest one that
    /// counts, if it is of this key at all.
    #[inline]
    fn locate(&self, key: &[u8], hash: u64, at: Revision) -> Option<u32> {
        let Tail { filter, index, .. } = &self.tail;
        let may_contain = filter.as_ref().is_none_or(|filter| filter.may_contain(hash));
        let block = if may_contain { index.find(key, at) } else { index.blocks() };
        (block < index.blocks()).then_some(block as u32)
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
        // Where other stores share the cache, blocks of one that is closed would be in their way.
        if let Some(loaded) = self.loaded.get() {
            self.cache.forget(self.file(), &loaded.slots);
        }
        if self.obsolete.load(Ordering::Acquire) {
            self.handle.remove();
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Table {} rows={}", self.file().0, self.record.rows)?;
        match self.loaded.get() {
            Some(loaded) => write!(f, " blocks={}>", loaded.tail.index.blocks()),
            None => write!(f, " unopened>"),
        }
    }
}
