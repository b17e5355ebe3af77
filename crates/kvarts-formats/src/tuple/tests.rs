use super::*;
use crate::Result;
use proptest::collection::vec;
use proptest::prelude::*;
use std::cmp::Ordering;

/// A tuple with its tuples in it.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Plain(Item<'static>),
    Nested(Vec<Value>),
}

fn items(values: &[Value], out: &mut Vec<Item<'static>>) {
    for value in values {
        match value {
            Value::Plain(item) => out.push(item.clone()),
            Value::Nested(inner) => {
                out.push(Item::Begin);
                items(inner, out);
                out.push(Item::End);
            }
        }
    }
}

fn packed(values: &[Value]) -> Vec<u8> {
    let mut flat = Vec::new();
    items(values, &mut flat);
    written(&flat).unwrap()
}

fn written(items: &[Item<'_>]) -> std::result::Result<Vec<u8>, Refusal> {
    let mut writer = Writer::new();
    items.iter().try_for_each(|item| writer.item(item))?;
    Ok(writer.finish())
}

fn read(data: &[u8]) -> Result<Vec<Item<'_>>> {
    let (mut reader, mut found) = (Reader::new(data), Vec::new());
    while let Some(item) = reader.next()? {
        found.push(item);
    }
    Ok(found)
}

fn int(value: i128) -> Item<'static> {
    Item::Int { negative: value < 0, magnitude: u64::try_from(value.unsigned_abs()).unwrap() }
}

fn plain() -> impl Strategy<Value = Item<'static>> {
    let long = (any::<bool>(), 1u8.., vec(any::<u8>(), 8..255));
    prop_oneof![
        Just(Item::Null),
        vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], 0..5).prop_map(|bytes| Item::Bytes(bytes.into())),
        "[\u{0}-\u{2}a\u{e5}\u{10ffff}]{0,4}".prop_map(|text: String| Item::Text(text.into())),
        (any::<u64>(), 0u32..64, any::<bool>()).prop_map(|(magnitude, shift, negative)| {
            let magnitude = magnitude >> shift;
            Item::Int { negative: negative && magnitude > 0, magnitude }
        }),
        long.prop_map(|(negative, first, rest)| Item::Long {
            negative,
            magnitude: [&[first], &rest[..]].concat().into()
        }),
        any::<u32>().prop_map(Item::Single),
        any::<u64>().prop_map(Item::Double),
        any::<bool>().prop_map(Item::Bool),
        any::<[u8; 16]>().prop_map(Item::Uuid),
        any::<[u8; 12]>().prop_filter("complete", is_complete).prop_map(Item::Versionstamp),
    ]
}

fn tuple() -> impl Strategy<Value = Vec<Value>> {
    let leaf = plain().prop_map(Value::Plain);
    vec(leaf.prop_recursive(4, 24, 4, |inner| vec(inner, 0..4).prop_map(Value::Nested)), 0..5)
}

/// Where a kind of item sorts.
fn rank(value: &Value) -> u8 {
    match value {
        Value::Plain(Item::Null) => 0,
        Value::Plain(Item::Bytes(_)) => 1,
        Value::Plain(Item::Text(_)) => 2,
        Value::Nested(_) => 3,
        Value::Plain(Item::Int { .. } | Item::Long { .. }) => 4,
        Value::Plain(Item::Single(_)) => 5,
        Value::Plain(Item::Double(_)) => 6,
        Value::Plain(Item::Bool(_)) => 7,
        Value::Plain(Item::Uuid(_)) => 8,
        Value::Plain(Item::Versionstamp(_)) => 9,
        Value::Plain(Item::Begin | Item::End) => unreachable!("a value is whole"),
    }
}

/// Whether it is below 0, and the magnitude as 255 bytes.
fn number(value: &Value) -> (bool, Vec<u8>) {
    let (negative, magnitude) = match value {
        Value::Plain(Item::Int { negative, magnitude }) => (*negative, magnitude.to_be_bytes().to_vec()),
        Value::Plain(Item::Long { negative, magnitude }) => (*negative, magnitude.to_vec()),
        other => unreachable!("{other:?} is no whole number"),
    };
    (negative, [vec![0; INT_BYTES_MAX - magnitude.len()], magnitude].concat())
}

/// Compares as numbers, item by item, without looking at bytes that were written.
fn compare(a: &[Value], b: &[Value]) -> Ordering {
    a.iter().zip(b).map(|(a, b)| compare_values(a, b)).find(|order| order.is_ne()).unwrap_or(a.len().cmp(&b.len()))
}

fn compare_values(a: &Value, b: &Value) -> Ordering {
    use Value::{Nested, Plain};
    match (a, b) {
        (Nested(a), Nested(b)) => compare(a, b),
        (Plain(Item::Bytes(a)), Plain(Item::Bytes(b))) => a.cmp(b),
        (Plain(Item::Text(a)), Plain(Item::Text(b))) => a.cmp(b),
        (Plain(Item::Single(a)), Plain(Item::Single(b))) => f32::from_bits(*a).total_cmp(&f32::from_bits(*b)),
        (Plain(Item::Double(a)), Plain(Item::Double(b))) => f64::from_bits(*a).total_cmp(&f64::from_bits(*b)),
        (Plain(Item::Bool(a)), Plain(Item::Bool(b))) => a.cmp(b),
        (Plain(Item::Uuid(a)), Plain(Item::Uuid(b))) => a.cmp(b),
        (Plain(Item::Versionstamp(a)), Plain(Item::Versionstamp(b))) => a.cmp(b),
        _ if rank(a) == 4 && rank(b) == 4 => match (number(a), number(b)) {
            ((true, a), (true, b)) => b.cmp(&a),
            ((false, a), (false, b)) => a.cmp(&b),
            ((a, _), (b, _)) => b.cmp(&a),
        },
        _ => rank(a).cmp(&rank(b)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_written_is_read(values in tuple()) {
        let (bytes, mut expected) = (packed(&values), Vec::new());
        items(&values, &mut expected);
        prop_assert_eq!(read(&bytes), Ok(expected));
    }

    #[test]
    fn bytes_sort_as_tuples_do(a in tuple(), b in tuple(), shared in 0usize..5) {
        let shared = &a[..shared.min(a.len())];
        let b = [shared, &b].concat();
        prop_assert_eq!(packed(&a).cmp(&packed(&b)), compare(&a, &b));
    }

    #[test]
    fn tuples_that_begin_so_are_one_range(a in tuple(), b in tuple(), shared in any::<bool>()) {
        let b = if shared { [&a[..], &b].concat() } else { b };
        let (prefix, key) = (packed(&a), packed(&b));
        let within = prefix <= key && key < [&prefix[..], &[0xff]].concat();
        prop_assert_eq!(within || a.is_empty(), b.starts_with(&a));
    }

    #[test]
    fn what_is_read_has_no_other_form(bytes in vec(prop_oneof![0u8..0x34, Just(0xff), any::<u8>()], 0..40)) {
        if let Ok(items) = read(&bytes) {
            prop_assert_eq!(written(&items).unwrap(), bytes);
        }
    }
}

#[test]
fn numbers_are_as_long_as_they_must_be() {
    let long = |negative, magnitude: &'static [u8]| Item::Long { negative, magnitude: magnitude.into() };
    let top = i128::from(u64::MAX);
    for (item, bytes) in [
        (int(0), vec![0x14]),
        (int(1), vec![0x15, 1]),
        (int(-1), vec![0x13, 0xfe]),
        (int(255), vec![0x15, 255]),
        (int(256), vec![0x16, 1, 0]),
        (int(-256), vec![0x12, 0xfe, 0xff]),
        (int(top - 1), [&[0x1c][..], &[0xff; 7], &[0xfe]].concat()),
        (int(1 - top), [&[0x0c][..], &[0; 7], &[1]].concat()),
        (int(top), [&[0x1d, 8][..], &[0xff; 8]].concat()),
        (int(-top), [&[0x0b, 0xf7][..], &[0; 8]].concat()),
        (long(false, &[1, 0, 0, 0, 0, 0, 0, 0, 0]), [&[0x1d, 9, 1][..], &[0; 8]].concat()),
        (long(true, &[1, 0, 0, 0, 0, 0, 0, 0, 0]), [&[0x0b, 0xf6, 0xfe][..], &[0xff; 8]].concat()),
    ] {
        assert_eq!(written(std::slice::from_ref(&item)).unwrap(), bytes);
        assert_eq!(read(&bytes).unwrap(), [item]);
    }
}

#[test]
fn nulls_are_told_from_ends() {
    let nested = [Item::Begin, Item::Null, Item::Begin, Item::End, Item::Null, Item::End, Item::Null];
    assert_eq!(written(&nested).unwrap(), [5, 0, 0xff, 5, 0, 0, 0xff, 0, 0]);
    assert_eq!(read(&[5, 0, 0xff, 5, 0, 0, 0xff, 0, 0]).unwrap(), nested);
}

#[test]
fn what_has_no_bytes_is_refused() {
    let deep = vec![Item::Begin; NESTING_MAX + 1];
    assert_eq!(written(&deep).unwrap_err(), Refusal::Deep);
    let large = Item::Long { negative: true, magnitude: vec![1; INT_BYTES_MAX + 1].into() };
    assert_eq!(written(&[large]).unwrap_err(), Refusal::Large);
    assert_eq!(written(&[Item::Versionstamp([0xff; 12])]).unwrap_err(), Refusal::Incomplete);
}

#[test]
fn hostile_bytes_are_refused_at_their_place() {
    for (bytes, offset) in [
        (vec![5; 1_000_000], 64),
        (vec![5; 64], 64),
        (vec![0x27, 0xff], 1),
        (vec![0x03], 0),
        (vec![0x16, 0, 5], 1),
        (vec![0x12, 0xff, 5], 1),
        (vec![0x1d, 0xff, 1], 2),
        (vec![0x1d, 1, 9], 1),
        ([&[0x1c][..], &[0xff; 8]].concat(), 1),
        (vec![0x02, b'a'], 1),
        (vec![0x02, 0xff, 0], 1),
        (vec![0x02, b'a', 0, 0xff], 1),
        (vec![0x21, 1, 2, 3], 1),
        ([&[0x33][..], &[0xff; 12]].concat(), 0),
    ] {
        let refused = read(&bytes).unwrap_err();
        assert!(
            matches!(refused, crate::FormatError::Corrupt { offset: at, .. } if at == offset),
            "{refused} {bytes:?}"
        );
    }
}
