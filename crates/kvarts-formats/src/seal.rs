//! How the bytes of a file are sealed: by a checksum over content and place, or by a cipher that hides the content too.
//!
//! Whatever has a tag goes through a [`Seal`]: block, record, footer, body of a manifest. (A file header always has the
//! checksum: see [`crate::header`].) The cipher itself lies outside of this crate, behind [`Cipher`].
use crate::FileId;
use crate::checksum::{self, TAG_BYTES};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Bytes of a nonce: offset u64, attempt u32.
pub const NONCE_BYTES: usize = 12;

/// Most bytes of a content that are authenticated but not hidden: the header of a log record.
const CLEAR_BYTES_MAX: usize = 24;

/// Bytes in front of them in the associated data: file id u64, offset u64.
const PLACE_BYTES: usize = 16;

/// An AEAD under the key of one file.
pub trait Cipher: Send + Sync {
    /// Hides `bytes` in place and returns the tag over them and `associated`. No nonce may come twice.
    fn seal(&self, nonce: [u8; NONCE_BYTES], associated: &[u8], bytes: &mut [u8]) -> [u8; TAG_BYTES];
    /// Writes what `sealed` hides into `out`, of the same length. False where the tag does not match: `out` is of no use then.
    fn open(&self, nonce: [u8; NONCE_BYTES], associated: &[u8], sealed: &[u8], tag: &[u8], out: &mut [u8]) -> bool;
    /// Puts what `sealed`, tag last, hides in its place. False where the tag does not match: the bytes are of no use then.
    fn open_in_place(&self, nonce: [u8; NONCE_BYTES], associated: &[u8], sealed: &mut [u8]) -> bool;
}

/// Where something is sealed within its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// How often something else was sealed at this offset before, under the same key. Without a cipher always 0.
    pub attempt: u32,
}

impl From<u64> for Place {
    fn from(offset: u64) -> Self {
        Self { offset, attempt: 0 }
    }
}

/// How one file is sealed, borrowed. A [`FileId`] alone stands for the checksum.
#[derive(Clone, Copy)]
pub struct Seal<'a> {
    file: FileId,
    cipher: Option<&'a dyn Cipher>,
}

/// The same, owned.
#[derive(Clone)]
pub struct FileSeal {
    file: FileId,
    cipher: Option<Arc<dyn Cipher>>,
}

impl FileSeal {
    /// Returns how `file` is sealed: with `cipher`, or by the checksum.
    pub fn new(file: FileId, cipher: Option<Arc<dyn Cipher>>) -> Self {
        Self { file, cipher }
    }

    /// Lends it.
    #[inline]
    pub fn lend(&self) -> Seal<'_> {
        Seal { file: self.file, cipher: self.cipher.as_deref() }
    }

    /// The file.
    pub fn file(&self) -> FileId {
        self.file
    }
}

impl fmt::Debug for FileSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<FileSeal {} {}>", self.file.0, if self.cipher.is_some() { "encrypted" } else { "plain" })
    }
}

impl From<FileId> for Seal<'_> {
    fn from(file: FileId) -> Self {
        Self { file, cipher: None }
    }
}

impl<'a> From<&'a FileSeal> for Seal<'a> {
    fn from(seal: &'a FileSeal) -> Self {
        seal.lend()
    }
}

impl Seal<'_> {
    /// Tells whether content is hidden.
    #[inline]
    pub fn hides(self) -> bool {
        self.cipher.is_some()
    }

    /// Seals `content`, of which the first `clear` bytes (at most 24) stay readable, and returns the tag.
    #[inline]
    pub fn close(self, place: Place, content: &mut [u8], clear: usize) -> [u8; TAG_BYTES] {
        let Some(cipher) = self.cipher else {
            debug_assert_eq!(place.attempt, 0, "a checksum can be written again");
            return checksum::tag(self.file, place.offset, &[content]);
        };
        let (head, hidden) = content.split_at_mut(clear);
        let (associated, len) = self.associated(place, head);
        cipher.seal(nonce(place), &associated[..len], hidden)
    }

    /// Checks the tag and returns the content as it was; `None` where the tag does not match.
    #[inline]
    pub fn open<'c>(self, place: Place, content: &'c [u8], clear: usize, tag: &[u8]) -> Option<Cow<'c, [u8]>> {
        let Some(cipher) = self.cipher else {
            return checksum::matches(self.file, place.offset, content, tag).then_some(Cow::Borrowed(content));
        };
        let (head, hidden) = content.split_at_checked(clear)?;
        let (associated, len) = self.associated(place, head);
        let mut opened = vec![0; content.len()];
        opened[..clear].copy_from_slice(head);
        let is_whole = cipher.open(nonce(place), &associated[..len], hidden, tag, &mut opened[clear..]);
        is_whole.then_some(Cow::Owned(opened))
    }

    /// Checks the tag at the end of `stored`, and leaves the content in front of it. Returns its length; `None` where it does not match.
    #[inline]
    pub fn open_in_place(self, place: Place, stored: &mut [u8]) -> Option<usize> {
        let len = stored.len().checked_sub(TAG_BYTES)?;
        let is_whole = match self.cipher {
            None => checksum::matches(self.file, place.offset, &stored[..len], &stored[len..]),
            Some(cipher) => {
                let (associated, bytes) = self.associated(place, &[]);
                cipher.open_in_place(nonce(place), &associated[..bytes], stored)
            }
        };
        is_whole.then_some(len)
    }

    /// What the tag covers beside the hidden bytes: the place, and the bytes that stay readable.
    #[inline]
    fn associated(self, place: Place, clear: &[u8]) -> ([u8; PLACE_BYTES + CLEAR_BYTES_MAX], usize) {
        let mut bytes = [0; PLACE_BYTES + CLEAR_BYTES_MAX];
        bytes[..8].copy_from_slice(&self.file.0.to_le_bytes());
        bytes[8..PLACE_BYTES].copy_from_slice(&place.offset.to_le_bytes());
        let len = PLACE_BYTES + clear.len();
        bytes[PLACE_BYTES..len].copy_from_slice(clear);
        (bytes, len)
    }
}

#[inline]
fn nonce(place: Place) -> [u8; NONCE_BYTES] {
    let mut bytes = [0; NONCE_BYTES];
    bytes[..8].copy_from_slice(&place.offset.to_le_bytes());
    bytes[8..].copy_from_slice(&place.attempt.to_le_bytes());
    bytes
}
