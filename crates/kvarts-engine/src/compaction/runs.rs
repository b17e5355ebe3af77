//! Level 0 as runs: tables whose keys are disjoint, written together. Pure.
//!
//! A flush makes a run, and so does a merge of runs that follow each other. The revisions of a run lie apart from those of
//! every other, so the runs of a tree stand in one order, newest first.
use super::CompactionPlan;
use crate::options::Options;
use crate::version::{HasRecord, Version};
use std::ops::Range;

/// Neighbours in level 0, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Which tables of level 0 they are.
    pub(super) tables: Range<usize>,
    pub(super) bytes: u64,
}

/// Returns the runs of `tables`, which come newest first as in level 0.
pub(super) fn runs<T: HasRecord>(tables: &[T]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut oldest = None;
    for (at, table) in tables.iter().enumerate() {
        let record = table.record();
        match runs.last_mut() {
            Some(run) if oldest.is_some_and(|oldest| record.revision_max >= oldest) => {
                run.tables.end = at + 1;
                run.bytes += record.bytes;
                oldest = oldest.min(Some(record.revision_min));
            }
            _ => {
                runs.push(Run { tables: at..at + 1, bytes: record.bytes });
                oldest = Some(record.revision_min);
            }
        }
    }
    runs
}

/// Runs that are merged into one at once: a row is written anew so often until it leaves level 0 as there are powers of
/// this between the bytes of a flush and those of the level.
pub fn runs_merged(options: &Options) -> usize {
    (2 * options.level0_tables).max(4)
}

/// Plans to merge the newest runs of level 0 into one, where there are enough of similar size: reads look into fewer
/// tables then, long before it is worth merging them with level 1. Runs with a `busy` table, and older ones, stay.
pub fn merge_level0<T: HasRecord + Clone>(
    version: &Version<T>,
    options: &Options,
    busy: &dyn Fn(&T) -> bool,
) -> Option<CompactionPlan<T>> {
    let tables = &version.levels[0];
    let runs = runs(tables);
    let free = runs.iter().take_while(|run| !tables[run.tables.clone()].iter().any(busy)).count();
    let width = ripe(&runs[..free], runs_merged(options))?;
    Some(CompactionPlan::within_level0(tables[..runs[width - 1].tables.end].to_vec()))
}

/// Returns how many of the newest runs are to be merged: as many as possible, of which none is larger than a few of the
/// others together, so that no merge rewrites much for little. Where runs are many all the same, the newest go.
fn ripe(runs: &[Run], merged_min: usize) -> Option<usize> {
    let (mut largest, mut sum, mut ripe) = (0, 0, None);
    for (at, run) in runs.iter().enumerate() {
        largest = run.bytes.max(largest);
        sum += run.bytes;
        if at + 1 >= merged_min && largest.saturating_mul(merged_min as u64 / 2) <= sum {
            ripe = Some(at + 1);
        }
    }
    ripe.or((runs.len() >= 2 * merged_min).then_some(merged_min))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(sizes: &[u64]) -> Option<usize> {
        let runs: Vec<Run> = sizes.iter().map(|&bytes| Run { tables: 0..0, bytes }).collect();
        ripe(&runs, 8)
    }

    #[test]
    fn runs_of_similar_size_are_merged_once_there_are_enough() {
        assert_eq!(widths(&[4; 7]), None);
        assert_eq!(widths(&[4; 8]), Some(8));
        assert_eq!(widths(&[4; 20]), Some(20), "what piled up goes in one merge");
    }

    #[test]
    fn a_large_run_waits_for_others_of_its_size() {
        let small_over = |large: &[u64]| widths(&[&[4; 8], large].concat());
        assert_eq!(small_over(&[32]), Some(8));
        assert_eq!(small_over(&[32; 6]), Some(14), "224 bytes, of which the largest are an eighth");
        assert_eq!(widths(&[4, 4, 4, 32, 32, 32, 32, 200]), None);
    }

    #[test]
    fn runs_are_never_twice_as_many() {
        // Each as large as it may be without being merged with those before it.
        let (mut sizes, mut sum) = (vec![1; 7], 7);
        while sizes.len() < 15 {
            sizes.push(sum / 3 + 1);
            sum += sizes[sizes.len() - 1];
        }
        assert_eq!(widths(&sizes), None);
        sizes.push(sum / 3 + 1);
        assert_eq!(widths(&sizes), Some(8));
    }
}
