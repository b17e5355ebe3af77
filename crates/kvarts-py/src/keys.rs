//! Keys from Python: `bytearray`s, which their owner wipes; copies of ours are zeroed when they go.
use crate::fault::{Fault, Outcome};
use kvarts_engine::keys::{self, KEY_BYTES, Keys, MasterKey};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};
use std::sync::Arc;

/// Takes a key over. Errors: it has not 32 bytes.
pub fn master_key(given: &Bound<'_, PyByteArray>) -> Outcome<MasterKey> {
    let mut bytes = given.to_vec();
    let taken = <&mut [u8; KEY_BYTES]>::try_from(&mut bytes[..]).map(MasterKey::take);
    // What has another length is no key.
    taken.map_err(|_| Fault::invalid(format!("a key has {KEY_BYTES} bytes"), "kvarts keygen FILE makes one"))
}

/// Returns the keys of a store: the first wraps the keys of new files. None of none.
pub fn keys_from(given: &[Bound<'_, PyByteArray>]) -> Outcome<Option<Arc<Keys>>> {
    let Some((first, others)) = given.split_first() else { return Ok(None) };
    let others = others.iter().map(master_key).collect::<Outcome<Vec<_>>>()?;
    Ok(Some(Arc::new(Keys::new(master_key(first)?, others))))
}

/// What AES-256-GCM hides, or None where the tag does not match: for readers of files that know their keys.
#[pyfunction]
pub fn aead_open<'py>(
    py: Python<'py>,
    key: [u8; KEY_BYTES],
    nonce: [u8; 12],
    associated: &[u8],
    hidden: &[u8],
    tag: &[u8],
) -> Option<Bound<'py, PyBytes>> {
    keys::open(&key, nonce, associated, hidden, tag).map(|opened| PyBytes::new(py, &opened))
}
