//! AES-256-GCM under the key of one file.
use super::KEY_BYTES;
use super::wrap::{Secret, derive, gcm};
use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use kvarts_formats::checksum::TAG_BYTES;
use kvarts_formats::seal::{Cipher, NONCE_BYTES};
use std::sync::Arc;

/// Is told of everything that is sealed: for tests, which look for a nonce that comes twice.
pub trait Witness: Send + Sync {
    /// `key` stands for the key of a file: a one-way function of it.
    fn sealed(&self, key: [u8; KEY_BYTES], nonce: [u8; NONCE_BYTES]);
}

/// The cipher of a file.
struct FileCipher(LessSafeKey);

/// Returns the cipher under the key of a file.
pub(super) fn cipher(key: &Secret, witness: Option<&Arc<dyn Witness>>) -> Arc<dyn Cipher> {
    let cipher = FileCipher(gcm(key));
    let Some(witness) = witness else { return Arc::new(cipher) };
    let mut mark = [0; KEY_BYTES];
    derive(key, &[], b"kvarts witness", &mut mark);
    Arc::new(Watched { cipher, mark, witness: Arc::clone(witness) })
}

impl Cipher for FileCipher {
    fn seal(&self, nonce: [u8; NONCE_BYTES], associated: &[u8], bytes: &mut [u8]) -> [u8; TAG_BYTES] {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(associated), bytes);
        let tag = tag.expect("blocks and records are far below the 64 GiB of GCM");
        tag.as_ref().try_into().expect("a tag of GCM has 16 bytes")
    }

    fn open(&self, nonce: [u8; NONCE_BYTES], associated: &[u8], sealed: &[u8], tag: &[u8], out: &mut [u8]) -> bool {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_separate_gather(nonce, Aad::from(associated), sealed, tag, out).is_ok()
    }

    fn open_in_place(&self, nonce: [u8; NONCE_BYTES], associated: &[u8], sealed: &mut [u8]) -> bool {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(associated), sealed).is_ok()
    }
}

/// A cipher that tells a witness.
struct Watched {
    cipher: FileCipher,
    mark: [u8; KEY_BYTES],
    witness: Arc<dyn Witness>,
}

impl Cipher for Watched {
    fn seal(&self, nonce: [u8; NONCE_BYTES], associated: &[u8], bytes: &mut [u8]) -> [u8; TAG_BYTES] {
        self.witness.sealed(self.mark, nonce);
        self.cipher.seal(nonce, associated, bytes)
    }

    fn open(&self, nonce: [u8; NONCE_BYTES], associated: &[u8], sealed: &[u8], tag: &[u8], out: &mut [u8]) -> bool {
        self.cipher.open(nonce, associated, sealed, tag, out)
    }

    fn open_in_place(&self, nonce: [u8; NONCE_BYTES], associated: &[u8], sealed: &mut [u8]) -> bool {
        self.cipher.open_in_place(nonce, associated, sealed)
    }
}
