//! Master keys.
use super::wrap::derive;
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// What the id is derived with: an id says nothing of the key.
const ID_INFO: &[u8] = b"kvarts master key id 1";

/// The name of a master key: derived from it, so nobody has to give one. Not a secret; never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A key that the user keeps: it wraps the keys of files.
pub struct MasterKey {
    id: KeyId,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl MasterKey {
    /// Takes a key over; zeroes the bytes given.
    pub fn take(given: &mut [u8; KEY_BYTES]) -> Self {
        let bytes = Zeroizing::new(*given);
        given.zeroize();
        let mut id = Zeroizing::new([0; KEY_BYTES]);
        derive(&bytes, &[], ID_INFO, &mut id);
        // 0 means none on disk.
        let id = u64::from_le_bytes(*id.first_chunk().expect("thirty-two bytes")).max(1);
        Self { id: KeyId(id), bytes }
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key itself.
    pub(super) fn secret(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<MasterKey {}>", self.id)
    }
}
