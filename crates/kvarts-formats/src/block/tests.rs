use super::*;
use crate::hash::key_hash;

fn rows(count: u64) -> Vec<(Vec<u8>, u64, Kind, Vec<u8>)> {
    (0..count)
        .map(|i| {
            let kind = [Kind::Put, Kind::Delete, Kind::PutExpiring][i as usize % 3];
            let value = match kind {
                Kind::Delete => vec![],
                _ => vec![i as u8; 8 + i as usize % 5],
            };
            (format!("key/{:05}", i / 4 * 3).into_bytes(), 1000 - i, kind, value)
        })
        .collect()
}

fn build(rows: &[(Vec<u8>, u64, Kind, Vec<u8>)], restart_interval: usize) -> Vec<u8> {
    let mut builder = BlockBuilder::new(restart_interval);
    for (key, revision, kind, value) in rows {
        builder.add(key, Revision(*revision), *kind, value);
        assert_eq!(builder.last_key(), key);
    }
    let estimate = builder.bytes_estimate();
    let raw = builder.finish();
    assert_eq!((raw.len(), builder.rows()), (estimate, 0));
    raw
}

fn find_by_tags(block: &Block, key: &[u8], revision: u64) -> Option<usize> {
    let mut hints = 0;
    let found = block.find_hashed(key, key_hash(key), Revision(revision), |_| hints += 1);
    assert!(found.is_none() || hints > 0);
    found
}

fn check(block: &Block, rows: &[(Vec<u8>, u64, Kind, Vec<u8>)]) {
    assert_eq!(block.rows(), rows.len());
    let (mut walked, mut key) = (Vec::new(), Vec::new());
    for (row, (expected, revision, kind, value)) in rows.iter().enumerate() {
        block.key_after(row, &mut walked);
        block.key_into(row, &mut key);
        assert_eq!((&walked, &key), (expected, expected));
        assert_eq!(block.revision(row), Revision(*revision));
        assert_eq!((block.kind(row), block.value(row)), (*kind, &value[..]));
        assert_eq!(block.find(expected, Revision(*revision)), Some(row));
        assert_eq!(find_by_tags(block, expected, *revision), Some(row));
        assert_eq!(block.lower_bound(expected, Revision(*revision)), row);
    }
    let values: Vec<u8> = rows.iter().flat_map(|row| row.3.clone()).collect();
    assert_eq!(block.value_run(0, rows.len()), values);
}

#[test]
fn rows_read_back() {
    for interval in [1, 2, 16, 1000] {
        for count in [1, 2, 16, 17, 100] {
            let rows = rows(count);
            check(&Block::parse(build(&rows, interval)).unwrap(), &rows);
        }
    }
}

#[test]
fn uniform_columns_are_elided() {
    let rows: Vec<_> = (0..10).map(|i| (vec![i], 7, Kind::Put, vec![i; 5])).collect();
    let raw = build(&rows, 16);
    assert_eq!(raw.len(), HEAD_BYTES + 10 * (2 + 1 + 5));
    check(&Block::parse(raw).unwrap(), &rows);
}

#[test]
fn find_sees_the_newest_revision_at_or_before() {
    let rows: Vec<_> =
        [("a", 5), ("b", 9), ("b", 6), ("b", 2), ("c", 4)].map(|(k, r)| (k.into(), r, Kind::Put, vec![])).into();
    for interval in [1, 2, 3, 16] {
        let block = Block::parse(build(&rows, interval)).unwrap();
        let cases = [
            ("a", 4, None, 1),
            ("a", 9, Some(0), 0),
            ("b", 10, Some(1), 1),
            ("b", 9, Some(1), 1),
            ("b", 8, Some(2), 2),
            ("b", 2, Some(3), 3),
            ("b", 1, None, 4),
            ("bb", 9, None, 4),
            ("", 9, None, 0),
            ("c", 3, None, 5),
            ("d", 9, None, 5),
        ];
        for (key, at, found, bound) in cases {
            assert_eq!(block.find(key.as_bytes(), Revision(at)), found, "{key} {at}");
            assert_eq!(block.lower_bound(key.as_bytes(), Revision(at)), bound, "{key} {at}");
        }
    }
}

/// A block of rows with these keys and revisions, in any order: the builder only checks that in debug builds.
fn raw_block(keys: &[(&[u8], u8)], kind: u8, values: &[u8]) -> Vec<u8> {
    let revisions: Vec<u8> = keys.iter().map(|key| key.1).collect();
    let mut column = Vec::new();
    for (key, _) in keys {
        column.extend_from_slice(&[0, key.len() as u8]);
        column.extend_from_slice(key);
    }
    let mut raw = vec![LAYOUT, kind, 1, 0];
    for count in [keys.len(), 1, column.len(), values.len(), 0, 0, 0] {
        raw.extend_from_slice(&(count as u32).to_le_bytes());
    }
    [raw, revisions, column, values.to_vec()].concat()
}

#[test]
fn unsorted_rows_are_refused() {
    let is_accepted = |keys: &[(&[u8], u8)]| Block::parse(raw_block(keys, 1, &[])).is_ok();
    assert!(is_accepted(&[(b"a", 5), (b"a", 4), (b"b", 9)]));
    assert!(!is_accepted(&[(b"a", 5), (b"a", 5)]), "equal rows");
    assert!(!is_accepted(&[(b"a", 5), (b"a", 6)]), "revisions ascend");
    assert!(!is_accepted(&[(b"b", 5), (b"a", 4)]), "keys descend");
    assert!(!is_accepted(&[(b"ab", 5), (b"a", 4)]), "a prefix comes after");
    assert!(!is_accepted(&[]), "no rows");
}

#[test]
fn contradicting_heads_are_refused() {
    let good = raw_block(&[(b"a", 5), (b"b", 4)], 1, &[0; 16]);
    assert!(Block::parse(good.clone()).is_ok());
    let damages = [
        (0, 0, "layout"),
        (1, 3, "kind"),
        (1, 0, "deletes with values"),
        (1, KINDS_DIFFER, "kinds without a column"),
        (2, 3, "revision width"),
        (3, 1, "value offsets width"),
        (3, 4, "value offsets without a column"),
        (4, 0, "no rows"),
        (4, 1, "fewer rows"),
        (4, 3, "more rows"),
        (8, 0, "restart interval"),
        (8, 2, "full key before the restart"),
        (12, 5, "key bytes"),
        (16, 15, "value bytes"),
        (20, 1, "reserved"),
    ];
    for (at, byte, name) in damages {
        let mut raw = good.clone();
        raw[at] = byte;
        // A first full key that shares nothing is what an interval of 2 would write too.
        assert_eq!(Block::parse(raw).is_err(), name != "full key before the restart", "{name}");
    }
    assert!((0..good.len()).all(|len| Block::parse(good[..len].to_vec()).is_err()), "cut short");
}

#[test]
fn bytes_after_the_last_key_are_refused() {
    let mut raw = raw_block(&[(b"a", 5)], 1, &[]);
    raw.push(0);
    raw[12] += 1;
    assert!(Block::parse(raw).is_err());
}

#[test]
fn values_of_unequal_or_wrong_length_are_refused() {
    assert!(Block::parse(raw_block(&[(b"a", 5), (b"b", 4)], 1, &[0; 15])).is_err(), "15 bytes in two values");
    assert!(Block::parse(raw_block(&[(b"a", 5), (b"b", 4)], 2, &[0; 16])).is_ok());
    assert!(Block::parse(raw_block(&[(b"a", 5), (b"b", 4)], 2, &[0; 14])).is_err(), "no room for the expiry");
}

#[test]
fn revisions_beyond_the_last_are_refused() {
    let mut raw = raw_block(&[(b"a", 5), (b"b", 4)], 1, &[]);
    raw[24..32].copy_from_slice(&(u64::MAX - 5).to_le_bytes());
    assert_eq!(Block::parse(raw.clone()).unwrap().revision(0), Revision::MAX);
    raw[24..32].copy_from_slice(&(u64::MAX - 4).to_le_bytes());
    assert!(Block::parse(raw).is_err());
}

#[test]
fn every_width_of_revisions_reads_back() {
    for (above, width) in [(1, 1), (0xff, 1), (0x100, 2), (0xffff, 2), (0x1_0000, 4), (1 << 32, 8), (u64::MAX - 9, 8)] {
        let rows = vec![(vec![1], 9 + above, Kind::Put, vec![]), (vec![1], 9, Kind::Put, vec![])];
        let raw = build(&rows, 16);
        assert_eq!(usize::from(raw[2]), width, "{above}");
        check(&Block::parse(raw).unwrap(), &rows);
    }
}

#[test]
fn damaged_value_offsets_are_refused() {
    let rows: Vec<_> = [2, 3, 4].map(|len| (vec![len], 7, Kind::Put, vec![len; len as usize])).into();
    let good = build(&rows, 16);
    assert_eq!(good[HEAD_BYTES..HEAD_BYTES + 16], [0, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0]);
    for (at, byte) in [(0, 1), (4, 6), (8, 1), (8, 10), (12, 8), (12, 10), (15, 1)] {
        let mut raw = good.clone();
        raw[HEAD_BYTES + at] = byte;
        assert!(Block::parse(raw).is_err(), "byte {at} = {byte}");
    }
}
