//! Which tables to rewrite next. Pure.
use super::plan::hull;
use super::runs::{layers, merge_level0, runs};
use super::{CompactionPlan, Retention};
use crate::options::Options;
use crate::version::{HasRecord, LEVELS, TableRef, Version};
use kvarts_formats::manifest::TableRecord;

/// Rows below which a table is not worth rewriting more bytes than its own only to free rows.
const FREEING_ROWS_MIN: u64 = 1000;

/// Decides which tables to rewrite next. Pure: reads `version`, touches nothing.
pub trait CompactionPolicy<T = TableRef>: Send + Sync {
    /// Returns the most urgent plan, or `None` when every level is within its target size and nothing is worth freeing.
    ///
    /// `retention` says which tombstones and expired rows could go; the plan must be run with it, or with a later one.
    /// The same arguments always yield the same plan.
    fn pick(&self, version: &Version<T>, options: &Options, retention: &Retention) -> Option<CompactionPlan<T>>;
}

/// Leveled compaction. Source: LevelDB's scheme; RocksDB wiki, Leveled Compaction.
///
/// First the level furthest over its target size, if any is; then tables of which half could be freed.
/// Picking comes to an end: a plan brings tables down, or rewrites them in place where that surely removes its own cause.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leveled;

impl<T: HasRecord + Clone> CompactionPolicy<T> for Leveled {
    fn pick(&self, version: &Version<T>, options: &Options, retention: &Retention) -> Option<CompactionPlan<T>> {
        let fullest = fullest(version, options);
        if fullest != Some(0)
            && let Some(plan) = thinning(version, options)
        {
            return Some(plan);
        }
        match fullest {
            Some(0) => oldest_down(version, options),
            Some(level) => {
                let cheapest = cheapest(version, level)?.clone();
                Some(CompactionPlan::down(version, options, level, level + 1, vec![cheapest]))
            }
            None => freeing(version, options, retention),
        }
    }
}

/// Plans for a level 0 that has many runs but not so many bytes that they are worth merging with level 1: the oldest
/// goes there where that is but a move, else its runs are merged with each other.
fn thinning<T: HasRecord + Clone>(version: &Version<T>, options: &Options) -> Option<CompactionPlan<T>> {
    let moves = || oldest_down(version, options).filter(CompactionPlan::is_move);
    let is_full = runs(&version.levels[0]).len() >= options.level0_tables;
    is_full.then(moves).flatten().or_else(|| merge_level0(version, options, &|_| false))
}

/// Plans to bring the oldest run of level 0 down, with all that overlaps it.
pub(super) fn oldest_down<T: HasRecord + Clone>(version: &Version<T>, options: &Options) -> Option<CompactionPlan<T>> {
    let oldest = version.levels[0].last()?.clone();
    Some(CompactionPlan::down(version, options, 0, 1, with_overlapping(version, vec![oldest])))
}

/// Bytes of level 0 from which it is worth merging with level 1: as many as lie below, so that a row is rewritten about
/// twice while the store grows to the size of level 1, and then half of that level, so that it is rewritten three times.
pub(super) fn level0_bytes<T: HasRecord + Clone>(version: &Version<T>, options: &Options) -> u64 {
    let below: u64 = (1..LEVELS).map(|level| version.level_bytes(level)).sum();
    below.clamp(options.level_base_bytes / 16, options.level_base_bytes / 2).max(1)
}

/// How full a level is: 1.0 is its target size. The deepest level has none. Level 0 is full once it has both runs and bytes.
pub(super) fn fullness<T: HasRecord + Clone>(version: &Version<T>, options: &Options, level: usize) -> f64 {
    if level == 0 {
        let by_runs = runs(&version.levels[0]).len() as f64 / options.level0_tables as f64;
        return by_runs.min(version.level_bytes(0) as f64 / level0_bytes(version, options) as f64);
    }
    if level == LEVELS - 1 {
        return 0.0;
    }
    version.level_bytes(level) as f64 / target_bytes(options, level)
}

fn target_bytes(options: &Options, level: usize) -> f64 {
    options.level_base_bytes.max(1) as f64 * (options.level_growth as f64).powi(level as i32 - 1)
}

/// What compaction has still to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debt {
    /// Runs in level 0, those that lie apart as one.
    pub runs: usize,
    /// Bytes that levels hold beyond their targets.
    pub bytes: u64,
}

/// Returns the debt of a tree. Where it has bytes, there is something to pick.
pub fn debt<T: HasRecord + Clone>(version: &Version<T>, options: &Options) -> Debt {
    let runs = layers(&version.levels[0]).len();
    let over = |level: usize| match fullness(version, options, level) {
        fullness if fullness < 1.0 => 0,
        _ if level == 0 => version.level_bytes(0).saturating_sub(level0_bytes(version, options)),
        _ => version.level_bytes(level).saturating_sub(target_bytes(options, level) as u64),
    };
    Debt { runs, bytes: (0..LEVELS - 1).map(over).sum() }
}

/// Returns the level furthest over its target; of equal ones the upper.
fn fullest<T: HasRecord + Clone>(version: &Version<T>, options: &Options) -> Option<usize> {
    let levels = (0..LEVELS - 1).map(|level| (level, fullness(version, options, level)));
    let over = levels.filter(|(_, fullness)| *fullness >= 1.0);
    over.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(level, _)| level)
}

/// Returns `seeds` of level 0 and all its tables that overlap them, and those that overlap these, newest first.
///
/// What overlaps must come along where it is older, see [`CompactionPlan::check`]; where it is newer it comes since it
/// would soon rewrite the same tables of level 1 again.
pub(super) fn with_overlapping<T: HasRecord + Clone>(version: &Version<T>, seeds: Vec<T>) -> Vec<T> {
    let mut inputs = seeds;
    loop {
        let Some((smallest, largest)) = hull(&inputs) else { return inputs };
        let wider = version.overlapping(0, smallest, largest);
        if wider.len() == inputs.len() {
            return wider;
        }
        inputs = wider;
    }
}

/// Returns the table of `level` that overlaps the fewest bytes of the next level per byte of its own; of equals the first.
fn cheapest<T: HasRecord + Clone>(version: &Version<T>, level: usize) -> Option<&T> {
    let price = |record: &TableRecord| {
        let range = version.overlapping_range(level + 1, &record.smallest, &record.largest);
        let bytes: u64 = version.levels[level + 1][range].iter().map(|table| table.record().bytes).sum();
        bytes as f64 / record.bytes.max(1) as f64
    };
    let priced = version.levels[level].iter().map(|table| (table, price(table.record())));
    priced.reduce(|best, next| if next.1 < best.1 { next } else { best }).map(|(table, _)| table)
}

/// Plans for the first table that is worth rewriting for the tombstones, older versions or expired rows in it.
fn freeing<T: HasRecord + Clone>(
    version: &Version<T>,
    options: &Options,
    retention: &Retention,
) -> Option<CompactionPlan<T>> {
    version.tables().filter(|(_, table)| is_sparse(table.record(), retention)).find_map(|(level, table)| {
        let record = table.record();
        let deepest = !version.overlaps_below(level, &record.smallest, &record.largest);
        let inputs = vec![table.clone()];
        let plan = match level {
            0 => CompactionPlan::down(version, options, 0, 1, with_overlapping(version, inputs)),
            _ if deepest => CompactionPlan::in_place(level, inputs),
            _ => CompactionPlan::down(version, options, level, level + 1, inputs),
        };
        let cheap = plan.bytes() <= 2 * record.bytes;
        (deepest || cheap || record.rows >= FREEING_ROWS_MIN).then_some(plan)
    })
}

/// Tells whether rewriting a table at the bottom would free half of its rows.
///
/// Once rewritten, a table must not ask for the same again, or the policy would spin. Tombstones and older versions go for
/// certain only where the oldest snapshot sees past every row of the table; an expired row goes, or becomes a tombstone.
fn is_sparse(record: &TableRecord, retention: &Retention) -> bool {
    let garbage = record.tombstones + (record.rows - record.keys);
    let unpinned = record.revision_max <= retention.oldest();
    let half = garbage > 0 && garbage >= record.rows.div_ceil(2);
    (half && unpinned) || record.expiry_half_ms <= retention.expired_ms()
}

#[cfg(test)]
mod tests;
