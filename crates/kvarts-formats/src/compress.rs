//! Blocks as stored: compression byte, raw length, bytes, tag.
use crate::{FileId, Result};

/// How a block is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Stored as it is.
    None,
    /// LZ4 block format; stored raw where it saves less than an eighth.
    Lz4,
}

/// Largest raw block accepted when decoding: no damaged length allocates more.
pub const BLOCK_BYTES_MAX: usize = 1 << 30;

/// Seals `raw` as the block stored at `offset` of `file` and appends it to `out`, tag included.
pub fn seal_block(out: &mut Vec<u8>, file: FileId, offset: u64, raw: &[u8], compression: Compression) {
    todo!("{out:?} {file:?} {offset} {raw:?} {compression:?}")
}

/// Checks and decompresses the block that `seal_block` wrote. The tag is checked before anything is decoded.
pub fn open_block(file: FileId, offset: u64, stored: &[u8]) -> Result<Vec<u8>> {
    todo!("{file:?} {offset} {stored:?}")
}
