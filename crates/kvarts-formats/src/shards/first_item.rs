//! How long the first item of an encoded tuple is: a walk over its bytes that checks nothing beyond its end.
use crate::tuple::{BYTES, ESCAPE, FALSE, NEGATIVE_LONG, NESTED, NULL, POSITIVE_LONG, TEXT, TRUE, UUID, ZERO};
use crate::tuple::{DOUBLE, SINGLE, VERSIONSTAMP, VERSIONSTAMP_BYTES};

/// Code of a float in 10 bytes, and of an id in 8 bytes and a versionstamp in 10: other languages write them.
const LONG_DOUBLE: u8 = 0x22;
const SHORT_ID: u8 = 0x31;
const SHORT_VERSIONSTAMP: u8 = 0x32;

/// Returns the length of the first item, code included; 0 where none is there whole, or its code is unknown.
pub fn first_item_bytes(key: &[u8]) -> usize {
    if key.first() != Some(&NESTED) {
        return plain_end(key, 0).unwrap_or(0);
    }
    let (mut at, mut depth) = (1, 1);
    while depth > 0 {
        match key.get(at) {
            None => return 0,
            Some(&NESTED) => (at, depth) = (at + 1, depth + 1),
            Some(&NULL) if key.get(at + 1) == Some(&ESCAPE) => at += 2,
            Some(&NULL) => (at, depth) = (at + 1, depth - 1),
            Some(_) => match plain_end(key, at) {
                Some(end) => at = end,
                None => return 0,
            },
        }
    }
    at
}

/// Where the item at `at`, which is not nested, ends.
fn plain_end(key: &[u8], at: usize) -> Option<usize> {
    let code = *key.get(at)?;
    let bytes = match code {
        NULL | FALSE | TRUE => 0,
        BYTES | TEXT => return zero_end(key, at + 1),
        SINGLE => 4,
        DOUBLE | SHORT_ID => 8,
        LONG_DOUBLE | SHORT_VERSIONSTAMP => 10,
        UUID => 16,
        VERSIONSTAMP => VERSIONSTAMP_BYTES,
        NEGATIVE_LONG => 1 + usize::from(!*key.get(at + 1)?),
        POSITIVE_LONG => 1 + usize::from(*key.get(at + 1)?),
        _ if code.abs_diff(ZERO) <= 8 => usize::from(code.abs_diff(ZERO)),
        _ => return None,
    };
    let end = at + 1 + bytes;
    (end <= key.len()).then_some(end)
}

/// The place behind the zero that ends a text: one with an escape behind it is part of the text.
fn zero_end(key: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += key.get(at..)?.iter().position(|&byte| byte == NULL)?;
        if key.get(at + 1) != Some(&ESCAPE) {
            return Some(at + 1);
        }
        at += 2;
    }
}
