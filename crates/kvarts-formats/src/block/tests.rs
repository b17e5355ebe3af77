use super::*;

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
