//! The header that opens every file of a store, with the fields that encryption will use.
use crate::{FileId, Result};

/// Bytes of the header, its tag included.
pub const HEADER_BYTES: usize = 128;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A sorted table.
    Table,
    /// A log.
    Log,
    /// A manifest.
    Manifest,
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
        todo!("{self:?}")
    }

    /// Decodes and checks a header. Errors: `Corrupt` (wrong magic, wrong tag), `NewerVersion`, `UnknownCipher`.
    ///
    /// The version is read before the tag is checked, so that a newer format is refused by name.
    pub fn decode(bytes: &[u8], kind: FileKind) -> Result<Self> {
        todo!("{bytes:?} {kind:?}")
    }
}
