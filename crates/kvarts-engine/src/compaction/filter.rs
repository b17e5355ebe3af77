//! Rows that nobody will read again, since they belong to somebody else now: compaction leaves them out.
use super::CompactionPlan;
use super::full::next_run;
use crate::iter::Cursor;
use crate::options::Options;
use crate::version::{HasRecord, LEVELS, TableRef, Version};
use crate::{Result, Revision};

/// Keys of a table that are looked at, about, to tell whether it holds rows that a filter drops.
const SAMPLE: u64 = 32;

/// Tells which keys a tree still keeps. As RocksDB's filter of this name, but by key alone, and all rows of a key go.
///
/// Whoever sets one promises that rows of other keys are read by nobody, from a revision on that it names. The answer for a
/// key must never change from no to yes.
pub trait CompactionFilter: Send + Sync {
    /// Tells whether rows of this key are kept.
    fn keeps(&self, key: &[u8]) -> bool;

    /// Returns false where no key from `smallest` to `largest` is kept: tables of such keys go without being read.
    fn keeps_any(&self, smallest: &[u8], largest: &[u8]) -> bool;
}

/// Returns the next step towards tables without rows that a filter drops, of those tables that are `unfiltered`.
///
/// Only the levels' own tables are rewritten, each where it is, so that it costs what they hold and no more; level 0, whose
/// tables may overlap, as a whole.
pub fn filtering_plan<T: HasRecord + Clone>(
    version: &Version<T>,
    options: &Options,
    unfiltered: impl Fn(&T) -> bool,
) -> Option<CompactionPlan<T>> {
    if version.levels[0].iter().any(&unfiltered) {
        return Some(CompactionPlan::within_level0(version.levels[0].clone()));
    }
    (1..LEVELS).find_map(|level| {
        let inputs = next_run(&version.levels[level], options, &unfiltered);
        (!inputs.is_empty()).then(|| CompactionPlan::in_place(level, inputs))
    })
}

/// Tells whether a table is likely to hold rows that the filter drops. `since`: no such row is newer.
pub fn is_unfiltered(table: &TableRef, filter: &dyn CompactionFilter, since: Revision) -> Result<bool> {
    let record = table.record();
    if record.revision_min > since {
        return Ok(false);
    }
    if !filter.keeps(&record.smallest) || !filter.keeps(&record.largest) {
        return Ok(true);
    }
    let mut holds = false;
    sample(table, &mut |key| {
        holds = !filter.keeps(key);
        !holds
    })?;
    Ok(holds)
}

/// Returns about `SAMPLE` keys of a table, the first and the last among them, evenly spread over its rows.
pub fn sampled_keys(table: &TableRef) -> Result<Vec<Vec<u8>>> {
    let record = table.record();
    let mut keys = vec![record.smallest.to_vec(), record.largest.to_vec()];
    sample(table, &mut |key| {
        keys.push(key.to_vec());
        true
    })?;
    Ok(keys)
}

/// Shows about `SAMPLE` keys of a table, in order, until `look` returns false.
fn sample(table: &TableRef, look: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
    let record = table.record();
    // Keys of the index may be shortened: what they lead to is looked at.
    let mut parts = Vec::new();
    table.table.part_at(&record.smallest, None, record.rows / SAMPLE, &mut parts);
    let mut cursor = table.table.cursor(false);
    for (key, _) in parts {
        cursor.seek(&key, Revision::MAX)?;
        if cursor.valid() && !look(cursor.key()) {
            break;
        }
    }
    Ok(())
}
