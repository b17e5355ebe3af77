//! A cache-line-blocked Bloom filter over key hashes. Source: Putze, Sanders, Singler 2007.
use crate::Result;

/// Collects key hashes and builds a filter.
#[derive(Debug, Default)]
pub struct FilterBuilder {
    hashes: Vec<u64>,
}

impl FilterBuilder {
    /// Adds the hash of a key; a hash equal to the last one added is skipped.
    pub fn add(&mut self, hash: u64) {
        self.hashes.push(hash);
    }

    /// Encodes the filter (raw: before tag).
    pub fn finish(&mut self, bits_per_key: usize) -> Vec<u8> {
        todo!("{bits_per_key}")
    }
}

/// A filter in memory.
#[derive(Debug)]
pub struct Filter {
    data: Box<[u8]>,
}

impl Filter {
    /// Checks an encoded filter. Errors: `Corrupt`.
    pub fn parse(data: Vec<u8>) -> Result<Self> {
        Ok(Self { data: data.into_boxed_slice() })
    }

    /// Tells whether a key with this hash may be present; `false` is certain.
    pub fn may_contain(&self, hash: u64) -> bool {
        todo!("{hash}")
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }
}
