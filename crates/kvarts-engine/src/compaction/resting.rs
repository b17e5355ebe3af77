//! What is worth rewriting for those who read, where no level asks for it. Pure.
//!
//! Merging what overlaps makes reads quicker and costs its bytes. Nobody knows which reads will come; but once those that came
//! have lost as much time as the merge would have taken, it is made: then no more than twice the least is ever paid.
//! Time in which nobody writes pays too, for what is cheap beside what it brings down.
use super::CompactionPlan;
use super::full::next_run;
use super::policy::oldest_down;
use super::runs::{Run, layers};
use crate::options::Options;
use crate::version::{HasRecord, LEVELS, Version};

/// Quiet does not pay for rewriting more bytes than so many times those that come out of level 0.
const QUIET_FACTOR: u64 = 8;

/// Nor for merging layers of level 0 that rewrites more bytes than so many times those beside the largest layer: whoever
/// writes a little now and then would have all of it rewritten each time.
const MERGE_FACTOR: u64 = 4;

/// What putting any step in place costs: a manifest.
const EDIT_BYTES: u64 = 64 << 10;

/// What a tree may spend, in bytes rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Earned {
    /// By reads that looked in vain.
    pub reads: u64,
    /// By time without writes.
    pub quiet: u64,
}

/// What may make a tree's next step affordable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rest {
    /// Nothing: there is one table for each key.
    Complete,
    /// Reads.
    Reads,
    /// Reads or quiet.
    Quiet,
}

/// Returns the first step towards one table for each key that `earned` pays for, and its price; else what may pay for one
/// later.
pub fn resting_plan<T: HasRecord + Clone>(
    version: &Version<T>,
    options: &Options,
    earned: Earned,
) -> Result<(CompactionPlan<T>, u64), Rest> {
    let mut rest = Rest::Complete;
    for (plan, by_quiet) in steps(version, options) {
        let paid = if by_quiet { earned.reads.saturating_add(earned.quiet) } else { earned.reads };
        let cost = plan.cost() + EDIT_BYTES;
        if cost <= paid {
            return Ok((plan, cost));
        }
        rest = rest.max(if by_quiet { Rest::Quiet } else { Rest::Reads });
    }
    Err(rest)
}

/// The steps that there are, and whether quiet pays for each: level 0 into level 1; its layers into one, or the newest of
/// them; then level by level.
fn steps<T: HasRecord + Clone>(version: &Version<T>, options: &Options) -> Vec<(CompactionPlan<T>, bool)> {
    let mut steps = Vec::new();
    if let Some(down) = oldest_down(version, options) {
        let brought: u64 = down.inputs.iter().map(|table| table.record().bytes).sum();
        let by_quiet = down.cost() <= QUIET_FACTOR.saturating_mul(brought);
        steps.push((down, by_quiet));
    }
    let layers = layers(&version.levels[0]);
    let merged = merged_by_quiet(&layers);
    if layers.len() > merged {
        steps.push((CompactionPlan::within_level0(version.levels[0].clone()), false));
    }
    if merged > 1 {
        let tables = version.levels[0][..layers[merged - 1].tables.end].to_vec();
        steps.push((CompactionPlan::within_level0(tables), true));
    }
    for level in 1..LEVELS {
        let deeper = (level + 1..LEVELS).find(|deeper| !version.levels[*deeper].is_empty());
        if let (Some(target), false) = (deeper, version.levels[level].is_empty()) {
            let inputs = next_run(&version.levels[level], options, |_| true);
            steps.push((CompactionPlan::down(version, options, level, target, inputs), false));
        }
    }
    steps
}

/// Returns how many of the newest layers quiet merges: as many as possible; 1 where it merges none.
fn merged_by_quiet(layers: &[Run]) -> usize {
    let (mut largest, mut sum, mut merged) = (0, 0, 1);
    for (at, layer) in layers.iter().enumerate() {
        largest = layer.bytes.max(largest);
        sum += layer.bytes;
        if at > 0 && sum <= MERGE_FACTOR * (sum - largest) {
            merged = at + 1;
        }
    }
    merged
}
