//! Keys of files, wrapped in their headers by a master key.
//!
//! Each wrapping has a key of its own, HKDF-SHA256 of the master key with a random salt of 16 bytes; so the nonce is 0, and
//! how many files a master key serves has no bound that matters. Associated: all fields of the header before.
use super::{KEY_BYTES, KeyId, MasterKey};
use crate::{Error, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use kvarts_formats::header::{FileHeader, WRAPPED_BYTES, WrappedKey};
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of the salt, which begins a wrapped key.
const SALT_BYTES: usize = 16;

/// What wrapping keys are derived with.
const WRAP_INFO: &[u8] = b"kvarts file key wrap 1";

/// A key in bytes of ours.
pub(super) type Secret = Zeroizing<[u8; KEY_BYTES]>;

/// Returns a new random key. Errors: `Io` where the operating system gives no randomness.
pub(super) fn random_key() -> Result<Secret> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    fill_random(&mut *key)?;
    Ok(key)
}

/// Writes `key`, wrapped by `master`, into `header`.
pub(super) fn wrap(header: &mut FileHeader, master: &MasterKey, key: &Secret) -> Result<()> {
    let mut bytes = [0; WRAPPED_BYTES];
    fill_random(&mut bytes[..SALT_BYTES])?;
    header.key = Some(WrappedKey { id: master.id().0, bytes });
    let associated = Aad::from(header.wrap_associated());
    let (salt, sealed) = bytes.split_at_mut(SALT_BYTES);
    let (hidden, tag) = sealed.split_at_mut(KEY_BYTES);
    hidden.copy_from_slice(&**key);
    let made = wrapping_key(master, salt).seal_in_place_separate_tag(zero_nonce(), associated, hidden);
    tag.copy_from_slice(made.expect("32 bytes are within the limits of GCM").as_ref());
    header.key = Some(WrappedKey { id: master.id().0, bytes });
    Ok(())
}

/// Returns the key in `header` that `master` has wrapped; `None` where header and wrapped key are not as they were written.
pub(super) fn unwrap(header: &FileHeader, master: &MasterKey) -> Option<Secret> {
    let wrapped = header.key.as_ref().filter(|key| KeyId(key.id) == master.id())?;
    let (salt, sealed) = wrapped.bytes.split_at(SALT_BYTES);
    let (hidden, tag) = sealed.split_at(KEY_BYTES);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let associated = Aad::from(header.wrap_associated());
    let opened = wrapping_key(master, salt).open_separate_gather(zero_nonce(), associated, hidden, tag, &mut *key);
    opened.is_ok().then_some(key)
}

/// Returns what AES-256-GCM hides under a key: for tools that read files by themselves. `None` where the tag does not match.
pub fn open(
    key: &[u8; KEY_BYTES],
    nonce: [u8; NONCE_LEN],
    associated: &[u8],
    hidden: &[u8],
    tag: &[u8],
) -> Option<Vec<u8>> {
    let mut opened = vec![0; hidden.len()];
    let nonce = Nonce::assume_unique_for_key(nonce);
    gcm(key).open_separate_gather(nonce, Aad::from(associated), hidden, tag, &mut opened).ok()?;
    Some(opened)
}

/// Derives `out` from a secret by HKDF-SHA256.
pub(super) fn derive(secret: &[u8; KEY_BYTES], salt: &[u8], info: &[u8], out: &mut [u8; KEY_BYTES]) {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let info = [info];
    let expanded = extracted.expand(&info, hkdf::HKDF_SHA256).expect("one hash is within what HKDF gives");
    expanded.fill(out).expect("the length was said above");
}

/// Returns an AES-256-GCM key.
pub(super) fn gcm(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key of AES-256 has 32 bytes"))
}

fn wrapping_key(master: &MasterKey, salt: &[u8]) -> LessSafeKey {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    derive(master.secret(), salt, WRAP_INFO, &mut key);
    gcm(&key)
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn fill_random(out: &mut [u8]) -> Result<()> {
    rand::fill(out).map_err(|_| {
        let cause = io::Error::other("the operating system gives no random bytes");
        Error::io("making a key", Path::new("/dev/urandom"), cause)
    })
}
