//! Plans of a manual full compaction. Pure.
use super::policy::with_overlapping;
use super::{CompactionPlan, Retention};
use crate::options::Options;
use crate::version::{HasRecord, LEVELS, Version};
use kvarts_formats::manifest::TableRecord;

/// Bytes of inputs of one step below level 0, in tables: bounds the space that a step takes until it is installed.
const STEP_TABLES_MAX: u64 = 10;

/// Returns the next step towards all rows in one level, without what `retention` lets go; `None` when that is reached.
///
/// Ask, run, install, ask again of the new version, with the *same* retention, taken when the compaction was asked for:
/// rows after its `visible` do not count as work, so the steps end although others write. Run each step with a fresh one.
pub fn full_plan<T: HasRecord + Clone>(
    version: &Version<T>,
    options: &Options,
    retention: &Retention,
) -> Option<CompactionPlan<T>> {
    let bottom = (1..LEVELS).rev().find(|level| !version.levels[*level].is_empty()).unwrap_or(1);
    let counts = |table: &T| table.record().revision_min <= retention.visible();
    for level in 0..bottom {
        let inputs = match level {
            0 => with_overlapping(version, version.levels[0].iter().filter(|table| counts(table)).cloned().collect()),
            _ => next_run(&version.levels[level], options, counts),
        };
        if !inputs.is_empty() {
            let mut deeper = level + 1..=bottom;
            let target = deeper.find(|target| !version.levels[*target].is_empty()).unwrap_or(bottom);
            let shrinks = inputs.iter().any(|table| can_shrink(table.record(), retention));
            let plan = CompactionPlan::down(version, options, level, target, inputs);
            return Some(CompactionPlan { trivial_move: plan.trivial_move && !shrinks, ..plan });
        }
    }
    let inputs = next_run(&version.levels[bottom], options, |table| can_shrink(table.record(), retention));
    (!inputs.is_empty()).then(|| CompactionPlan::in_place(bottom, inputs))
}

/// Tells whether rewriting a table at the bottom surely frees something, and all of what makes this true.
fn can_shrink(record: &TableRecord, retention: &Retention) -> bool {
    let unpinned = record.revision_max <= retention.oldest();
    let garbage = record.tombstones > 0 || record.keys < record.rows;
    (garbage && unpinned) || record.expiry_min_ms <= retention.expired_ms()
}

/// Returns the first neighbours in `tables` that are all `wanted`, up to the size of a step.
pub(super) fn next_run<T: HasRecord + Clone>(tables: &[T], options: &Options, wanted: impl Fn(&T) -> bool) -> Vec<T> {
    let bytes_max = options.table_bytes.saturating_mul(STEP_TABLES_MAX);
    let mut bytes = 0;
    let run = tables.iter().skip_while(|table| !wanted(table)).take_while(|table| wanted(table));
    run.take_while(|table| {
        bytes += table.record().bytes;
        bytes <= bytes_max || bytes == table.record().bytes
    })
    .cloned()
    .collect()
}
