//! The 16-byte checksum-or-tag that ends every block, record and header.
//!
//! Plain stores: a checksum over (file id, offset, content). Encrypted stores (format field `cipher`): the AEAD tag.
use crate::FileId;

/// Bytes of the checksum-or-tag.
pub const TAG_BYTES: usize = 16;

/// Returns the checksum of `parts` (concatenated) as stored at `offset` of `file`.
pub fn tag(file: FileId, offset: u64, parts: &[&[u8]]) -> [u8; TAG_BYTES] {
    todo!("{file:?} {offset} {parts:?}")
}

/// Tells whether `expected` is the checksum of `content` as stored at `offset` of `file`.
pub fn matches(file: FileId, offset: u64, content: &[u8], expected: &[u8]) -> bool {
    tag(file, offset, &[content])[..] == *expected
}
