use super::*;
use crate::iter::compare;
use proptest::collection::vec;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Rows in the order that the memtable promises: the third part puts the one inserted last first.
type Model = BTreeMap<(Vec<u8>, Reverse<u64>, Reverse<usize>), (Kind, Vec<u8>)>;
type Flat = (Vec<u8>, u64, Kind, Vec<u8>);

fn flat(model: &Model) -> Vec<Flat> {
    model.iter().map(|((key, revision, _), (kind, value))| (key.clone(), revision.0, *kind, value.clone())).collect()
}

fn standing(cursor: &dyn Cursor) -> Flat {
    (cursor.key().to_vec(), cursor.revision().0, cursor.kind(), cursor.value().to_vec())
}

fn forward(cursor: &mut dyn Cursor) -> Vec<Flat> {
    let mut rows = Vec::new();
    while cursor.valid() {
        rows.push(standing(cursor));
        cursor.next().unwrap();
    }
    rows
}

fn backward(cursor: &mut dyn Cursor) -> Vec<Flat> {
    let mut rows = Vec::new();
    while cursor.valid() {
        rows.push(standing(cursor));
        cursor.prev().unwrap();
    }
    rows.reverse();
    rows
}

/// Keys that share prefixes around the 8 bytes that a row keeps apart, end in zeros, and collide.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..4),
        vec(0u8..3, 0..3).prop_map(|tail| [b"sevenby".as_slice(), &tail].concat()),
        vec(any::<u8>(), 0..40),
    ]
}

fn any_row() -> impl Strategy<Value = (Vec<u8>, u64, Kind, Vec<u8>)> {
    let kind = prop_oneof![Just(Kind::Delete), Just(Kind::Put), Just(Kind::PutExpiring)];
    (any_key(), 0u64..6, kind, vec(any::<u8>(), 0..20))
}

fn build(rows: &[Flat]) -> (Arc<Memtable>, Model) {
    let (memtable, mut model) = (Memtable::new(), Model::new());
    for (order, (key, revision, kind, value)) in rows.iter().enumerate() {
        memtable.insert(key, Revision(*revision), *kind, value);
        model.insert((key.clone(), Reverse(*revision), Reverse(order)), (*kind, value.clone()));
    }
    (memtable, model)
}

proptest! {
    #[test]
    fn both_directions_agree_with_the_model(rows in vec(any_row(), 0..200)) {
        let (memtable, model) = build(&rows);
        let wanted = flat(&model);
        let mut cursor = memtable.cursor();
        cursor.seek_first().unwrap();
        prop_assert_eq!(forward(&mut *cursor), wanted.clone());
        cursor.seek_last().unwrap();
        prop_assert_eq!(backward(&mut *cursor), wanted);
        prop_assert_eq!(memtable.rows(), rows.len());
    }

    #[test]
    fn gets_and_seeks_agree_with_the_model(rows in vec(any_row(), 0..100), key in any_key(), pick in any::<prop::sample::Index>(),
                                           at in 0u64..7) {
        let (memtable, model) = build(&rows);
        let wanted = flat(&model);
        let key = if rows.is_empty() || at % 2 == 0 { key } else { pick.get(&rows).0.clone() };
        let split = wanted.partition_point(|row| compare((&row.0, Revision(row.1)), (&key, Revision(at))).is_lt());
        let mut cursor = memtable.cursor();
        cursor.seek(&key, Revision(at)).unwrap();
        prop_assert_eq!(forward(&mut *cursor), wanted[split..].to_vec());
        cursor.seek_before(&key, Revision(at)).unwrap();
        prop_assert_eq!(backward(&mut *cursor), wanted[..split].to_vec());
        let found = memtable.get(&key, Revision(at)).map(|row| (row.revision.0, row.kind, row.value.to_vec()));
        let expected = wanted.get(split).filter(|row| row.0 == key).map(|row| (row.1, row.2, row.3.clone()));
        prop_assert_eq!(found, expected);
    }
}

proptest! {
    #[test]
    fn a_cursor_meets_once_what_was_there_while_it_is_linked(rows in vec(any_row(), 1..60), late in vec(any_row(), 0..150),
                                                             moves in vec((any::<bool>(), 0usize..40), 0..12)) {
        let (memtable, model) = build(&rows);
        let wanted = flat(&model);
        let mut cursor = memtable.cursor();
        let mut late = late.iter();
        let mut at = 0_usize;
        cursor.seek_first().unwrap();
        for (is_forward, steps) in moves {
            // Rows that come later are marked by their revision: the cursor may show them or not.
            for (key, _, kind, value) in late.by_ref().take(steps) {
                memtable.insert(key, Revision(9), *kind, value);
            }
            for _ in 0..steps {
                loop {
                    if is_forward { cursor.next().unwrap() } else { cursor.prev().unwrap() }
                    if !cursor.valid() || cursor.revision() != Revision(9) {
                        break;
                    }
                }
                at = if is_forward { at + 1 } else { at.wrapping_sub(1) };
                prop_assert_eq!(cursor.valid().then(|| standing(&*cursor)), wanted.get(at).cloned());
                if !cursor.valid() {
                    at = 0;
                    cursor.seek_first().unwrap();
                    while cursor.revision() == Revision(9) {
                        cursor.next().unwrap();
                    }
                }
            }
        }
    }
}

#[test]
fn an_empty_memtable_has_nothing() {
    let memtable = Memtable::new();
    let mut cursor = memtable.cursor();
    cursor.seek_first().unwrap();
    assert!(!cursor.valid());
    cursor.seek_last().unwrap();
    assert!(!cursor.valid());
    assert_eq!(memtable.get(b"", Revision::MAX), None);
    assert!(memtable.is_empty() && memtable.bytes() <= 4 << 10);
}

#[test]
fn large_values_and_empty_keys_are_kept() {
    let memtable = Memtable::new();
    let large = vec![7; 3 << 20];
    memtable.insert(b"", Revision(1), Kind::Put, &large);
    memtable.insert(&[9; 64 << 10], Revision(2), Kind::Put, b"");
    assert_eq!(memtable.get(b"", Revision(1)).map(|row| row.value), Some(&large[..]));
    assert_eq!(memtable.get(&[9; 64 << 10], Revision::MAX).map(|row| row.revision), Some(Revision(2)));
    assert!(memtable.bytes() > 3 << 20);
}

#[test]
fn a_cursor_keeps_the_memtable_alive() {
    let memtable = Memtable::new();
    memtable.insert(b"a", Revision(1), Kind::Put, b"x");
    let mut cursor = memtable.cursor();
    drop(memtable);
    cursor.seek_first().unwrap();
    assert_eq!(cursor.value(), b"x");
}

const INSERTS: u64 = 20_000;

/// Spreads the `i`-th insert over the key space, so that rows go in everywhere.
fn scattered(i: u64) -> [u8; 16] {
    let mut key = *b"shared--........";
    key[8..].copy_from_slice(&i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key
}

/// Scans once and checks order and content. Returns how many of the first `published` inserts it met.
fn read_once(memtable: &Arc<Memtable>, published: u64, reverse: bool) -> u64 {
    let mut cursor = memtable.cursor();
    if reverse {
        cursor.seek_last().unwrap()
    } else {
        cursor.seek_first().unwrap()
    }
    let (mut met, mut last) = (0, None::<Vec<u8>>);
    while cursor.valid() {
        let key = cursor.key().to_vec();
        let i = cursor.revision().0;
        assert_eq!((key.as_slice(), cursor.value()), (&scattered(i)[..], &i.to_le_bytes()[..]));
        assert!(last.is_none_or(|last| if reverse { key < last } else { key > last }), "out of order");
        met += u64::from(i < published);
        last = Some(key);
        if reverse { cursor.prev().unwrap() } else { cursor.next().unwrap() }
    }
    met
}

#[test]
fn readers_see_all_that_was_published_while_a_writer_writes() {
    let memtable = Memtable::new();
    let published = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..INSERTS {
                memtable.insert(&scattered(i), Revision(i), Kind::Put, &i.to_le_bytes());
                published.store(i + 1, Ordering::Release);
            }
        });
        for reverse in [false, true] {
            let (memtable, published) = (&memtable, &published);
            scope.spawn(move || {
                while published.load(Ordering::Acquire) < INSERTS {
                    let count = published.load(Ordering::Acquire);
                    assert_eq!(read_once(memtable, count, reverse), count);
                    if let Some(newest) = count.checked_sub(1) {
                        let row = memtable.get(&scattered(newest), Revision::MAX);
                        assert_eq!(row.map(|row| row.revision), Some(Revision(newest)));
                    }
                }
            });
        }
    });
    assert_eq!(memtable.rows() as u64, INSERTS);
}
