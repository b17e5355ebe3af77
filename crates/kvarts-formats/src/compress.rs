//! Blocks as stored: compression byte, raw length, bytes, tag.
//!
//! `compression u8, zero 3, raw length u32, bytes, tag 16`. The tag covers all before it.
use crate::bytes::{all_zero, u32_at};
use crate::checksum::TAG_BYTES;
use crate::seal::Seal;
use crate::{FormatError, Result};

/// How a block is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// Stored as it is.
    None = 0,
    /// LZ4 block format; stored raw where it saves less than an eighth.
    Lz4 = 1,
}

/// Largest raw block accepted when decoding: no damaged length allocates more.
pub const BLOCK_BYTES_MAX: usize = 1 << 30;

/// Bytes in front of the block's own.
pub(crate) const HEAD_BYTES: usize = 8;

/// Most raw bytes that one stored byte of LZ4 can stand for.
pub(crate) const LZ4_GROWTH_MAX: usize = 255;

/// Seals `raw` as the block stored at `offset` of a file and appends it to `out`, tag included. A cipher hides all of it.
///
/// Panics where `raw` is longer than [`BLOCK_BYTES_MAX`].
pub fn seal_block<'a>(out: &mut Vec<u8>, seal: impl Into<Seal<'a>>, offset: u64, raw: &[u8], compression: Compression) {
    assert!(raw.len() <= BLOCK_BYTES_MAX, "a block of {} bytes is too large", raw.len());
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    if compression == Compression::Lz4 && push_lz4(out, raw) {
        out[start] = Compression::Lz4 as u8;
    } else {
        out.extend_from_slice(raw);
    }
    let tag = seal.into().close(offset.into(), &mut out[start..], 0);
    out.extend_from_slice(&tag);
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
pub fn open_block_owned<'a>(seal: impl Into<Seal<'a>>, offset: u64, stored: Vec<u8>) -> Result<Vec<u8>> {
    if stored.len() < HEAD_BYTES + TAG_BYTES {
        return Err(FormatError::corrupt(0, "a block is cut short"));
    }
    let Some(mut content) = seal.into().open_owned(offset.into(), stored) else {
        return Err(FormatError::corrupt(0, "the checksum of a block differs"));
    };
    if let Some(raw) = expand(&content)? {
        return Ok(raw);
    }
    content.drain(..HEAD_BYTES);
    Ok(content)
}

/// Decompresses the content of a block; `None` where what follows its head is stored as it is.
fn expand(content: &[u8]) -> Result<Option<Vec<u8>>> {
    let (head, bytes) = content.split_at(HEAD_BYTES);
    let raw_len = u32_at(head, 4) as usize;
    if raw_len > BLOCK_BYTES_MAX || !all_zero(&head[1..4]) {
        return Err(FormatError::corrupt(0, "the head of a block is not one"));
    }
    match head[0] {
        0 if bytes.len() == raw_len => Ok(None),
        1 if raw_len <= bytes.len().saturating_mul(LZ4_GROWTH_MAX) => expand_lz4(bytes, raw_len).map(Some),
        0 | 1 => Err(FormatError::corrupt(4, "the length of a block differs")),
        _ => Err(FormatError::corrupt(0, "unknown compression")),
    }
}

/// Appends `raw` compressed if that saves at least an eighth; else leaves `out` as it was.
fn push_lz4(out: &mut Vec<u8>, raw: &[u8]) -> bool {
    let start = out.len();
    out.resize(start + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
    let written = lz4_flex::block::compress_into(raw, &mut out[start..]).unwrap_or(usize::MAX);
    let saves = written <= raw.len() - raw.len().div_ceil(8);
    out.truncate(if saves { start + written } else { start });
    saves
}

fn expand_lz4(bytes: &[u8], raw_len: usize) -> Result<Vec<u8>> {
    let mut raw = vec![0; raw_len];
    match lz4_flex::block::decompress_into(bytes, &mut raw) {
        Ok(len) if len == raw_len => Ok(raw),
        _ => Err(FormatError::corrupt(HEAD_BYTES, "a compressed block cannot be expanded")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileId, checksum};

    #[test]
    fn blocks_round_trip_and_compress_when_it_pays() {
        let noise: Vec<u8> = (0..5000u64).map(|i| crate::hash::key_hash(&i.to_le_bytes()) as u8).collect();
        for (raw, smaller) in [(&b""[..], false), (b"abc", false), (&[7; 9000], true), (&noise, false)] {
            for compression in [Compression::None, Compression::Lz4] {
                let mut out = b"before".to_vec();
                seal_block(&mut out, FileId(3), 777, raw, compression);
                let stored = &out[6..];
                assert_eq!(open_block(FileId(3), 777, stored).as_deref(), Ok(raw));
                assert_eq!(open_block_owned(FileId(3), 777, stored.to_vec()).as_deref(), Ok(raw));
                let plain = stored.len() == raw.len() + HEAD_BYTES + TAG_BYTES;
                assert_eq!(plain, !(smaller && compression == Compression::Lz4));
            }
        }
    }

    #[test]
    fn forged_heads_are_refused() {
        let mut good = Vec::new();
        seal_block(&mut good, FileId(3), 777, &[7; 900], Compression::Lz4);
        for (at, byte) in [(0, 0), (0, 2), (1, 1), (3, 1), (4, 0), (7, 0x40), (7, 0xff), (8, 0)] {
            let mut content = good[..good.len() - TAG_BYTES].to_vec();
            content[at] = byte;
            let tag = checksum::tag(FileId(3), 777, &[&content]);
            let forged = [&content[..], &tag].concat();
            assert!(open_block(FileId(3), 777, &forged).is_err(), "byte {at} = {byte}");
            assert!(open_block_owned(FileId(3), 777, forged).is_err(), "byte {at} = {byte}");
        }
    }
}
