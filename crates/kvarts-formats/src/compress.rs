//! Blocks as stored: compression byte, raw length, bytes, tag.
//!
//! `compression u8, zero 3, raw length u32, bytes, tag 16`. The tag covers all before it.
use crate::buffer::Buffer;
use crate::bytes::{all_zero, u32_at};
use crate::checksum::TAG_BYTES;
use crate::seal::Seal;
use crate::{FormatError, Result};
use std::ops::{Deref, Range};

mod codec;
mod how;

pub use codec::Compressor;
pub(crate) use codec::growth_max;
pub use how::{ByLevel, Compression, LEVELS_MAX, ZSTD_LEVEL, ZSTD_LEVEL_MAX};

/// Largest raw block accepted when decoding: no damaged length allocates more.
pub const BLOCK_BYTES_MAX: usize = 1 << 30;

/// Bytes in front of the block's own.
pub(crate) const HEAD_BYTES: usize = 8;

/// Seals `raw` as the block stored at `offset` of a file and appends it to `out`, tag included. A cipher hides all of it.
///
/// Panics where `raw` is longer than [`BLOCK_BYTES_MAX`].
pub fn seal_block<'a>(out: &mut Vec<u8>, seal: impl Into<Seal<'a>>, offset: u64, raw: &[u8], compression: Compression) {
    Compressor::new(compression).seal(out, seal, offset, raw);
}

impl Compressor {
    /// Seals `raw` as [`seal_block`] does, unless it is not worth trying to compress it.
    pub fn seal<'a>(&mut self, out: &mut Vec<u8>, seal: impl Into<Seal<'a>>, offset: u64, raw: &[u8]) {
        assert!(raw.len() <= BLOCK_BYTES_MAX, "a block of {} bytes is too large", raw.len());
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
        out[start] = self.push(out, raw);
        let tag = seal.into().close(offset.into(), &mut out[start..], 0);
        out.extend_from_slice(&tag);
    }
}

/// Checks and decompresses the block that `seal_block` wrote. The tag is checked before anything is decoded.
pub fn open_block<'a>(seal: impl Into<Seal<'a>>, offset: u64, stored: &[u8]) -> Result<Vec<u8>> {
    let content = stored.split_last_chunk::<TAG_BYTES>();
    let Some((content, tag)) = content.filter(|(content, _)| content.len() >= HEAD_BYTES) else {
        return Err(FormatError::corrupt(0, "a block is cut short"));
    };
    let Some(content) = seal.into().open(offset.into(), content, 0, tag) else {
        return Err(FormatError::corrupt(0, "the checksum of a block differs"));
    };
    expand(&content).map(|raw| raw.unwrap_or_else(|| content[HEAD_BYTES..].to_vec()))
}

/// The same of bytes that the caller has no more use for: an encrypted block is opened where it lies.
pub fn open_block_owned<'a>(seal: impl Into<Seal<'a>>, offset: u64, stored: impl Into<Buffer>) -> Result<RawBlock> {
    let mut stored = stored.into();
    if stored.len() < HEAD_BYTES + TAG_BYTES {
        return Err(FormatError::corrupt(0, "a block is cut short"));
    }
    let Some(len) = seal.into().open_in_place(offset.into(), &mut stored) else {
        return Err(FormatError::corrupt(0, "the checksum of a block differs"));
    };
    Ok(match expand(&stored[..len])? {
        Some(raw) => raw.into(),
        None => RawBlock { range: HEAD_BYTES..len, bytes: stored },
    })
}

/// The raw bytes of a block, perhaps with others around them: what is stored as it is need not be moved.
#[derive(Clone, Debug)]
pub struct RawBlock {
    pub(crate) bytes: Buffer,
    pub(crate) range: Range<usize>,
}

impl From<Vec<u8>> for RawBlock {
    fn from(bytes: Vec<u8>) -> Self {
        Self { range: 0..bytes.len(), bytes: bytes.into() }
    }
}

impl Deref for RawBlock {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

impl PartialEq for RawBlock {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// Decompresses the content of a block; `None` where what follows its head is stored as it is.
fn expand(content: &[u8]) -> Result<Option<Vec<u8>>> {
    let (head, bytes) = content.split_at(HEAD_BYTES);
    let raw_len = u32_at(head, 4) as usize;
    if raw_len > BLOCK_BYTES_MAX || !all_zero(&head[1..4]) {
        return Err(FormatError::corrupt(0, "the head of a block is not one"));
    }
    let Some(growth) = codec::growth_max(head[0]) else {
        return Err(FormatError::corrupt(0, "unknown compression"));
    };
    let is_plain = head[0] == 0;
    // No damaged length allocates more than the bytes can stand for.
    if raw_len > bytes.len().saturating_mul(growth) || (is_plain && raw_len != bytes.len()) {
        return Err(FormatError::corrupt(4, "the length of a block differs"));
    }
    if is_plain { Ok(None) } else { codec::expand(head[0], bytes, raw_len).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileId, checksum};

    const ALL: [Compression; 4] = [Compression::None, Compression::Lz4, Compression::Zstd(1), Compression::Zstd(19)];

    /// Bytes that no codec makes shorter.
    fn noise(len: usize) -> Vec<u8> {
        (0..len as u64).map(|i| crate::hash::key_hash(&i.to_le_bytes()) as u8).collect()
    }

    #[test]
    fn blocks_round_trip_and_compress_when_it_pays() {
        let noise = noise(5000);
        for (raw, smaller) in [(&b""[..], false), (b"abc", false), (&[7; 9000], true), (&noise, false)] {
            for compression in ALL {
                let mut out = b"before".to_vec();
                seal_block(&mut out, FileId(3), 777, raw, compression);
                let stored = &out[6..];
                assert_eq!(open_block(FileId(3), 777, stored).as_deref(), Ok(raw));
                assert_eq!(open_block_owned(FileId(3), 777, stored.to_vec()).as_deref(), Ok(raw));
                let plain = stored.len() == raw.len() + HEAD_BYTES + TAG_BYTES;
                assert_eq!(plain, !(smaller && compression != Compression::None));
            }
        }
    }

    #[test]
    fn a_block_is_compressed_only_where_that_saves_a_tenth() {
        for compression in &ALL[1..] {
            for (zeros, pays) in [(60, false), (180, true)] {
                let raw = [vec![0; zeros], noise(1000)].concat();
                let mut out = Vec::new();
                seal_block(&mut out, FileId(3), 777, &raw, *compression);
                assert_eq!(out[0] != 0, pays, "{compression} of {zeros} zeros");
            }
        }
    }

    #[test]
    fn data_that_does_not_pay_is_tried_now_and_then() {
        let (noise, zeros) = (noise(2000), [0; 2000]);
        let mut compressor = Compressor::new(Compression::Lz4);
        let mut sealed = |raw: &[u8]| {
            let mut out = Vec::new();
            compressor.seal(&mut out, FileId(3), 777, raw);
            assert_eq!(open_block(FileId(3), 777, &out).as_deref(), Ok(raw));
            out[0]
        };
        assert!((0..100).all(|_| sealed(&noise) == 0));
        let until = (0..100).position(|_| sealed(&zeros) == 1).unwrap();
        assert!((1..=16).contains(&until), "{until}");
        assert!((0..100).all(|_| sealed(&zeros) == 1), "once it pays all are tried");
    }

    #[test]
    fn forged_frames_are_refused() {
        let mut good = Vec::new();
        seal_block(&mut good, FileId(3), 777, &[7; 900], Compression::Zstd(3));
        let frame = good[HEAD_BYTES..good.len() - TAG_BYTES].to_vec();
        let forged = |raw_len: u32, bytes: &[u8]| {
            let content = [&[2, 0, 0, 0][..], &raw_len.to_le_bytes(), bytes].concat();
            let tag = checksum::tag(FileId(3), 777, &[&content]);
            open_block(FileId(3), 777, &[&content[..], &tag].concat())
        };
        assert_eq!(forged(900, &frame), Ok(vec![7; 900]));
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2][..]].concat();
        assert!(forged(899, &frame).is_err() && forged(901, &frame).is_err(), "another length");
        assert!(forged(900, &[&frame[..], &[0]].concat()).is_err(), "something behind the frame");
        assert!(forged(900, &[&frame[..], &skippable].concat()).is_err(), "another frame behind it");
        assert!(forged(0, &skippable).is_err(), "no frame with content");
        assert!((0..frame.len()).all(|len| forged(900, &frame[..len]).is_err()), "cut short");
    }

    #[test]
    fn forged_heads_are_refused() {
        let mut good = Vec::new();
        seal_block(&mut good, FileId(3), 777, &[7; 900], Compression::Lz4);
        for (at, byte) in [(0, 0), (0, 2), (0, 3), (1, 1), (3, 1), (4, 0), (7, 0x40), (7, 0xff), (8, 0)] {
            let mut content = good[..good.len() - TAG_BYTES].to_vec();
            content[at] = byte;
            let tag = checksum::tag(FileId(3), 777, &[&content]);
            let forged = [&content[..], &tag].concat();
            assert!(open_block(FileId(3), 777, &forged).is_err(), "byte {at} = {byte}");
            assert!(open_block_owned(FileId(3), 777, forged).is_err(), "byte {at} = {byte}");
        }
    }
}
