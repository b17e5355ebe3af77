//! Which tables to rewrite next. Pure.
use super::{CompactionPlan, Retention};
use crate::options::Options;
use crate::version::{HasRecord, TableRef, Version};

/// Decides which tables to rewrite next. Pure: reads `version`, touches nothing.
pub trait CompactionPolicy<T = TableRef>: Send + Sync {
    /// Returns the most urgent plan, or `None` when every level is within its target size and nothing is worth freeing.
    ///
    /// `retention` says which tombstones and expired rows could go; the plan must be run with it, or with a later one.
    /// The same arguments always yield the same plan.
    fn pick(&self, version: &Version<T>, options: &Options, retention: &Retention) -> Option<CompactionPlan<T>>;
}

/// Leveled compaction. Source: LevelDB's scheme; RocksDB wiki, Leveled Compaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leveled;

impl<T: HasRecord + Clone> CompactionPolicy<T> for Leveled {
    fn pick(&self, version: &Version<T>, options: &Options, retention: &Retention) -> Option<CompactionPlan<T>> {
        todo!("{} {options:?} {retention:?}", version.levels.len())
    }
}
