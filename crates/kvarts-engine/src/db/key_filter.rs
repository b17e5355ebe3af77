//! A filter over the keys of a memtable: a read of a key that is not in it costs a few words, not a walk down the list.
//!
//! Segments grow eightfold as rows come, so that an idle tree costs little and no key is ever hashed again. One writer at
//! a time; readers may look at any moment. A reader sees every key whose revision was visible (or whose writer freed the
//! write lock) before it looked: the words are stored before the revision is published.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of the first segment.
const WORDS_MIN: usize = 64;
/// Bits that the segment in use has per row at least.
const ROW_BITS: usize = 12;
/// Segments; the last one (2 Mi words) takes whatever comes after the others are full.
const SEGMENTS: usize = 6;

/// The filter of one memtable.
#[derive(Default)]
pub(super) struct KeyFilter {
    segments: [OnceLock<Box<[AtomicU64]>>; SEGMENTS],
}

impl KeyFilter {
    /// Adds the hash of a key to a table that has `rows` rows so far. One thread at a time.
    pub(super) fn add(&self, hash: u64, rows: usize) {
        let (segment, words) = segment_of(rows);
        let words = self.segments[segment].get_or_init(|| (0..words).map(|_| AtomicU64::new(0)).collect());
        let word = &words[word_of(hash, words.len())];
        // No other thread writes; readers find what they need through what is published later.
        word.store(word.load(Ordering::Relaxed) | bits_of(hash), Ordering::Relaxed);
    }

    /// Tells whether a key with this hash may have been added; `false` is certain.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let bits = bits_of(hash);
        let segments = self.segments.iter().map_while(OnceLock::get);
        segments.into_iter().any(|words| words[word_of(hash, words.len())].load(Ordering::Relaxed) & bits == bits)
    }

    /// Bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.segments.iter().map_while(OnceLock::get).map(|words| size_of_val(&**words)).sum()
    }
}

/// The segment that takes the row after `rows` rows, and its words.
fn segment_of(rows: usize) -> (usize, usize) {
    let (mut segment, mut words, mut filled) = (0, WORDS_MIN, WORDS_MIN * 64 / ROW_BITS);
    while rows >= filled && segment + 1 < SEGMENTS {
        segment += 1;
        words *= 8;
        filled += words * 64 / ROW_BITS;
    }
    (segment, words)
}

fn word_of(hash: u64, words: usize) -> usize {
    (((hash >> 32) * words as u64) >> 32) as usize
}

/// Four of the 64 bits of a word.
fn bits_of(hash: u64) -> u64 {
    (0..4).fold(0, |bits, i| bits | 1 << (hash >> (6 * i) & 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvarts_formats::hash::key_hash;

    fn hash(number: u64) -> u64 {
        key_hash(&number.to_be_bytes())
    }

    #[test]
    fn added_keys_are_always_found_and_others_rarely() {
        let filter = KeyFilter::default();
        assert!(!filter.may_contain(hash(1)) && filter.bytes() == 0);
        let rows = 40_000;
        for row in 0..rows {
            filter.add(hash(row), row as usize);
            assert!(filter.may_contain(hash(row)));
        }
        assert!((0..rows).all(|row| filter.may_contain(hash(row))));
        let wrong = (rows..2 * rows).filter(|&row| filter.may_contain(hash(row))).count();
        assert!(wrong < rows as usize / 10, "{wrong} of {rows}");
    }

    #[test]
    fn a_few_rows_take_a_few_bytes() {
        let filter = KeyFilter::default();
        filter.add(hash(0), 0);
        assert_eq!(filter.bytes(), 512);
        assert_eq!(segment_of(usize::MAX).0, SEGMENTS - 1);
        assert!((0..100_000).is_sorted_by_key(|rows| segment_of(rows).0), "segments never shrink");
    }
}
