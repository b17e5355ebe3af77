//! The versioned key hash of filters (and later of token spaces). Its outputs are pinned by test vectors.

/// Returns the 64-bit hash of a key: rapidhash v3 with a fixed seed. The same on every machine and in every release.
pub fn key_hash(key: &[u8]) -> u64 {
    todo!("{key:?}")
}
