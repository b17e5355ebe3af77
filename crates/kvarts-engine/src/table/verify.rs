//! Checking a whole table against its file.
use super::Table;
use super::open::{damaged, read_header, read_tail};
use crate::iter::compare;
use crate::{Error, Result, Revision};
use kvarts_formats::block::Block;
use kvarts_formats::hash::key_hash;
use kvarts_formats::properties::PropertiesBuilder;

/// What is carried from block to block.
struct Walk {
    properties: PropertiesBuilder,
    /// Last row so far.
    last: Option<(Vec<u8>, Revision)>,
    key: Vec<u8>,
}

impl Table {
    /// Reads every block past the cache and checks tags, order and properties. Returns the number of blocks.
    ///
    /// Errors: `Corruption` at the first damage. Index, filter and properties are checked as they are on disk now.
    pub fn verify(&self) -> Result<u64> {
        let header = read_header(&*self.reader, &self.path, self.header.store, self.file)?;
        let tail = read_tail(&*self.reader, &self.path, &self.seal)?;
        if header != self.header
            || tail.properties != self.tail.properties
            || tail.index.blocks() != self.tail.index.blocks()
        {
            return Err(damaged(&self.path, 0, "the file has changed since it was opened"));
        }
        let mut walk = Walk { properties: PropertiesBuilder::default(), last: None, key: Vec::new() };
        for i in 0..tail.index.blocks() {
            let block = self.read_block(i as u32)?;
            self.check_block(i, &block, &mut walk)?;
        }
        if walk.properties.finish() != tail.properties {
            return Err(damaged(&self.path, 0, "the properties are not those of the rows"));
        }
        Ok(tail.index.blocks() as u64)
    }

    /// Checks the rows of block `i`: their order, the filter, and what the index says of the last one.
    fn check_block(&self, i: usize, block: &Block, walk: &mut Walk) -> Result<()> {
        let wrong = |what| -> Result<()> { Err(self.damaged_block(i, what)) };
        for row in 0..block.rows() {
            block.key_after(row, &mut walk.key);
            let revision = block.revision(row);
            let last = walk.last.as_ref();
            if last.is_some_and(|(key, last)| compare((key, *last), (&walk.key, revision)).is_ge()) {
                return wrong("rows are not sorted");
            }
            let is_new_key = last.is_none_or(|(key, _)| *key != walk.key);
            let filter = self.tail.filter.as_ref();
            if is_new_key && filter.is_some_and(|filter| !filter.may_contain(key_hash(&walk.key))) {
                return wrong("the filter misses a key");
            }
            walk.properties.add(&walk.key, revision, block.kind(row), block.value(row));
            let (key, last) = walk.last.get_or_insert_default();
            key.clone_from(&walk.key);
            *last = revision;
        }
        let index = &self.tail.index;
        let expected = Some((index.last_key(i), index.last_revision(i)));
        if walk.last.as_ref().map(|(key, revision)| (&key[..], *revision)) != expected {
            return wrong("the index names another last row");
        }
        Ok(())
    }

    fn damaged_block(&self, i: usize, what: &str) -> Error {
        damaged(&self.path, self.tail.index.handle(i).offset, what)
    }
}
