//! Where the rows of a table can be parted, by its index alone.
use super::Table;
use crate::Revision;

impl Table {
    /// Adds keys at which its rows can be parted, each with about how many rows there are from the one before up to it.
    ///
    /// Looks at keys from `start` up to `stop`, and picks one about every `rows` rows. Returns about how many follow the last.
    pub fn part_at(&self, start: &[u8], stop: Option<&[u8]>, rows: u64, keys: &mut Vec<(Vec<u8>, u64)>) -> u64 {
        // What cannot be loaded is one part: who reads it is told.
        let Ok(loaded) = self.load() else { return self.record.rows };
        let index = &loaded.tail.index;
        if index.blocks() == 0 {
            return 0;
        }
        let first = index.find(start, Revision::MAX);
        let last = stop.map_or(index.blocks(), |stop| index.find(stop, Revision::MAX));
        let block_rows = (self.record.rows / index.blocks() as u64).max(1);
        let step = (rows / block_rows).max(1) as usize;
        let mut done = first;
        while done + step < last {
            done += step;
            keys.push((index.end_key(done - 1).to_vec(), step as u64 * block_rows));
        }
        last.saturating_sub(done) as u64 * block_rows
    }
}
