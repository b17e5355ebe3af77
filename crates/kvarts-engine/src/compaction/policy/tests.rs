use super::*;
use crate::compaction::full_plan;
use crate::version::VersionEdit;
use crate::{FileId, Revision};
use std::sync::Arc;

type Record = Arc<TableRecord>;

const NOW_MS: u64 = 1000;

fn options() -> Options {
    Options { table_bytes: 100, level_base_bytes: 400, level_growth: 10, level0_tables: 4, ..Default::default() }
}

/// A table of 100 bytes with 10 rows.
fn table(file: u64, smallest: &str, largest: &str, revisions: (u64, u64)) -> TableRecord {
    TableRecord {
        file: FileId(file),
        bytes: 100,
        rows: 10,
        tombstones: 0,
        revision_min: Revision(revisions.0),
        revision_max: Revision(revisions.1),
        expiry_min_ms: u64::MAX,
        expiry_half_ms: u64::MAX,
        keys: 10,
        smallest: smallest.into(),
        largest: largest.into(),
    }
}

fn version(tables: impl IntoIterator<Item = (usize, TableRecord)>) -> Version<Record> {
    let added = tables.into_iter().map(|(level, record)| (level, Arc::new(record))).collect();
    Version::default().apply(&VersionEdit { added, ..Default::default() })
}

fn retention(oldest: u64) -> Retention {
    Retention::new([Revision(oldest)], Revision(1000), NOW_MS)
}

fn pick(version: &Version<Record>) -> Option<String> {
    let plan = Leveled.pick(version, &options(), &retention(500))?;
    plan.check(version);
    Some(format!("{plan:?}"))
}

#[test]
fn nothing_is_picked_within_targets() {
    assert_eq!(pick(&version([])), None);
    let tables = [(0, table(1, "a", "z", (5, 9))), (1, table(2, "a", "z", (1, 4)))];
    assert_eq!(pick(&version(tables)), None);
}

#[test]
fn level_0_goes_down_with_all_that_overlap_its_oldest_table() {
    let version = version([
        (0, table(9, "e", "f", (50, 59))), // overlaps 8 only
        (0, table(8, "c", "e", (40, 49))), // overlaps the oldest
        (0, table(7, "x", "z", (30, 39))), // stays
        (0, table(6, "a", "c", (20, 29))),
        (1, table(5, "b", "b", (1, 9))),
        (1, table(4, "g", "g", (1, 9))),
    ]);
    assert_eq!(pick(&version).unwrap(), "rewrite L0 [9, 8, 6] -> L1 [5]");
}

#[test]
fn a_table_of_level_0_that_overlaps_nothing_moves() {
    let tables = (1..=4).map(|i| (0, table(i, &format!("{i}"), &format!("{i}x"), (i, i))));
    assert_eq!(pick(&version(tables)).unwrap(), "move L0 [1] -> L1 []");
}

#[test]
fn a_level_0_table_moves_only_under_few_grandparents() {
    let level0 = (1..=4).map(|i| (0, table(i, "a", "z", (10 + i, 10 + i))));
    let wide = (0, table(5, "0a", "0z", (1, 1)));
    let deep = (0..11).map(|i| (2, table(10 + i, &format!("0b{i:02}"), &format!("0b{i:02}"), (0, 0))));
    let few = version(level0.clone().chain([wide.clone()]).chain(deep.clone().take(10)));
    assert_eq!(pick(&few).unwrap(), "move L0 [5] -> L1 []");
    let many = version(level0.chain([wide]).chain(deep));
    assert_eq!(pick(&many).unwrap(), "rewrite L0 [5] -> L1 []");
}

#[test]
fn the_level_furthest_over_its_target_goes_first() {
    let level0 = (0..5).map(|i| (0, table(100 + i, "a", "z", (100 + i, 100 + i)))); // 1.25
    let level1 = (0..6).map(|i| (1, table(i, &format!("b{i}"), &format!("b{i}x"), (1, 1)))); // 1.5
    assert_eq!(pick(&version(level0.clone().chain(level1.clone()))).unwrap(), "move L1 [0] -> L2 []");
    // At 1.25 both, the upper level wins.
    assert_eq!(
        pick(&version(level0.chain(level1.take(5)))).unwrap(),
        "rewrite L0 [104, 103, 102, 101, 100] -> L1 [0, 1, 2, 3, 4]"
    );
}

#[test]
fn the_table_with_the_least_overlap_goes_down() {
    let level1 = ["a c", "d e", "f g", "h k"].map(|range| range.split_once(' ').unwrap());
    let level1 = level1.iter().zip(1..).map(|((low, high), i)| (1, table(i, low, high, (5, 5))));
    let level2 = [(2, table(11, "a", "b", (1, 1))), (2, table(12, "c", "c", (1, 1)))];
    let wide = [(2, table(13, "d", "g", (1, 1))), (2, table(14, "h", "i", (1, 1))), (2, table(15, "j", "j", (1, 1)))];
    let version = version(level1.chain(level2).chain(wide));
    assert_eq!(pick(&version).unwrap(), "rewrite L1 [2] -> L2 [13]");
}

#[test]
fn tables_half_garbage_are_rewritten_in_place_at_the_bottom_unless_pinned() {
    let dense = |revision| TableRecord { tombstones: 5, ..table(1, "c", "d", (1, revision)) };
    assert_eq!(pick(&version([(2, dense(500))])).unwrap(), "rewrite L2 [1] -> L2 []");
    assert_eq!(pick(&version([(2, dense(501))])), None, "a snapshot at 500 pins what 501 deletes");
    let sparse = TableRecord { tombstones: 4, ..dense(500) };
    assert_eq!(pick(&version([(2, sparse)])), None);
    let versions = TableRecord { keys: 7, tombstones: 2, ..dense(500) };
    assert_eq!(pick(&version([(2, versions)])).unwrap(), "rewrite L2 [1] -> L2 []");
    // In level 0 it goes down first, by a move.
    assert_eq!(pick(&version([(0, dense(500))])).unwrap(), "move L0 [1] -> L1 []");
}

#[test]
fn above_the_bottom_sparse_tables_go_down_where_they_are_large_or_it_is_cheap() {
    let dense = TableRecord { tombstones: 5, ..table(1, "c", "d", (7, 9)) };
    let small_below = (3, table(2, "a", "z", (1, 1)));
    assert_eq!(pick(&version([(2, dense.clone()), small_below])).unwrap(), "rewrite L2 [1] -> L3 [2]");
    let below = (3, TableRecord { bytes: 101, ..table(2, "a", "z", (1, 1)) });
    assert_eq!(pick(&version([(2, dense.clone()), below.clone()])), None);
    let large = TableRecord { rows: 1000, tombstones: 500, ..dense };
    assert_eq!(pick(&version([(2, large.clone()), below.clone()])).unwrap(), "rewrite L2 [1] -> L3 [2]");
    assert_eq!(pick(&version([(1, large), below])).unwrap(), "move L1 [1] -> L2 []");
}

#[test]
fn tables_half_expired_are_rewritten_even_under_a_snapshot() {
    let expired = |expiry_half_ms| TableRecord { expiry_min_ms: 1, expiry_half_ms, ..table(1, "c", "d", (1, 999)) };
    assert_eq!(pick(&version([(1, expired(NOW_MS))])).unwrap(), "rewrite L1 [1] -> L1 []");
    assert_eq!(pick(&version([(1, expired(NOW_MS + 1))])), None);
}

#[test]
fn a_full_compaction_ends_with_all_rows_in_the_deepest_level() {
    let next = |version: &Version<Record>| full_plan(version, &options(), &retention(1000)).map(|p| format!("{p:?}"));
    let level0 = [(0, table(9, "a", "c", (50, 59))), (0, table(8, "x", "z", (40, 49)))];
    assert_eq!(next(&version(level0.clone())).unwrap(), "rewrite L0 [9, 8] -> L1 []");
    let level3 = (3, table(1, "b", "y", (1, 9)));
    let all = version(level0.into_iter().chain([level3.clone()]));
    assert_eq!(next(&all).unwrap(), "rewrite L0 [9, 8] -> L3 [1]");
    let level1 = (0..12).map(|i| (1, table(20 + i, &format!("b{i:02}"), &format!("b{i:02}"), (10, 10))));
    let step = next(&version(level1.chain([level3.clone()]))).unwrap();
    assert_eq!(step, "rewrite L1 [20, 21, 22, 23, 24, 25, 26, 27, 28, 29] -> L3 [1]");
    assert_eq!(next(&version([level3.clone()])), None);
    let with_tombstone = TableRecord { tombstones: 1, ..level3.1.clone() };
    assert_eq!(next(&version([(3, with_tombstone)])).unwrap(), "rewrite L3 [1] -> L3 []");
    let expiring = TableRecord { expiry_min_ms: NOW_MS, ..level3.1.clone() };
    assert_eq!(next(&version([(3, expiring)])).unwrap(), "rewrite L3 [1] -> L3 []");
    let versions = TableRecord { keys: 9, ..level3.1.clone() };
    assert_eq!(next(&version([(3, versions)])).unwrap(), "rewrite L3 [1] -> L3 []");
    let newer = (0, table(99, "a", "z", (1001, 1002)));
    assert_eq!(next(&version([newer, level3])), None, "what came after the call is not its work");
}
