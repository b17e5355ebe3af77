//! A cache-line-blocked Bloom filter over key hashes. Source: Putze, Sanders, Singler 2007.
//!
//! `layout u8 (1), probes u8, zero u16, lines u32`, then `lines` times 64 bytes (eight u64). A key sets `probes` bits of
//! one line: the line is the hash scaled to the number of lines, the bits are 9-bit pieces of the hash remixed.
use crate::bytes::{all_zero, u32_at, u64_at};
use crate::{FormatError, Result};

/// Bytes in front of the lines.
const HEAD_BYTES: usize = 8;

/// The one layout so far.
const LAYOUT: u8 = 1;

/// Bytes of a line: those of a cache line.
const LINE_BYTES: usize = 64;

/// Most bits a key sets: more make a blocked filter worse.
const PROBES_MAX: usize = 14;

/// 2^64 divided by the golden ratio, odd: spreads every bit of a hash over the upper ones.
const REMIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// The bits of one cache line, aligned so that a lookup touches one.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u64; 8]);

impl Line {
    /// Tells whether all bits are set that a hash sets. All are looked at: where to stop could not be foretold, and a branch that is foretold
    /// wrong costs more than they do.
    #[inline(always)]
    fn has_all(&self, hash: u64, probes: usize) -> bool {
        probes_of(hash, probes).fold(1, |all, (word, bit)| all & (self.0[word] >> bit)) & 1 == 1
    }
}

/// Collects key hashes and builds a filter.
#[derive(Debug, Default)]
pub struct FilterBuilder {
    hashes: Vec<u64>,
}

impl FilterBuilder {
    /// Adds the hash of a key; a hash equal to the last one added is skipped.
    pub fn add(&mut self, hash: u64) {
        if self.hashes.last() != Some(&hash) {
            self.hashes.push(hash);
        }
    }

    /// Encodes the filter (raw: before tag) and empties the builder.
    pub fn finish(&mut self, bits_per_key: usize) -> Vec<u8> {
        let bits = self.hashes.len() * bits_per_key.clamp(1, 64);
        let mut lines = vec![Line([0; 8]); bits.div_ceil(LINE_BYTES * 8)];
        // ln 2 bits per bit of the key's share is the optimum of an unblocked filter; rounding down suits a blocked one.
        let probes = (bits_per_key * 69 / 100).clamp(1, PROBES_MAX);
        for hash in self.hashes.drain(..) {
            let at = line_of(hash, lines.len());
            for (word, bit) in probes_of(hash, probes) {
                lines[at].0[word] |= 1 << bit;
            }
        }
        let mut out = Vec::with_capacity(HEAD_BYTES + lines.len() * LINE_BYTES);
        out.extend_from_slice(&[LAYOUT, probes as u8, 0, 0]);
        out.extend_from_slice(&u32::try_from(lines.len()).expect("a table has fewer keys").to_le_bytes());
        for word in lines.iter().flat_map(|line| line.0) {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out
    }
}

/// A filter in memory.
#[derive(Debug)]
pub struct Filter {
    lines: Box<[Line]>,
    probes: usize,
}

impl Filter {
    /// Checks an encoded filter. Errors: `Corrupt`.
    pub fn parse(data: Vec<u8>) -> Result<Self> {
        let Some((head, bits)) = data.split_at_checked(HEAD_BYTES) else {
            return Err(FormatError::corrupt(0, "a filter is cut short"));
        };
        let probes = usize::from(head[1]);
        if head[0] != LAYOUT || !(1..=PROBES_MAX).contains(&probes) || !all_zero(&head[2..4]) {
            return Err(FormatError::corrupt(0, "the head of a filter is not one"));
        }
        let (lines, rest) = bits.as_chunks::<LINE_BYTES>();
        if lines.len() != u32_at(head, 4) as usize || !rest.is_empty() {
            return Err(FormatError::corrupt(4, "the length of a filter differs"));
        }
        let lines = lines.iter().map(|line| Line(std::array::from_fn(|word| u64_at(line, word * 8)))).collect();
        Ok(Self { lines, probes })
    }

    /// Tells whether a key with this hash may be present; `false` is certain.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        let Some(line) = self.lines.get(line_of(hash, self.lines.len())) else {
            return false;
        };
        match self.probes {
            // Known numbers make straight code: those of 9 to 13 bits per key.
            6 => line.has_all(hash, 6),
            7 => line.has_all(hash, 7),
            8 => line.has_all(hash, 8),
            probes => line.has_all(hash, probes),
        }
    }

    /// Where [`Filter::may_contain`] will look, for a prefetch.
    #[inline]
    pub fn place_of(&self, hash: u64) -> *const u8 {
        self.lines.as_ptr().wrapping_add(line_of(hash, self.lines.len())).cast()
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.lines.len() * LINE_BYTES
    }
}

/// Returns the line of a hash: below `lines` unless there are none.
#[inline]
fn line_of(hash: u64, lines: usize) -> usize {
    ((u128::from(hash) * lines as u128) >> 64) as usize
}

/// Yields word and number of each bit that a hash sets in its line.
#[inline]
fn probes_of(hash: u64, probes: usize) -> impl Iterator<Item = (usize, u32)> {
    let mut mixed = hash.wrapping_mul(REMIX);
    (0..probes).map(move |i| {
        if i == 7 {
            mixed = (hash ^ REMIX).rotate_left(32).wrapping_mul(REMIX);
        }
        let bit = mixed >> 55;
        mixed <<= 9;
        ((bit >> 6) as usize, (bit & 63) as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::key_hash;

    fn filter(keys: std::ops::Range<u64>, bits_per_key: usize) -> Filter {
        let mut builder = FilterBuilder::default();
        keys.for_each(|i| builder.add(key_hash(&i.to_be_bytes())));
        Filter::parse(builder.finish(bits_per_key)).unwrap()
    }

    #[test]
    fn no_key_is_ever_missed() {
        for (keys, bits) in [(1, 10), (2, 1), (1000, 10), (5000, 32), (100, 64)] {
            let filter = filter(0..keys, bits);
            assert!((0..keys).all(|i| filter.may_contain(key_hash(&i.to_be_bytes()))));
        }
    }

    #[test]
    fn false_positives_are_few() {
        for (bits, rate_max) in [(8, 0.035), (10, 0.015), (16, 0.0012)] {
            let filter = filter(0..100_000, bits);
            assert!(filter.bytes() * 8 < 100_000 * bits + 2000);
            let hits = (100_000..300_000u64).filter(|i| filter.may_contain(key_hash(&i.to_be_bytes()))).count();
            let rate = hits as f64 / 200_000.0;
            println!("{bits} bits per key: {rate:.5}");
            assert!(rate <= rate_max, "{bits} bits per key give {rate}");
            assert!(rate > 0.0, "a filter that never errs measures nothing");
        }
    }

    #[test]
    fn filter_without_keys_contains_nothing() {
        let filter = filter(0..0, 10);
        assert!(!filter.may_contain(0) && !filter.may_contain(u64::MAX));
    }

    #[test]
    fn equal_neighbours_count_once() {
        let mut builder = FilterBuilder::default();
        (0..1000).for_each(|_| builder.add(42));
        assert_eq!(builder.finish(10).len(), HEAD_BYTES + LINE_BYTES);
    }

    #[test]
    fn damaged_filters_are_refused() {
        let mut builder = FilterBuilder::default();
        builder.add(1);
        let good = builder.finish(10);
        for (at, byte) in [(0, 0), (0, 2), (1, 0), (1, 15), (2, 1), (3, 1), (4, 0), (4, 2), (7, 255)] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            assert!(Filter::parse(bytes).is_err(), "byte {at} = {byte}");
        }
        assert!(Filter::parse(good[..good.len() - 1].to_vec()).is_err());
        assert!(Filter::parse(vec![]).is_err());
    }
}
