//! Log records: one format, with a stream id, for the engine log and later the node log.
//!
//! A record is `header, payload, zero padding to 8 bytes, tag`; records follow the 128-byte file header without gaps, so
//! every record starts at a multiple of 8. The header carries `synced`: the offset of this log that was known to be on
//! stable storage when the record was appended. That is what tells a torn tail from damage: see [`scan`].
use crate::{FileId, Result};

/// Bytes of a record's header.
pub const RECORD_HEADER_BYTES: usize = 24;

/// Largest payload of a record.
pub const PAYLOAD_BYTES_MAX: usize = (1 << 31) - 1;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// An encoded batch.
    Batch = 1,
    /// The log ends here and continues in the next file; the payload is the next file's id (u64).
    End = 2,
}

/// One record, borrowed from the log's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Which stream of the log it belongs to; 0 is the engine's.
    pub stream: u32,
    /// What it is for.
    pub kind: RecordKind,
    /// How much of this log was on stable storage when it was appended.
    pub synced: u64,
    /// Its content.
    pub payload: &'a [u8],
    /// Where it starts.
    pub offset: u64,
    /// Where the next one starts.
    pub next: u64,
}

/// Returns the bytes that a record with a payload of `payload_len` bytes takes in the log.
pub fn record_bytes(payload_len: usize) -> usize {
    todo!("{payload_len}")
}

/// Writes a record into `out`, which must be exactly [`record_bytes`] long. Returns nothing: it cannot fail.
pub fn write_record(
    out: &mut [u8],
    file: FileId,
    offset: u64,
    stream: u32,
    kind: RecordKind,
    synced: u64,
    payload: &[u8],
) {
    todo!("{out:?} {file:?} {offset} {stream} {kind:?} {synced} {payload:?}")
}

/// Reads the record at `offset` of a log whose bytes are `data` (from the start of the file).
///
/// Returns `Ok(None)` where the log has not been written (all zero to the end of `data`, or `offset` is at its end).
/// Errors: `Corrupt`.
pub fn read_record(file: FileId, data: &[u8], offset: u64) -> Result<Option<Record<'_>>> {
    todo!("{file:?} {data:?} {offset}")
}

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// All that was written is whole: the rest is zero, or the file ends there.
    Clean,
    /// The record at this offset is not whole, and nothing shows that it ever was on stable storage: an unclean stop.
    Torn {
        /// Where the prefix that counts ends.
        offset: u64,
    },
    /// The record at this offset is not whole although a later record proves that it had been synced: damage.
    Damaged {
        /// Where the damage is.
        offset: u64,
    },
}

/// The whole records of a log from its start, and how it ends.
#[derive(Debug)]
pub struct LogScan<'a> {
    /// Whole records in order.
    pub records: Vec<Record<'a>>,
    /// Where the last whole record ends.
    pub end: u64,
    /// Why the records stop there.
    pub verdict: LogEnd,
}

/// Scans a log (header already checked) from `HEADER_BYTES` on.
///
/// After the first record that is not whole it looks for later whole records (8-byte aligned); one whose `synced` lies
/// beyond the bad record's start makes the verdict `Damaged`, otherwise it is `Torn`.
pub fn scan(file: FileId, data: &[u8]) -> LogScan<'_> {
    todo!("{file:?} {data:?}")
}
