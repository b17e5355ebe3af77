//! The header that opens every file of a store, with the fields that encryption will use.
//!
//! `magic 8, version u32, kind u8, cipher u8, zero u16, file id u64, store 16, key id u64, wrapped key 64, tag 16`.
use crate::bytes::{all_zero, u32_at, u64_at};
use crate::{FORMAT_VERSION, FileId, FormatError, Result, checksum};

/// Bytes of the header, its tag included.
pub const HEADER_BYTES: usize = 128;

/// The first bytes of every file: not text, and damaged by a transfer that changes line ends.
pub const MAGIC: [u8; 8] = *b"kvarts\r\n";

const CONTENT_BYTES: usize = HEADER_BYTES - checksum::TAG_BYTES;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FileKind {
    /// A sorted table.
    Table = 1,
    /// A log.
    Log = 2,
    /// A manifest.
    Manifest = 3,
}

/// The header of a file. Format 1 writes cipher 0, key id 0 and a zero wrapped key, and refuses any other cipher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// What the file is.
    pub kind: FileKind,
    /// Its number, which every checksum in the file covers.
    pub file: FileId,
    /// The store it belongs to, so that a file of another store is noticed.
    pub store: [u8; 16],
}

impl FileHeader {
    /// Encodes the header and its tag.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12] = self.kind as u8;
        out[16..24].copy_from_slice(&self.file.0.to_le_bytes());
        out[24..40].copy_from_slice(&self.store);
        let tag = checksum::tag(self.file, 0, &[&out[..CONTENT_BYTES]]);
        out[CONTENT_BYTES..].copy_from_slice(&tag);
        out
    }

    /// Decodes and checks a header. Errors: `Corrupt` (wrong magic, wrong tag), `NewerVersion`, `UnknownCipher`.
    ///
    /// The version is read before the tag is checked, so that a newer format is refused by name.
    pub fn decode(bytes: &[u8], kind: FileKind) -> Result<Self> {
        if bytes.len() < HEADER_BYTES {
            return Err(FormatError::corrupt(bytes.len(), "the file is shorter than its header"));
        }
        if bytes[..8] != MAGIC {
            return Err(FormatError::corrupt(0, "not a file of kvarts"));
        }
        let version = u32_at(bytes, 8);
        if version > FORMAT_VERSION {
            return Err(FormatError::NewerVersion { found: version, supported: FORMAT_VERSION });
        }
        let file = FileId(u64_at(bytes, 16));
        if !checksum::matches(file, 0, &bytes[..CONTENT_BYTES], &bytes[CONTENT_BYTES..HEADER_BYTES]) {
            return Err(FormatError::corrupt(0, "the checksum of the file header differs"));
        }
        if version != FORMAT_VERSION {
            return Err(FormatError::corrupt(8, "no such format version"));
        }
        if bytes[13] != 0 {
            return Err(FormatError::UnknownCipher(bytes[13]));
        }
        if bytes[12] != kind as u8 {
            return Err(FormatError::corrupt(12, "another kind of file"));
        }
        if !all_zero(&bytes[14..16]) || !all_zero(&bytes[40..CONTENT_BYTES]) {
            return Err(FormatError::corrupt(14, "a reserved field of the file header is not zero"));
        }
        Ok(Self { kind, file, store: bytes[24..40].try_into().expect("sixteen bytes") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FileHeader {
        FileHeader { kind: FileKind::Log, file: FileId(7), store: *b"0123456789abcdef" }
    }

    /// The header with one byte set and a tag that matches.
    fn forged(at: usize, byte: u8) -> [u8; HEADER_BYTES] {
        let mut bytes = header().encode();
        bytes[at] = byte;
        let tag = checksum::tag(FileId(u64_at(&bytes, 16)), 0, &[&bytes[..CONTENT_BYTES]]);
        bytes[CONTENT_BYTES..].copy_from_slice(&tag);
        bytes
    }

    #[test]
    fn header_round_trips() {
        assert_eq!(FileHeader::decode(&header().encode(), FileKind::Log), Ok(header()));
        assert!(FileHeader::decode(&header().encode(), FileKind::Table).is_err());
        assert!(FileHeader::decode(&header().encode()[..127], FileKind::Log).is_err());
        assert!(FileHeader::decode(&[], FileKind::Log).is_err());
        assert!(FileHeader::decode(&[0; HEADER_BYTES], FileKind::Log).is_err());
    }

    #[test]
    fn any_changed_byte_is_an_error() {
        let good = header().encode();
        for at in 0..HEADER_BYTES {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = good;
                bytes[at] ^= flip;
                assert!(FileHeader::decode(&bytes, FileKind::Log).is_err(), "byte {at} ^ {flip}");
            }
        }
    }

    #[test]
    fn newer_version_is_named_before_the_tag_is_checked() {
        let mut bytes = header().encode();
        bytes[8] = 9;
        bytes[127] ^= 1;
        let refused = FileHeader::decode(&bytes, FileKind::Log);
        assert_eq!(refused, Err(FormatError::NewerVersion { found: 9, supported: FORMAT_VERSION }));
    }

    #[test]
    fn forged_fields_are_refused() {
        assert_eq!(FileHeader::decode(&forged(13, 2), FileKind::Log), Err(FormatError::UnknownCipher(2)));
        for at in [8, 12, 14, 15, 40, 47, 48, 111] {
            assert!(FileHeader::decode(&forged(at, 0), FileKind::Log).is_ok() == (at >= 13), "byte {at} zero");
        }
        for at in [14, 15, 40, 47, 48, 111] {
            assert!(FileHeader::decode(&forged(at, 1), FileKind::Log).is_err(), "byte {at} set");
        }
    }
}
