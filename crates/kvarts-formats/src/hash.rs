//! The versioned key hash of filters (and later of token spaces). Its outputs are pinned by test vectors.
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// Hash version 1: the seed and the constants of the C++ reference, so that any language can compute it.
const SECRETS: RapidSecrets = RapidSecrets::seed_cpp(0);

/// Returns the 64-bit hash of a key: rapidhash v3 with a fixed seed. The same on every machine and in every release.
#[inline]
pub fn key_hash(key: &[u8]) -> u64 {
    rapidhash_v3_seeded(key, &SECRETS)
}

#[cfg(test)]
mod tests {
    use super::*;

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
