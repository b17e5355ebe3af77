//! Plans of a manual full compaction. Pure.
use super::{CompactionPlan, Retention};
use crate::options::Options;
use crate::version::{HasRecord, Version};

/// Returns the next step towards all rows in one level, without what `retention` lets go; `None` when that is reached.
///
/// Ask, run, install, ask again of the new version, with the *same* retention, taken when the compaction was asked for:
/// rows after its `visible` do not count as work, so the steps end although others write. Run each step with a fresh one.
pub fn full_plan<T: HasRecord + Clone>(
    version: &Version<T>,
    options: &Options,
    retention: &Retention,
) -> Option<CompactionPlan<T>> {
    todo!("{} {options:?} {retention:?}", version.levels.len())
}
