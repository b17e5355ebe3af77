use super::*;
use crate::{FileId, Revision};
use kvarts_formats::manifest::TableRecord;
use proptest::prelude::*;
use std::sync::Arc;

type Record = Arc<TableRecord>;

fn table(file: u64, smallest: &[u8], largest: &[u8], revisions: (u64, u64)) -> Record {
    Arc::new(TableRecord {
        file: FileId(file),
        bytes: 100,
        rows: 10,
        tombstones: 0,
        revision_min: Revision(revisions.0),
        revision_max: Revision(revisions.1),
        expiry_min_ms: u64::MAX,
        expiry_half_ms: u64::MAX,
        keys: 10,
        smallest: smallest.to_vec(),
        largest: largest.to_vec(),
    })
}

fn version(tables: Vec<(usize, Record)>) -> Version<Record> {
    Version::default().apply(&VersionEdit { added: tables, ..Default::default() })
}

fn files<'a>(tables: impl IntoIterator<Item = &'a Record>) -> Vec<u64> {
    tables.into_iter().map(|table| table.file.0).collect()
}

#[test]
fn candidates_come_newest_first_and_one_per_deeper_level() {
    let version = version(vec![
        (0, table(1, b"a", b"m", (10, 19))),
        (0, table(2, b"c", b"z", (20, 29))),
        (0, table(3, b"x", b"z", (30, 39))),
        (1, table(4, b"a", b"e", (1, 9))),
        (1, table(5, b"f", b"k", (1, 9))),
        (3, table(6, b"f", b"f", (0, 0))),
    ]);
    assert_eq!(files(&version.levels[0]), [3, 2, 1]);
    assert_eq!(files(version.candidates(b"f")), [2, 1, 5, 6]);
    assert_eq!(files(version.candidates(b"e")), [2, 1, 4]);
    assert_eq!(files(version.candidates(b"ee")), [2, 1]);
    assert_eq!(files(version.candidates(b"z")), [3, 2]);
    assert_eq!(files(version.candidates(b"")), [0u64; 0]);
}

#[test]
fn an_edit_moves_tables_and_names_those_gone_for_good() {
    let before = version(vec![(0, table(1, b"a", b"b", (1, 1))), (1, table(2, b"c", b"d", (1, 1)))]);
    let edit = VersionEdit {
        added: vec![(1, table(1, b"a", b"b", (1, 1)))],
        removed: vec![(0, FileId(1)), (1, FileId(2))],
        flushed: Some(Revision(7)),
    };
    let after = before.apply(&edit);
    assert_eq!((files(&after.levels[0]), files(&after.levels[1])), (vec![], vec![1]));
    assert_eq!(after.flushed, Revision(7));
    assert_eq!(files(&edit.obsolete(&before)), [2]);
    assert_eq!(format!("{edit:?}"), "edit +1@L1 -1@L0 -2@L1 flushed=7");
    assert_eq!(format!("{after:?}"), "version flushed=7 L1=1t/100B");
}

#[test]
#[should_panic(expected = "tables 1 and 2 overlap in level 1")]
fn a_key_in_two_tables_of_a_deeper_level_is_a_bug() {
    version(vec![(1, table(1, b"a", b"c", (1, 1))), (1, table(2, b"c", b"d", (2, 2)))]);
}

#[test]
#[should_panic(expected = "tables 2 and 1 of level 0 share keys and revisions")]
fn overlapping_tables_of_level_0_share_no_revision() {
    version(vec![(0, table(1, b"a", b"c", (1, 5))), (0, table(2, b"c", b"d", (5, 9)))]);
}

#[test]
fn tables_of_one_flush_may_share_revisions() {
    let version = version(vec![(0, table(1, b"a", b"c", (1, 9))), (0, table(2, b"d", b"e", (1, 9)))]);
    assert_eq!(files(version.candidates(b"d")), [2]);
}

#[test]
#[should_panic(expected = "no table 9 in level 2")]
fn removing_an_unknown_table_is_a_bug() {
    version(vec![]).apply(&VersionEdit { removed: vec![(2, FileId(9))], ..Default::default() });
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Few symbols and lengths about 8 past a shared prefix, so that bounds often agree in their first 8 bytes.
    (prop::bool::weighted(0.8), prop::collection::vec(prop::sample::select(vec![0u8, 1, 255]), 0..11))
        .prop_map(|(shared, tail)| [if shared { &b"user:"[..] } else { b"" }, &tail].concat())
}

/// Cuts sorted distinct keys into tables, two bounds each.
fn sorted_tables(keys: Vec<Vec<u8>>) -> Vec<Record> {
    let keys: Vec<_> = keys.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    let pairs = keys.chunks_exact(2).enumerate();
    pairs.map(|(i, pair)| table(1000 + i as u64, &pair[0], &pair[1], (1, 1))).collect()
}

proptest! {
    #[test]
    fn search_agrees_with_looking_at_every_table(
        level0 in prop::collection::vec((key(), key()), 0..5),
        level1 in prop::collection::vec(key(), 0..40),
        level2 in prop::collection::vec(key(), 0..9),
        probes in prop::collection::vec((key(), key()), 1..20),
    ) {
        let mut tables = Vec::new();
        for (i, (a, b)) in level0.iter().enumerate() {
            let revision = 10 + i as u64;
            tables.push((0, table(i as u64, a.min(b), a.max(b), (revision, revision))));
        }
        tables.extend(sorted_tables(level1).into_iter().map(|table| (1, table)));
        tables.extend(sorted_tables(level2).into_iter().map(|table| (2, table)));
        let version = version(tables);
        for (a, b) in &probes {
            let holding = |key: &[u8]| files(version.tables().map(|(_, table)| table)
                .filter(|table| *table.smallest <= *key && *key <= *table.largest));
            prop_assert_eq!(files(version.candidates(a)), holding(a));
            let (low, high) = (a.min(b), a.max(b));
            for level in 0..LEVELS {
                let slow = version.levels[level].iter().filter(|table| table.smallest <= *high && *low <= table.largest);
                prop_assert_eq!(files(&version.overlapping(level, low, high)), files(slow));
            }
        }
    }
}
