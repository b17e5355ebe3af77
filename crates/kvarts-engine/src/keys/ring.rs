//! The master keys of an open store.
use super::cipher::{Witness, cipher};
use super::wrap::{random_key, unwrap, wrap};
use super::{KeyId, MasterKey};
use crate::sync::Mutex;
use crate::{Error, FileId, Result};
use kvarts_formats::header::FileHeader;
use kvarts_formats::seal::FileSeal;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The master keys that an open store may use. The first wraps the keys of new files; all open what they have wrapped.
pub struct Keys {
    /// Never empty.
    ring: Mutex<Vec<Arc<MasterKey>>>,
    witness: Option<Arc<dyn Witness>>,
}

impl Keys {
    /// Returns a ring of these keys. `first` wraps the keys of new files.
    pub fn new(first: MasterKey, others: impl IntoIterator<Item = MasterKey>) -> Self {
        let ring = std::iter::once(first).chain(others).map(Arc::new).collect();
        Self { ring: Mutex::new(ring), witness: None }
    }

    /// Has everything that is sealed told to a witness: for tests.
    #[must_use]
    pub fn watched(self, witness: Arc<dyn Witness>) -> Self {
        Self { witness: Some(witness), ..self }
    }

    /// Ids of the keys, the first one's first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.ring.lock().iter().map(|key| key.id()).collect()
    }

    /// The key that wraps the keys of new files.
    pub fn first(&self) -> KeyId {
        self.newest().id()
    }

    /// Makes `key` the first, whether it was there or not.
    pub fn put_first(&self, key: MasterKey) {
        let mut ring = self.ring.lock();
        ring.retain(|other| other.id() != key.id());
        ring.insert(0, Arc::new(key));
    }

    /// Lets go of all keys but the first.
    pub fn keep_first(&self) {
        self.ring.lock().truncate(1);
    }

    fn newest(&self) -> Arc<MasterKey> {
        Arc::clone(&self.ring.lock()[0])
    }

    /// Makes a key for a new file: writes it into `header`, wrapped, and returns how the file is sealed.
    pub(super) fn begin(&self, header: &mut FileHeader) -> Result<FileSeal> {
        let key = random_key()?;
        wrap(header, &self.newest(), &key)?;
        Ok(FileSeal::new(header.file, Some(cipher(&key, self.witness.as_ref()))))
    }

    /// Returns how a file with this header is sealed. Errors: `WrongKey` where its master key is not here; `Corruption`.
    pub(super) fn open(&self, path: &Path, file: FileId, id: KeyId, header: &FileHeader) -> Result<FileSeal> {
        let master = self.ring.lock().iter().find(|key| key.id() == id).map(Arc::clone);
        let Some(master) = master else {
            return Err(Error::WrongKey { path: path.to_owned(), needed: id.0, given: self.ids()[0].0 });
        };
        let key = unwrap(header, &master).ok_or_else(|| Error::Corruption {
            file: path.to_owned(),
            offset: 0,
            what: "its key does not open: the file header was changed".to_owned(),
        })?;
        Ok(FileSeal::new(file, Some(cipher(&key, self.witness.as_ref()))))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.ids()).finish()
    }
}
