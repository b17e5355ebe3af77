//! Level 0 as runs: tables whose keys are disjoint, written together. Pure.
//!
//! A flush makes a run, and so does a merge of runs that follow each other. The revisions of a run lie apart from those of
//! every other, so the runs of a tree stand in one order, newest first.
use super::CompactionPlan;
use super::plan::{grandparent_bytes_max, hull};
use crate::options::Options;
use crate::version::{HasRecord, Version};
use std::collections::BTreeMap;
use std::ops::{Bound, Range};

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

/// The same, where neighbours whose keys are disjoint count as one: so many tables of level 0 a get asks at most. Ascending
/// keys make one run after the other, but not one more to be asked, and merging such runs would not make them fewer.
pub(super) fn layers<T: HasRecord>(tables: &[T]) -> Vec<Run> {
    let mut layers: Vec<Run> = Vec::new();
    // The tables of the last one: largest key by smallest.
    let mut keys = BTreeMap::new();
    for run in runs(tables) {
        let of_run = || tables[run.tables.clone()].iter().map(HasRecord::record);
        let is_apart = !of_run().any(|record| overlaps(&keys, &record.smallest, &record.largest));
        match layers.last_mut() {
            Some(layer) if is_apart => {
                layer.tables.end = run.tables.end;
                layer.bytes += run.bytes;
            }
            _ => {
                keys.clear();
                layers.push(run.clone());
            }
        }
        keys.extend(of_run().map(|record| (&*record.smallest, &*record.largest)));
    }
    layers
}

/// Tells whether a key from `smallest` to `largest` may lie in one of the disjoint ranges `keys`.
fn overlaps(keys: &BTreeMap<&[u8], &[u8]>, smallest: &[u8], largest: &[u8]) -> bool {
    let upto = (Bound::Unbounded, Bound::Included(largest));
    keys.range::<[u8], _>(upto).next_back().is_some_and(|(_, stop)| *stop >= smallest)
}

/// Runs that are merged into one at once: a row is written anew so often until it leaves level 0 as there are powers of
/// this between the bytes of a flush and those of the level.
pub fn runs_merged(options: &Options) -> usize {
    (2 * options.level0_tables).max(4)
}

/// Plans to merge the newest runs of level 0 into one, where there are enough of similar size: reads look into fewer
/// tables then, long before it is worth merging them with level 1. Runs with a `busy` table, and older ones, stay.
///
/// Merging comes to an end: it leaves fewer layers, or of many small tables one.
pub fn merge_level0<T: HasRecord + Clone>(
    version: &Version<T>,
    options: &Options,
    busy: &dyn Fn(&T) -> bool,
) -> Option<CompactionPlan<T>> {
    let tables = &version.levels[0];
    let mut free = runs(tables);
    let is_free = |run: &Run| !tables[run.tables.clone()].iter().any(busy);
    free.truncate(free.iter().take_while(|run| is_free(run)).count());
    let stop = free.last()?.tables.end;
    let width = |runs: &[Run]| ripe(runs, runs_merged(options)).map(|width| runs[width - 1].tables.end);
    let merged = width(&layers(&tables[..stop])).or_else(|| width(&free[..small(version, options, &free)]))?;
    Some(CompactionPlan::within_level0(tables[..merged].to_vec()))
}

/// Returns how many of the newest runs would surely be one table if they were merged, however their keys lie.
fn small<T: HasRecord + Clone>(version: &Version<T>, options: &Options, runs: &[Run]) -> usize {
    let mut bytes = 0;
    let by_bytes = runs.iter().take_while(|run| {
        bytes += run.bytes;
        bytes <= options.table_bytes / 2
    });
    let is_one = |width: &usize| {
        let tables = &version.levels[0][..runs[width - 1].tables.end];
        hull(tables).is_some_and(|(smallest, largest)| {
            let below = &version.levels[1][version.overlapping_range(1, smallest, largest)];
            below.iter().map(|table| table.record().bytes).sum::<u64>() <= grandparent_bytes_max(options)
        })
    };
    (1..=by_bytes.count()).rev().find(is_one).unwrap_or(0)
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
    use crate::{FileId, Revision};
    use kvarts_formats::manifest::TableRecord;
    use std::sync::Arc;

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
    fn runs_that_lie_apart_are_one_layer() {
        let table = |(smallest, largest, revision): (u8, u8, u64)| {
            Arc::new(TableRecord {
                file: FileId(revision),
                bytes: 1,
                rows: 1,
                tombstones: 0,
                revision_min: Revision(revision),
                revision_max: Revision(revision),
                expiry_min_ms: u64::MAX,
                expiry_half_ms: u64::MAX,
                keys: 1,
                smallest: vec![smallest],
                largest: vec![largest],
            })
        };
        let ends = |tables: &[(u8, u8, u64)]| {
            let tables: Vec<_> = tables.iter().copied().map(table).collect();
            layers(&tables).into_iter().map(|layer| layer.tables.end).collect::<Vec<_>>()
        };
        assert_eq!(ends(&[(7, 9, 4), (4, 6, 3), (0, 2, 2), (3, 3, 1)]), [4]);
        assert_eq!(ends(&[(7, 9, 4), (4, 6, 3), (0, 4, 2), (9, 9, 1)]), [2, 4]);
        assert_eq!(ends(&[(4, 6, 3), (5, 5, 2), (4, 6, 1)]), [1, 2, 3]);
        assert_eq!(ends(&[(5, 5, 3), (4, 6, 2), (1, 9, 1)]), [1, 2, 3]);
        // Those written together stay together.
        assert_eq!(ends(&[(5, 5, 3), (1, 2, 2), (4, 6, 2), (9, 9, 1)]), [1, 4]);
        assert_eq!(ends(&[]), []);
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
