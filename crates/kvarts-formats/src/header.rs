//! The header that opens every file of a store, with what is needed to open the rest where that is encrypted.
//!
//! `magic 8, version u32, kind u8, cipher u8, zero u16, file id u64, store 16, key id u64, wrapped key 64, tag 16`.
//!
//! Its tag is the checksum, whatever the cipher: a header is checked and shown without any key. Who holds the key finds out
//! whether someone has changed it by unwrapping the key of the file, which authenticates all fields before it.
use crate::bytes::{all_zero, u32_at, u64_at};
use crate::{FORMAT_VERSION, FORMAT_VERSION_MIN, FileId, FormatError, Result, checksum};

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

/// Content is sealed with AES-256-GCM.
const CIPHER_AES_256_GCM: u8 = 1;

/// Where what authenticates the wrapped key ends: all fields before it.
pub const WRAP_ASSOCIATED_BYTES: usize = 48;

/// Bytes of a wrapped key.
pub const WRAPPED_BYTES: usize = 64;

/// How the key of a file is kept in its header: `salt 16, the key encrypted 32, tag 16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which master key wraps it; never 0.
    pub id: u64,
    /// The wrapped key.
    pub bytes: [u8; WRAPPED_BYTES],
}

/// The header of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The format of the file: the oldest one that holds what is in it.
    pub version: u32,
    /// What the file is.
    pub kind: FileKind,
    /// Its number, which every checksum in the file covers.
    pub file: FileId,
    /// The store it belongs to, so that a file of another store is noticed.
    pub store: [u8; 16],
    /// The key that the rest of the file is encrypted with; `None` where it is not.
    pub key: Option<WrappedKey>,
}

impl FileHeader {
    /// The fields that the wrapped key is bound to: all before it.
    pub fn wrap_associated(&self) -> [u8; WRAP_ASSOCIATED_BYTES] {
        *self.encode().first_chunk().expect("a header is longer")
    }

    /// Encodes the header and its tag.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&self.version.to_le_bytes());
        out[12] = self.kind as u8;
        out[16..24].copy_from_slice(&self.file.0.to_le_bytes());
        out[24..40].copy_from_slice(&self.store);
        if let Some(key) = &self.key {
            out[13] = CIPHER_AES_256_GCM;
            out[40..48].copy_from_slice(&key.id.to_le_bytes());
            out[48..CONTENT_BYTES].copy_from_slice(&key.bytes);
        }
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
        if version < FORMAT_VERSION_MIN {
            return Err(FormatError::corrupt(8, "no such format version"));
        }
        let key = match bytes[13] {
            0 => None,
            CIPHER_AES_256_GCM => {
                let wrapped = bytes[48..CONTENT_BYTES].try_into().expect("sixty-four bytes");
                Some(WrappedKey { id: u64_at(bytes, 40), bytes: wrapped })
            }
            other => return Err(FormatError::UnknownCipher(other)),
        };
        if bytes[12] != kind as u8 {
            return Err(FormatError::corrupt(12, "another kind of file"));
        }
        let is_keyed = key.as_ref().is_some_and(|key| key.id != 0);
        if !all_zero(&bytes[14..16]) || !(is_keyed || all_zero(&bytes[40..CONTENT_BYTES])) {
            return Err(FormatError::corrupt(14, "a reserved field of the file header is not zero"));
        }
        if key.is_some() && !is_keyed {
            return Err(FormatError::corrupt(40, "an encrypted file names no key"));
        }
        Ok(Self { version, kind, file, store: bytes[24..40].try_into().expect("sixteen bytes"), key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FileHeader {
        FileHeader { version: 1, kind: FileKind::Log, file: FileId(7), store: *b"0123456789abcdef", key: None }
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

    fn encrypted() -> FileHeader {
        FileHeader { key: Some(WrappedKey { id: 0x0102_0304_0506_0708, bytes: [7; WRAPPED_BYTES] }), ..header() }
    }

    #[test]
    fn header_of_an_encrypted_file_round_trips() {
        let bytes = encrypted().encode();
        assert_eq!(FileHeader::decode(&bytes, FileKind::Log), Ok(encrypted()));
        assert_eq!((bytes[13], &bytes[40..48], bytes[48]), (1, &[8, 7, 6, 5, 4, 3, 2, 1][..], 7));
        assert_eq!(encrypted().wrap_associated()[..], bytes[..48]);
    }

    #[test]
    fn encrypted_file_without_a_key_id_is_refused() {
        let nameless = FileHeader { key: Some(WrappedKey { id: 0, bytes: [7; WRAPPED_BYTES] }), ..header() };
        assert!(FileHeader::decode(&nameless.encode(), FileKind::Log).is_err());
        let empty = FileHeader { key: Some(WrappedKey { id: 0, bytes: [0; WRAPPED_BYTES] }), ..header() };
        assert!(FileHeader::decode(&empty.encode(), FileKind::Log).is_err());
    }

    #[test]
    fn any_changed_byte_is_an_error() {
        for good in [header().encode(), encrypted().encode()] {
            any_change_is_an_error(good);
        }
    }

    fn any_change_is_an_error(good: [u8; HEADER_BYTES]) {
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
