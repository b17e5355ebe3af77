//! Checking a whole table against its file.
use super::Table;
use super::lost::Lost;
use super::open::{Loaded, damaged};
use crate::iter::compare;
use crate::{Error, Result, Revision};
use kvarts_formats::block::Block;
use kvarts_formats::hash::key_hash;
use kvarts_formats::manifest::TableRecord;
use kvarts_formats::properties::PropertiesBuilder;
use std::cmp::Ordering;

const INDEX_DIFFERS: &str = "the index and the rows differ";

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
        let (blocks, lost) = self.check(&mut |_| true)?;
        match lost.into_iter().next() {
            Some(Lost { offset, what, .. }) => Err(Error::Corruption { file: self.path(), offset, what }),
            None => Ok(blocks),
        }
    }

    /// The same, listing all damage. `step` is told the bytes of each block once it was read; false ends the check.
    pub fn check(&self, step: &mut dyn FnMut(u64) -> bool) -> Result<(u64, Vec<Lost>)> {
        let TableRecord { smallest, largest, .. } = &*self.record;
        let mut lost = Vec::new();
        let now = self.read_parts().map(|(now, _)| now);
        let (known, fresh) = (self.loaded.get(), now.as_ref().ok());
        // What was in memory leads to the blocks, if there is any.
        let Some(loaded) = known.or(fresh) else {
            let error = now.err().expect("it was not read");
            return Ok((0, vec![Lost::from_error(error, smallest, largest)?]));
        };
        if known.zip(fresh).is_some_and(|(known, fresh)| !known.is_as(fresh)) {
            let error = damaged(&self.path(), 0, "the file has changed since it was opened");
            lost.push(Lost::from_error(error, smallest, largest)?);
        }
        if let Some(error) = now.as_ref().err() {
            lost.push(Lost::from_error(error.clone(), smallest, largest)?);
        }
        let mut walk = Walk { properties: PropertiesBuilder::default(), last: None, key: Vec::new() };
        let (index, before) = (&loaded.tail.index, lost.len());
        for i in 0..index.blocks() {
            if let Err(error) =
                self.read_block(loaded, i as u32).and_then(|block| self.check_block(loaded, i, &block, &mut walk))
            {
                let first = if i == 0 { smallest } else { index.end_key(i - 1) };
                lost.push(Lost::from_error(error, first, index.end_key(i))?);
                walk.last = Some((index.end_key(i).to_vec(), index.end_revision(i)));
                walk.key = index.end_key(i).to_vec();
            }
            if !step(u64::from(index.handle(i).len)) {
                return Ok((i as u64 + 1, lost));
            }
        }
        if lost.len() == before && walk.properties.finish() != loaded.tail.properties {
            let error = damaged(&self.path(), 0, "the properties are not those of the rows");
            lost.push(Lost::from_error(error, smallest, largest)?);
        }
        Ok((index.blocks() as u64, lost))
    }

    /// Checks the rows of block `i`: their order, the filter, and what the index says of the last one.
    fn check_block(&self, loaded: &Loaded, i: usize, block: &Block, walk: &mut Walk) -> Result<()> {
        let wrong = |what| -> Result<()> { Err(damaged(&self.path(), loaded.tail.index.handle(i).offset, what)) };
        let index = &loaded.tail.index;
        for row in 0..block.rows() {
            block.key_after(row, &mut walk.key);
            let revision = block.revision(row);
            let last = walk.last.as_ref();
            if last.is_some_and(|(key, last)| compare((key, *last), (&walk.key, revision)).is_ge()) {
                return wrong("rows are not sorted");
            }
            let ends_before =
                |i: usize| compare((index.end_key(i), index.end_revision(i)), (&walk.key, revision)).is_lt();
            if row == 0 && i > 0 && !ends_before(i - 1) {
                return wrong(INDEX_DIFFERS);
            }
            let is_new_key = last.is_none_or(|(key, _)| *key != walk.key);
            let filter = loaded.tail.filter.as_ref();
            if is_new_key && filter.is_some_and(|filter| !filter.may_contain(key_hash(&walk.key))) {
                return wrong("the filter misses a key");
            }
            walk.properties.add(&walk.key, revision, block.kind(row), block.value(row));
            let (key, last) = walk.last.get_or_insert_default();
            key.clone_from(&walk.key);
            *last = revision;
        }
        let end = (index.end_key(i), index.end_revision(i));
        let last = walk.last.as_ref().map(|(key, revision)| compare((key, *revision), end));
        let allowed =
            if i + 1 == index.blocks() { last.is_some_and(Ordering::is_eq) } else { last.is_some_and(Ordering::is_le) };
        if !allowed {
            return wrong(INDEX_DIFFERS);
        }
        Ok(())
    }
}

impl Loaded {
    /// Tells whether it is what `fresh` is, as far as a file that never changes can differ.
    fn is_as(&self, fresh: &Self) -> bool {
        self.header == fresh.header
            && self.tail.properties == fresh.tail.properties
            && self.tail.index.blocks() == fresh.tail.index.blocks()
    }
}
