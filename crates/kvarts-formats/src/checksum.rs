//! The 16-byte checksum-or-tag that ends every block, record and header.
//!
//! Plain stores: a checksum over (file id, offset, content). Encrypted stores (format field `cipher`): the AEAD tag.
//!
//! The checksum is two little-endian u64: the CRC-64/NVME of the content, then the rapidhash v3 (default seed) of
//! `file id, offset, content length, that CRC` as four u64. The CRC finds every burst of up to 64 bits; the hash ties it to
//! its place and costs 4 ns, where feeding the place to the CRC costs 25 ns and hashing the content twice another half.
use crate::FileId;
use crc_fast::{CrcAlgorithm, Digest, crc64_nvme};
use rapidhash::v3::rapidhash_v3;

/// Bytes of the checksum-or-tag.
pub const TAG_BYTES: usize = 16;

/// Returns the checksum of `parts` (concatenated) as stored at `offset` of `file`.
pub fn tag(file: FileId, offset: u64, parts: &[&[u8]]) -> [u8; TAG_BYTES] {
    if let [content] = parts {
        return seal(file, offset, content.len() as u64, crc64_nvme(content));
    }
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    for part in parts {
        digest.update(part);
    }
    seal(file, offset, digest.get_amount(), digest.finalize())
}

/// Tells whether `expected` is the checksum of `content` as stored at `offset` of `file`.
pub fn matches(file: FileId, offset: u64, content: &[u8], expected: &[u8]) -> bool {
    tag(file, offset, &[content])[..] == *expected
}

/// Ties the CRC of a content to its place and length.
fn seal(file: FileId, offset: u64, len: u64, crc: u64) -> [u8; TAG_BYTES] {
    let mut place = [0; 32];
    place[..8].copy_from_slice(&file.0.to_le_bytes());
    place[8..16].copy_from_slice(&offset.to_le_bytes());
    place[16..24].copy_from_slice(&len.to_le_bytes());
    place[24..].copy_from_slice(&crc.to_le_bytes());
    let mut tag = [0; TAG_BYTES];
    tag[..8].copy_from_slice(&crc.to_le_bytes());
    tag[8..].copy_from_slice(&rapidhash_v3(&place).to_le_bytes());
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_is_pinned() {
        let tag = tag(FileId(7), 4096, &[b"123456789"]);
        assert_eq!(u64::from_le_bytes(tag[..8].try_into().unwrap()), 0xae8b_1486_0a79_9888, "CRC-64/NVME check value");
        assert_eq!(u64::from_le_bytes(tag[8..].try_into().unwrap()), 0x7a84_d333_825f_4c7b);
    }

    #[test]
    fn parts_are_concatenated() {
        let whole: Vec<u8> = (0..1000u32).map(|i| (i * 7) as u8).collect();
        for cut in [0, 1, 24, 999, 1000] {
            let (a, b) = whole.split_at(cut);
            assert_eq!(tag(FileId(1), 2, &[a, b]), tag(FileId(1), 2, &[&whole]));
        }
    }

    #[test]
    fn place_and_length_count() {
        let expected = tag(FileId(1), 128, &[&[0; 8]]);
        assert!(matches(FileId(1), 128, &[0; 8], &expected));
        assert!(!matches(FileId(2), 128, &[0; 8], &expected));
        assert!(!matches(FileId(1), 136, &[0; 8], &expected));
        assert!(!matches(FileId(128), 1, &[0; 8], &expected));
        assert!(!matches(FileId(1), 128, &[0; 9], &expected));
        assert!(!matches(FileId(0), 0, &[], &[0; TAG_BYTES]), "zeros never pass");
        assert!(!matches(FileId(1), 128, &[0; 8], &expected[..8]), "a cut tag never passes");
    }
}
