//! The two codecs, both bounded: what is read back is as long as the head of its block says, or refused.
use super::{Compression, HEAD_BYTES};
use crate::bytes::u32_at;
use crate::{FormatError, Result};
use std::cell::RefCell;
use zstd_safe::{CCtx, CParameter, DCtx};

/// Fewest percent of a block that compressing it must save: less is not worth the reader's time.
const GAIN_PERCENT_MIN: usize = 10;

/// Blocks of a table that did not pay one after another, from which on only some are tried.
const MISSES_MAX: u32 = 8;
/// Then one block in so many is tried, until one pays.
const TRY_EVERY: u32 = 16;

/// Most raw bytes that one stored byte of LZ4 can stand for.
const LZ4_GROWTH_MAX: usize = 255;
/// The same of zstd: a block of 128 KiB that repeats one byte takes four.
const ZSTD_GROWTH_MAX: usize = 32 << 10;
/// The first bytes of a frame of zstd.
const ZSTD_MAGIC: u32 = 0xfd2f_b528;

/// Most raw bytes that one byte can stand for in a block of this code; `None` of one that is unknown.
pub(crate) fn growth_max(code: u8) -> Option<usize> {
    match code {
        0 => Some(1),
        1 => Some(LZ4_GROWTH_MAX),
        2 => Some(ZSTD_GROWTH_MAX),
        _ => None,
    }
}

/// Compresses the blocks of one table after another: keeps what the codec needs, and notices data that cannot be compressed.
pub struct Compressor {
    how: Compression,
    /// Made when it is first needed.
    zstd: Option<CCtx<'static>>,
    /// Blocks that did not pay, since the last that did.
    misses: u32,
}

impl Compressor {
    /// Returns one that has compressed nothing yet.
    pub fn new(how: Compression) -> Self {
        Self { how, zstd: None, misses: 0 }
    }

    /// How it compresses.
    pub fn compression(&self) -> Compression {
        self.how
    }

    /// Appends `raw` to `out`, compressed where that is tried and pays. Returns the code of what was appended.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, raw: &[u8]) -> u8 {
        if self.how != Compression::None && self.tries() {
            let start = out.len();
            let longest = raw.len() - (raw.len() * GAIN_PERCENT_MIN).div_ceil(100);
            let written = match self.how {
                Compression::None => None,
                Compression::Lz4 => push_lz4(out, raw),
                Compression::Zstd(level) => self.push_zstd(out, raw, level, longest),
            };
            if let Some(len) = written.filter(|&len| len <= longest) {
                out.truncate(start + len);
                self.misses = 0;
                return self.how.code();
            }
            out.truncate(start);
            self.misses = self.misses.saturating_add(1);
        }
        out.extend_from_slice(raw);
        0
    }

    /// Tells whether the next block is to be tried; counts those that are not.
    fn tries(&mut self) -> bool {
        if self.misses < MISSES_MAX || (self.misses - MISSES_MAX).is_multiple_of(TRY_EVERY) {
            return true;
        }
        self.misses += 1;
        false
    }

    fn push_zstd(&mut self, out: &mut Vec<u8>, raw: &[u8], level: u8, longest: usize) -> Option<usize> {
        let context = self.zstd.get_or_insert_with(|| {
            let mut context = CCtx::create();
            let set = context.set_parameter(CParameter::CompressionLevel(i32::from(level)));
            set.expect("levels up to 19 are known to every zstd");
            context
        });
        let start = out.len();
        out.resize(start + longest, 0);
        // A frame that would be longer is given up while it is made.
        context.compress2(&mut out[start..], raw).ok()
    }
}

fn push_lz4(out: &mut Vec<u8>, raw: &[u8]) -> Option<usize> {
    let start = out.len();
    out.resize(start + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
    lz4_flex::block::compress_into(raw, &mut out[start..]).ok()
}

/// Expands the bytes of a block of this code, which is known, into exactly `raw_len`. Errors: `Corrupt`.
pub(super) fn expand(code: u8, bytes: &[u8], raw_len: usize) -> Result<Vec<u8>> {
    let raw = if code == 1 { expand_lz4(bytes, raw_len) } else { expand_zstd(bytes, raw_len) };
    raw.ok_or_else(|| FormatError::corrupt(HEAD_BYTES, "a compressed block cannot be expanded"))
}

fn expand_lz4(bytes: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    let mut raw = vec![0; raw_len];
    let len = lz4_flex::block::decompress_into(bytes, &mut raw).ok()?;
    (len == raw_len).then_some(raw)
}

/// One frame that says how long it is raw, and nothing behind it.
fn expand_zstd(bytes: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    thread_local! {
        static CONTEXT: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
    }
    let starts_well = bytes.len() >= 4 && u32_at(bytes, 0) == ZSTD_MAGIC;
    if !starts_well || zstd_safe::get_frame_content_size(bytes).ok()? != Some(raw_len as u64) {
        return None;
    }
    if zstd_safe::find_frame_compressed_size(bytes).ok()? != bytes.len() {
        return None;
    }
    let mut raw = Vec::with_capacity(raw_len);
    let len = CONTEXT.with_borrow_mut(|context| context.get_or_insert_with(DCtx::create).decompress(&mut raw, bytes));
    (len == Ok(raw_len) && raw.len() == raw_len).then_some(raw)
}
