//! What all files of a store share: its number, and the keys it is encrypted with.
use super::{KeyId, Keys};
use crate::{Error, FileId, Result};
use kvarts_formats::FORMAT_VERSION_MIN;
use kvarts_formats::header::{FileHeader, FileKind};
use kvarts_formats::seal::FileSeal;
use std::path::Path;
use std::sync::Arc;

/// What all files of a store share. A number alone is a store that is not encrypted.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Random number of the store, which every file header repeats.
    pub id: [u8; 16],
    keys: Option<Arc<Keys>>,
}

/// How a new file begins.
pub struct NewFile {
    /// Its header.
    pub header: FileHeader,
    /// How what follows is sealed.
    pub seal: FileSeal,
}

impl From<[u8; 16]> for Identity {
    fn from(id: [u8; 16]) -> Self {
        Self { id, keys: None }
    }
}

impl From<&Identity> for Identity {
    fn from(identity: &Identity) -> Self {
        identity.clone()
    }
}

impl Identity {
    /// Returns the identity of a store, encrypted where there are keys.
    pub fn new(id: [u8; 16], keys: Option<Arc<Keys>>) -> Self {
        Self { id, keys }
    }

    /// The keys.
    pub fn keys(&self) -> Option<&Arc<Keys>> {
        self.keys.as_ref()
    }

    /// Begins a file: its header, with a new key where the store is encrypted. Errors: `Io`, no randomness.
    pub fn begin(&self, kind: FileKind, file: FileId) -> Result<NewFile> {
        self.begin_as(FORMAT_VERSION_MIN, kind, file)
    }

    /// The same for a file of a newer format.
    pub fn begin_as(&self, version: u32, kind: FileKind, file: FileId) -> Result<NewFile> {
        let mut header = FileHeader { version, kind, file, store: self.id, key: None };
        let seal = match &self.keys {
            Some(keys) => keys.begin(&mut header)?,
            None => FileSeal::new(file, None),
        };
        Ok(NewFile { header, seal })
    }

    /// Returns how the file at `path` is sealed, whose header says that it is of this store.
    ///
    /// All files of a store are encrypted, or none is. Errors: `WrongKey`, `Corruption`.
    pub fn open(&self, path: &Path, header: &FileHeader) -> Result<FileSeal> {
        match (&self.keys, &header.key) {
            (None, None) => Ok(FileSeal::new(header.file, None)),
            (Some(keys), Some(wrapped)) => keys.open(path, header.file, KeyId(wrapped.id), header),
            (Some(_), None) => Err(mixed(path, "this file is not encrypted, and its store is")),
            (None, Some(_)) => Err(mixed(path, "this file is encrypted, and its store is not")),
        }
    }
}

fn mixed(path: &Path, what: &str) -> Error {
    Error::Corruption { file: path.to_owned(), offset: 0, what: what.to_owned() }
}
