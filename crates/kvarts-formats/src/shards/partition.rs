//! From key to token: which part of a key decides where it lies. As `kvarts.shardmap.partition` and `space` say it.
use super::first_item::first_item_bytes;
use crate::hash::token_hash;
use crate::tuple::{BYTES, ESCAPE, NESTED, TEXT};
use std::fmt;

/// The only hash of tokens there is.
pub const HASH_VERSION: u32 = 1;

const PREFIX_BYTES_MAX: usize = 64 << 10;
const DELIMITER_BYTES_MAX: usize = 255;

/// Which keys of a hashed keyspace lie together: those that begin with the same part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partition {
    /// Every key lies for itself.
    Whole,
    /// Those that are the same up to the first of these, itself left out.
    Until(Vec<u8>),
    /// Those whose first bytes, so many, are the same.
    Prefix(usize),
    /// Tuples with the same first item; a key that is no tuple lies for itself.
    FirstItem,
}

impl Partition {
    /// Reads the word of the configuration.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, detail) = text.split_once(':').unwrap_or((text, ""));
        match (kind, detail) {
            ("whole", "") => Some(Self::Whole),
            ("first-item", "") => Some(Self::FirstItem),
            ("until", detail) => bytes_of_hex(detail)
                .filter(|delimiter| (1..=DELIMITER_BYTES_MAX).contains(&delimiter.len()))
                .map(Self::Until),
            ("prefix", detail) => {
                detail.parse().ok().filter(|size| (1..=PREFIX_BYTES_MAX).contains(size)).map(Self::Prefix)
            }
            _ => None,
        }
    }

    /// How many bytes of a key are its part.
    pub fn part_bytes(&self, key: &[u8]) -> usize {
        match self {
            Self::Whole => key.len(),
            Self::Until(delimiter) => find(key, delimiter).unwrap_or(key.len()),
            Self::Prefix(size) => key.len().min(*size),
            Self::FirstItem => match first_item_bytes(key) {
                0 => key.len(),
                bytes => bytes,
            },
        }
    }

    /// A bound below which every key from `key` on has its part; empty: all up to the last one. `None`: the next key may
    /// have another part already.
    pub fn span_end(&self, key: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Whole => None,
            Self::Until(delimiter) => find(key, delimiter).map(|at| after_prefix(&key[..at + delimiter.len()])),
            Self::Prefix(size) => key.get(..*size).map(after_prefix),
            Self::FirstItem => match first_item_bytes(key) {
                0 => None,
                // Behind a zero that ends a text or a nested tuple, 0xff would make it one that goes on.
                bytes if matches!(key[0], BYTES | TEXT | NESTED) => Some([&key[..bytes], &[ESCAPE]].concat()),
                bytes => Some(after_prefix(&key[..bytes])),
            },
        }
    }
}

impl fmt::Display for Partition {
    /// The word of the configuration.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => out.write_str("whole"),
            Self::FirstItem => out.write_str("first-item"),
            Self::Prefix(size) => write!(out, "prefix:{size}"),
            Self::Until(delimiter) => {
                out.write_str("until:")?;
                delimiter.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }
    }
}

/// How the keys of a keyspace become tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Space {
    /// The token is the key.
    Ordered,
    /// The token is the hash of the key's part.
    Hashed(Partition),
}

/// A token: bytes in both kinds of space.
#[derive(Clone, Copy, Debug)]
pub enum Token<'k> {
    /// The key itself.
    Key(&'k [u8]),
    /// A hash, big endian.
    Hash([u8; 8]),
}

impl AsRef<[u8]> for Token<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Key(key) => key,
            Self::Hash(hash) => hash,
        }
    }
}

impl Space {
    /// Reads what a node says of a keyspace. `None`: a hash or a partition that is not known here.
    pub fn parse(ordered: bool, partition: &str, hash: u32) -> Option<Self> {
        match ordered {
            true => Some(Self::Ordered),
            false if hash == HASH_VERSION => Partition::parse(partition).map(Self::Hashed),
            false => None,
        }
    }

    /// Which part of a key counts, where not all of it does as it stands.
    pub fn partition(&self) -> Option<&Partition> {
        match self {
            Self::Ordered => None,
            Self::Hashed(partition) => Some(partition),
        }
    }

    /// The token of a key.
    pub fn token<'k>(&self, key: &'k [u8]) -> Token<'k> {
        match self {
            Self::Ordered => Token::Key(key),
            Self::Hashed(partition) => Token::Hash(token_hash(&key[..partition.part_bytes(key)]).to_be_bytes()),
        }
    }

    /// The one token that all keys of `[start, stop)` have; `None` if there may be others. An empty `stop` is no bound.
    pub fn scan_token<'k>(&self, start: &'k [u8], stop: &[u8]) -> Option<Token<'k>> {
        let Self::Hashed(partition) = self else { return None };
        if stop.split_last() == Some((&0, start)) {
            return Some(self.token(start));
        }
        let end = partition.span_end(start)?;
        let within = end.is_empty() || (!stop.is_empty() && stop <= &*end);
        within.then(|| self.token(start))
    }
}

/// The bound above every key that begins with `prefix`; empty: there is none.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut after = prefix.to_vec();
    while after.pop_if(|last| *last == u8::MAX).is_some() {}
    if let Some(last) = after.last_mut() {
        *last += 1;
    }
    after
}

fn find(key: &[u8], delimiter: &[u8]) -> Option<usize> {
    match delimiter {
        [byte] => key.iter().position(|each| each == byte),
        _ => key.windows(delimiter.len()).position(|window| window == delimiter),
    }
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines are: partition, key, bytes of its part, token.
    #[test]
    fn parts_and_tokens_are_those_of_the_vectors() {
        let vectors = include_str!("../../../../proto/token-vectors.txt");
        let mut seen = 0;
        for line in vectors.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let words: Vec<&str> = line.split(' ').collect();
            let (partition, key) = (Partition::parse(words[0]).unwrap(), bytes_of_hex(words[1]).unwrap());
            assert_eq!(partition.to_string(), words[0]);
            assert_eq!(partition.part_bytes(&key).to_string(), words[2], "{line}");
            let token = Space::Hashed(partition).token(&key);
            assert_eq!(token.as_ref(), bytes_of_hex(words[3]).unwrap(), "{line}");
            seen += 1;
        }
        assert!(seen > 100, "the vectors are gone");
    }

    #[test]
    fn scans_within_one_part_have_one_token() {
        let until = |delimiter: &[u8]| Partition::Until(delimiter.to_vec());
        let table: [(Partition, &[u8], &[u8], bool); 13] = [
            (until(b"/"), b"user/", b"user0", true),
            (until(b"/"), b"user/", b"user0\0", false),
            (until(b"/"), b"user", b"user\0", true),
            (until(b"/"), b"user", b"user0", false),
            (until(b"/"), b"user/7", b"", false),
            (until(b"\xff"), b"\xff", b"", true),
            (Partition::Prefix(2), b"ab", b"ac", true),
            (Partition::Prefix(2), b"a", b"ac", false),
            (Partition::FirstItem, b"\x02a\0", b"\x02a\0\xff", true),
            (Partition::FirstItem, b"\x02a\0", b"\x02a\x01", false),
            (Partition::Whole, b"a", b"a\0", true),
            (Partition::Whole, b"a", b"b", false),
            (Partition::Whole, b"", b"", false),
        ];
        for (partition, start, stop, one) in table {
            let space = Space::Hashed(partition);
            assert_eq!(space.scan_token(start, stop).is_some(), one, "{space:?} {start:?} {stop:?}");
        }
    }

    #[test]
    fn words_that_name_no_partition_are_none() {
        for text in ["", "until:", "until:2", "until:zz", "prefix:0", "prefix:65537", "sometimes", "whole:1"] {
            assert_eq!(Partition::parse(text), None, "{text}");
        }
    }
}
