//! Log records: one format, with a stream id, for the engine log and the node log.
//!
//! A record is `header, payload, zero padding to 8 bytes, tag`; records follow the 128-byte file header without gaps, so
//! every record starts at a multiple of 8. The header carries `synced`: the offset of this log that was known to be on
//! stable storage when the record was appended. That is what tells a torn tail from damage: see [`scan`].
//!
//! The header is `marker u16, kind u8, zero u8, payload length u32, stream u32, attempt u32, synced u64`. The tag covers
//! header, payload and padding. A cipher hides payload and padding; the header stays readable, so that records are found
//! behind one that is not whole. Without a cipher the attempt is 0.
use crate::bytes::{all_zero, u32_at, u64_at};
use crate::checksum::TAG_BYTES;
use crate::header::HEADER_BYTES;
use crate::seal::{Place, Seal};
use crate::{FileId, FormatError, Result};
use std::borrow::Cow;

/// Bytes of a record's header.
pub const RECORD_HEADER_BYTES: usize = 24;

/// Largest payload of a record.
pub const PAYLOAD_BYTES_MAX: usize = (1 << 31) - 1;

/// The first two bytes of every record: "vK".
const MARKER: [u8; 2] = 0x4b76u16.to_le_bytes();

/// Where the attempt stands in a record's header.
const ATTEMPT_AT: usize = 12;

/// Where `synced` stands in it.
const SYNCED_AT: usize = 16;

/// Every record starts at a multiple of this.
const ALIGN: usize = 8;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// An encoded batch.
    Batch = 1,
    /// The log ends here and continues in the next file; the payload is the next file's id (u64).
    End = 2,
    /// Of the node log, as all that follow: see [`crate::node_record`]. What a group must remember of its elections.
    HardState = 3,
    /// An entry of a group; it supersedes what stands at its index and after.
    Entry = 4,
    /// A group's log is void up to an index: a leader's snapshot replaces it.
    SnapshotMark = 5,
    /// A group's log is forgotten up to an index.
    Compacted = 6,
    /// All that a group is, but for its entries.
    Group = 7,
    /// This file goes on where recovery found the log's end.
    Resumed = 8,
    /// A group is no more.
    Removed = 9,
}

impl RecordKind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Batch),
            2 => Some(Self::End),
            3 => Some(Self::HardState),
            4 => Some(Self::Entry),
            5 => Some(Self::SnapshotMark),
            6 => Some(Self::Compacted),
            7 => Some(Self::Group),
            8 => Some(Self::Resumed),
            9 => Some(Self::Removed),
            _ => None,
        }
    }
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
#[inline]
pub fn record_bytes(payload_len: usize) -> usize {
    (RECORD_HEADER_BYTES + payload_len).next_multiple_of(ALIGN) + TAG_BYTES
}

/// What a record says, before it has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// Which stream of the log it belongs to.
    pub stream: u32,
    /// What it is for.
    pub kind: RecordKind,
    /// Its content, in two pieces that lie one after the other in the log.
    pub payload: [&'a [u8]; 2],
}

impl NewRecord<'_> {
    /// Returns the bytes of its payload.
    #[inline]
    pub fn payload_len(&self) -> usize {
        self.payload[0].len() + self.payload[1].len()
    }

    /// Returns the bytes that it takes in the log.
    #[inline]
    pub fn bytes(&self) -> usize {
        record_bytes(self.payload_len())
    }

    /// Writes it into `out`, which must be exactly [`NewRecord::bytes`] long and starts at `place` of a log.
    pub fn write<'a>(&self, out: &mut [u8], seal: impl Into<Seal<'a>>, place: impl Into<Place>, synced: u64) {
        let place = place.into();
        let payload_len = self.payload_len();
        assert!(payload_len <= PAYLOAD_BYTES_MAX, "a payload of {payload_len} bytes is too large");
        assert_eq!(out.len(), self.bytes(), "the room for a record");
        debug_assert!(place.offset.is_multiple_of(ALIGN as u64) && synced <= place.offset);
        let (content, tag) = out.split_at_mut(out.len() - TAG_BYTES);
        let mut head = [0; RECORD_HEADER_BYTES];
        head[..2].copy_from_slice(&MARKER);
        head[2] = self.kind as u8;
        head[4..8].copy_from_slice(&(payload_len as u32).to_le_bytes());
        head[8..12].copy_from_slice(&self.stream.to_le_bytes());
        head[ATTEMPT_AT..SYNCED_AT].copy_from_slice(&place.attempt.to_le_bytes());
        head[SYNCED_AT..].copy_from_slice(&synced.to_le_bytes());
        content[..RECORD_HEADER_BYTES].copy_from_slice(&head);
        let mut at = RECORD_HEADER_BYTES;
        for piece in self.payload {
            content[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        content[at..].fill(0);
        tag.copy_from_slice(&seal.into().close(place, content, RECORD_HEADER_BYTES));
    }
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
    NewRecord { stream, kind, payload: [payload, &[]] }.write(out, file, offset, synced);
}

/// Reads the record that starts at `offset` of the log `file` and at the start of `bytes`, which hold it whole.
///
/// Errors: `Corrupt`.
pub fn record_at(file: FileId, offset: u64, bytes: &[u8]) -> Result<Record<'_>> {
    record_in(file, offset, bytes).ok_or(FormatError::Corrupt { offset, what: "a log record is not whole" })
}

/// Reads the record at `offset` of a log whose bytes are `data` (from the start of the file).
///
/// Returns `Ok(None)` where the log has not been written (all zero to the end of `data`, or `offset` is at its end).
/// Errors: `Corrupt`.
pub fn read_record(file: FileId, data: &[u8], offset: u64) -> Result<Option<Record<'_>>> {
    let corrupt = |what| Err(FormatError::Corrupt { offset, what });
    let Some(start) = usize::try_from(offset).ok().filter(|&start| start <= data.len()) else {
        return corrupt("no record starts beyond the end of a log");
    };
    if !start.is_multiple_of(ALIGN) {
        return corrupt("no record starts at an odd offset");
    }
    match whole_record(file, data, start) {
        Some(record) => Ok(Some(record)),
        None if all_zero(&data[start..]) => Ok(None),
        None => corrupt("a log record is not whole"),
    }
}

/// Returns the record at `start` (at most `data.len()`) if all of it is there and its tag matches.
fn whole_record(file: FileId, data: &[u8], start: usize) -> Option<Record<'_>> {
    record_in(file, start as u64, &data[start..])
}

/// Returns the record at the start of `bytes`, which is `offset` of the log, if all of it is there and its tag matches.
fn record_in(file: FileId, offset: u64, bytes: &[u8]) -> Option<Record<'_>> {
    match whole_in(file.into(), offset, bytes)? {
        Whole { kind, content: Cow::Borrowed(content) } => Some(Record::of(kind, offset, content)),
        Whole { content: Cow::Owned(_), .. } => unreachable!("a checksum hides nothing"),
    }
}

/// A record of which all is there: its content, without the tag, as it was.
struct Whole<'a> {
    kind: RecordKind,
    content: Cow<'a, [u8]>,
}

impl<'a> Record<'a> {
    /// Returns the record with this content, without its tag.
    fn of(kind: RecordKind, offset: u64, content: &'a [u8]) -> Self {
        let payload_len = u32_at(content, 4) as usize;
        Self {
            stream: u32_at(content, 8),
            kind,
            synced: u64_at(content, SYNCED_AT),
            payload: &content[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + payload_len],
            offset,
            next: offset + (content.len() + TAG_BYTES) as u64,
        }
    }
}

/// Returns what the record at the start of `bytes` holds, if all of it is there and its tag matches.
fn whole_in<'a>(seal: Seal<'_>, offset: u64, bytes: &'a [u8]) -> Option<Whole<'a>> {
    let (kind, len) = plausible(seal, bytes, offset)?;
    let (content, tag) = bytes[..len].split_at(len - TAG_BYTES);
    let place = Place { offset, attempt: u32_at(content, ATTEMPT_AT) };
    seal.open(place, content, RECORD_HEADER_BYTES, tag).map(|content| Whole { kind, content })
}

/// Returns kind and length in bytes of the record at the start of `bytes`, which is `offset` of the log, if its header
/// may be one, before any tag is computed.
#[inline]
fn plausible(seal: Seal<'_>, bytes: &[u8], offset: u64) -> Option<(RecordKind, usize)> {
    let head: &[u8; RECORD_HEADER_BYTES] = bytes.first_chunk()?;
    let is_first = seal.hides() || u32_at(head, ATTEMPT_AT) == 0;
    if head[..2] != MARKER || head[3] != 0 || !is_first || u64_at(head, SYNCED_AT) > offset {
        return None;
    }
    let kind = RecordKind::from_byte(head[2])?;
    let payload_len = u32_at(head, 4) as usize;
    let len = record_bytes(payload_len);
    (payload_len <= PAYLOAD_BYTES_MAX && len <= bytes.len()).then_some((kind, len))
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
    let mut records = Vec::new();
    let mut end = HEADER_BYTES.min(data.len());
    while let Some(record) = whole_record(file, data, end) {
        end = record.next as usize;
        records.push(record);
    }
    LogScan { records, end: end as u64, verdict: verdict(file.into(), data, end) }
}

/// The same of a log that may be encrypted: `data` holds its whole records in the clear afterwards.
pub fn scan_opening<'a, 's>(seal: impl Into<Seal<'s>>, data: &'a mut [u8]) -> LogScan<'a> {
    let seal = seal.into();
    let mut spans = Vec::new();
    let mut end = HEADER_BYTES.min(data.len());
    while let Some(Whole { kind, content }) = whole_in(seal, end as u64, &data[end..]) {
        let (start, content_end) = (end, end + content.len());
        if let Cow::Owned(opened) = content {
            data[start..content_end].copy_from_slice(&opened);
        }
        end = content_end + TAG_BYTES;
        spans.push((kind, start, content_end));
    }
    let data: &'a [u8] = data;
    let record = |(kind, start, content_end)| Record::of(kind, start as u64, &data[start..content_end]);
    let records = spans.into_iter().map(record).collect();
    LogScan { records, end: end as u64, verdict: verdict(seal, data, end) }
}

/// How the log ends whose whole records end at `end`.
fn verdict(seal: Seal<'_>, data: &[u8], end: usize) -> LogEnd {
    let offset = end as u64;
    if all_zero(&data[end..]) {
        LogEnd::Clean
    } else if proves_synced(seal, data, end) {
        LogEnd::Damaged { offset }
    } else {
        LogEnd::Torn { offset }
    }
}

/// Tells whether any whole record of this log, wherever it is, was appended when the log, and so every older one, had
/// been synced.
pub fn shows_synced<'a>(seal: impl Into<Seal<'a>>, data: &[u8]) -> bool {
    // As if the record just before the first one were bad: any `synced` that is not 0 lies beyond it.
    proves_synced(seal.into(), data, HEADER_BYTES - ALIGN)
}

/// Tells whether a whole record after `bad` was appended when `bad` was already on stable storage.
///
/// The tags computed are bounded: where crafted bytes look like ever more records, the answer is the careful one.
fn proves_synced(seal: Seal<'_>, data: &[u8], bad: usize) -> bool {
    let mut budget = data.len().saturating_mul(TAG_PASSES_MAX);
    let mut start = bad + ALIGN;
    while start < data.len() {
        let Some((_, len)) = plausible(seal, &data[start..], start as u64) else {
            start += ALIGN;
            continue;
        };
        if len > budget {
            return true;
        }
        budget -= len;
        match whole_in(seal, start as u64, &data[start..]) {
            Some(whole) if u64_at(&whole.content, SYNCED_AT) > bad as u64 => return true,
            Some(_) => start += len,
            None => start += ALIGN,
        }
    }
    false
}

/// How many times over the bytes of a damaged log are checksummed at most.
const TAG_PASSES_MAX: usize = 16;

#[cfg(test)]
mod tests;
