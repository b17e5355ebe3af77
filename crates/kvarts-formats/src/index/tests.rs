use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn build(rows: &[(&[u8], u64)]) -> Vec<u8> {
    let mut builder = IndexBuilder::default();
    for (i, &(key, revision)) in rows.iter().enumerate() {
        builder.add(key, Revision(revision), BlockHandle { offset: 128 + 100 * i as u64, len: 100 });
    }
    builder.finish()
}

#[test]
fn find_returns_the_first_block_that_reaches_the_key() {
    let rows: [(&[u8], u64); 6] =
        [(b"user/a", 9), (b"user/b", 9), (b"user/b", 5), (b"user/b\0", 7), (b"user/carrots", 1), (b"user/d", 1)];
    let index = Index::parse(&build(&rows)).unwrap();
    assert_eq!((index.blocks(), index.end_key(4), index.end_revision(2)), (6, &b"user/carrots"[..], Revision(5)));
    assert_eq!(index.handle(2), BlockHandle { offset: 328, len: 100 });
    let cases: [(&[u8], u64, usize); 14] = [
        (b"", 1, 0),
        (b"user", u64::MAX, 0),
        (b"user/a", 9, 0),
        (b"user/a", 10, 0),
        (b"user/a", 8, 1),
        (b"user/b", u64::MAX, 1),
        (b"user/b", 7, 2),
        (b"user/b", 4, 3),
        (b"user/b\0", 7, 3),
        (b"user/b\0\0", 7, 4),
        (b"user/carrot", 7, 4),
        (b"user/d", 0, 6),
        (b"userz", 0, 6),
        (b"v", 0, 6),
    ];
    for (key, revision, expected) in cases {
        assert_eq!(index.find(key, Revision(revision)), expected, "{key:?} {revision}");
    }
}

proptest! {
    #[test]
    fn an_end_lies_between_and_is_shorter(a in any_key(), b in any_key()) {
        prop_assume!(a != b);
        let (last, next) = if a < b { (a, b) } else { (b, a) };
        let end = end_between(&last, &next);
        if let Some(end) = &end {
            prop_assert!(&last < end && end < &next && end.len() < last.len());
        }
        let shared = common_prefix(&last, &next);
        let may_be_shorter = (shared..last.len().saturating_sub(1)).any(|at| {
            (0..=u8::MAX).any(|byte| { let end = [&last[..at], &[byte]].concat(); last < end && end < next })
        });
        prop_assert_eq!(end.is_some(), may_be_shorter);
    }
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0u8), Just(1), Just(2), Just(254), Just(255)], 0..6)
}

#[test]
fn long_keys_are_cut_to_what_tells_blocks_apart() {
    let mut builder = IndexBuilder::default();
    let handle = |i: u64| BlockHandle { offset: 128 + 100 * i, len: 100 };
    builder.add_before(b"alphabet", Revision(5), b"beta", handle(0));
    builder.add_before(b"beta", Revision(5), b"beta", handle(1));
    builder.add_before(b"beta", Revision(3), b"delta", handle(2));
    builder.add(b"epsilon", Revision(3), handle(3));
    let index = Index::parse(&builder.finish()).unwrap();
    let ends: Vec<_> = (0..4).map(|i| (index.end_key(i), index.end_revision(i).0)).collect();
    assert_eq!(ends, [(&b"b"[..], 0), (b"beta", 5), (b"c", 0), (b"epsilon", 3)]);
}

#[test]
fn index_without_blocks_finds_none() {
    let index = Index::parse(&build(&[])).unwrap();
    assert_eq!((index.blocks(), index.find(b"key", Revision::MAX)), (0, 0));
}

#[test]
fn damaged_indexes_are_refused() {
    let good = build(&[(b"a", 5), (b"b", 5)]);
    // Head, then two each of offset, revision, length and end of key, then the keys.
    let damages =
        [(0, 2), (4, 1), (8, 3), (12, 1), (16, 229), (23, 0xff), (56, 3), (60, 1), (60, 3), (64, b'c'), (65, b'a')];
    for (at, byte) in damages {
        let mut bytes = good.clone();
        assert_ne!(bytes[at], byte);
        bytes[at] = byte;
        assert!(Index::parse(&bytes).is_err(), "byte {at} = {byte}");
    }
    assert!((0..good.len()).all(|len| Index::parse(&good[..len]).is_err()));
}

#[test]
fn overlapping_blocks_are_refused() {
    let mut builder = IndexBuilder::default();
    builder.add(b"a", Revision(1), BlockHandle { offset: 128, len: 100 });
    builder.add(b"b", Revision(1), BlockHandle { offset: 227, len: 100 });
    assert!(Index::parse(&builder.finish()).is_err());
}
