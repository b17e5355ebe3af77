//! The versioned key hashes of filters and of token spaces. Their outputs are pinned by test vectors.
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// Hash version 1: the seed and the constants of the C++ reference, so that any language can compute it.
const SECRETS: RapidSecrets = RapidSecrets::seed_cpp(0);

/// Returns the 64-bit hash of a key: rapidhash v3 with a fixed seed. The same on every machine and in every release.
#[inline]
pub fn key_hash(key: &[u8]) -> u64 {
    rapidhash_v3_seeded(key, &SECRETS)
}

/// Token hash version 1: a seed of its own (`kvarts`, 0, 1). A filter picks a line by the upper bits of the key hash; with
/// the same seed those would be the same for all keys of a shard.
const TOKEN_SECRETS: RapidSecrets = RapidSecrets::seed_cpp(0x6b76_6172_7473_0001);

/// Returns the token of a key's partition part in a hashed keyspace. `proto/token-vectors.txt` pins it for every language.
#[inline]
pub fn token_hash(part: &[u8]) -> u64 {
    rapidhash_v3_seeded(part, &TOKEN_SECRETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines are: partition, key, bytes of its part, token.
    #[test]
    fn tokens_are_those_of_the_vectors() {
        let vectors = include_str!("../../../proto/token-vectors.txt");
        let mut seen = 0;
        for line in vectors.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let words: Vec<&str> = line.split(' ').collect();
            let key: Vec<u8> = (0..words[1].len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&words[1][at..at + 2], 16).unwrap())
                .collect();
            let part = &key[..words[2].parse::<usize>().unwrap()];
            assert_eq!(format!("{:016x}", token_hash(part)), words[3], "{line}");
            seen += 1;
        }
        assert!(seen > 100, "the vectors are gone");
    }

    #[test]
    fn vectors_are_pinned() {
        let long: Vec<u8> = (0..=255).collect();
        let vectors: [(&[u8], u64); 5] = [
            (b"", 0x0338_dc4b_e2ce_cdae),
            (b"a", 0x599f_47df_33a2_e1eb),
            (b"kvarts", 0x750b_891a_dc74_d3ed),
            (b"user/0000000000000042", 0x19a2_8c54_a3e0_2a8a),
            (&long, 0xa2f3_83f4_b926_0b9d),
        ];
        for (key, expected) in vectors {
            assert_eq!(key_hash(key), expected, "{key:?}");
        }
    }
}
