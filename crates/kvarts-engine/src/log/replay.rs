//! Recovery: reads back what the logs hold.
use super::log_path;
use crate::fs::Fs;
use crate::{Error, FileId, Result};
use kvarts_formats::FormatError;
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::record::{LogEnd, Record, RecordKind, scan, shows_synced};
use std::path::{Path, PathBuf};

/// One batch read back from the logs.
pub struct Replayed<'a> {
    /// The payload of the record.
    pub payload: &'a [u8],
    /// The log it is in.
    pub file: FileId,
    /// Where it starts.
    pub offset: u64,
}

/// What recovery found at the end of the logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayReport {
    /// Batches handed out.
    pub batches: u64,
    /// Where the log stopped short of what was written, and how many bytes were dropped; `None` after a clean stop.
    /// Bytes that never left memory cannot be counted: the number is what is seen of them on disk.
    pub torn: Option<(PathBuf, u64, u64)>,
}

/// Hands every whole batch record to `apply` in order, from the first of `files` up to the first torn record.
///
/// The `End` record of a log names its successor, and a log that has none ends the prefix; so the first of `files` alone
/// leads to all. The others (oldest first: named by the manifest or found in the directory) are those that may lie beyond
/// the prefix. They are dropped, unless they show synced bytes, which is damage: older logs are synced first.
///
/// Errors: `Corruption` where the first log, or one that an `End` record names, is missing or has a bad header (both are
/// durable before they are named); where any is of another store; where bytes that were once synced are not whole.
/// `NewerFormat`, `Io`, and whatever `apply` returns. Batches handed out before an error count for nothing.
///
/// Memory: one log file at a time.
pub fn replay(
    fs: &dyn Fs,
    dir: &Path,
    store: [u8; 16],
    files: &[FileId],
    apply: &mut dyn FnMut(Replayed<'_>) -> Result<()>,
) -> Result<ReplayReport> {
    assert!(files.windows(2).all(|pair| pair[0] < pair[1]), "logs come oldest first");
    let reader = Reader { fs, dir, store };
    let mut report = ReplayReport { batches: 0, torn: None };
    let Some(&first) = files.first() else { return Ok(report) };
    let mut chain = vec![first];
    let mut end = loop {
        match reader.replay_log(chain[chain.len() - 1], &mut report, apply)? {
            LogStop::Continues(next) => chain.push(next),
            LogStop::Ends(end) => break end,
        }
    };
    for &file in files.iter().filter(|file| !chain.contains(file)) {
        let dropped = reader.check_unused(file)?;
        if file > end.file {
            end.dropped += dropped;
        }
    }
    if end.dropped > 0 {
        report.torn = Some((log_path(dir, end.file), end.offset, end.dropped));
    }
    Ok(report)
}

/// Where the prefix that counts ends.
struct PrefixEnd {
    file: FileId,
    offset: u64,
    dropped: u64,
}

/// How one log of the chain stops.
enum LogStop {
    Continues(FileId),
    Ends(PrefixEnd),
}

struct Reader<'a> {
    fs: &'a dyn Fs,
    dir: &'a Path,
    store: [u8; 16],
}

impl Reader<'_> {
    /// Hands out the batches of a log that is part of the chain.
    fn replay_log(
        &self,
        file: FileId,
        report: &mut ReplayReport,
        apply: &mut dyn FnMut(Replayed<'_>) -> Result<()>,
    ) -> Result<LogStop> {
        let data = self.read(file)?.ok_or_else(|| self.damage(file, 0, "this log is missing"))?;
        self.check_header(file, &data)?.map_err(|error| Error::format(&log_path(self.dir, file), 0, error))?;
        let scan = scan(file, &data);
        if let LogEnd::Damaged { offset } = scan.verdict {
            return Err(self.damage(file, offset, "a log record that was on stable storage is not whole"));
        }
        let mut next = None;
        for record in &scan.records {
            if next.is_some() {
                return Err(self.damage(file, record.offset, "a record follows the end of the log"));
            }
            match record.kind {
                RecordKind::Batch => {
                    apply(Replayed { payload: record.payload, file, offset: record.offset })?;
                    report.batches += 1;
                }
                RecordKind::End => next = Some(self.successor(file, record)?),
            }
        }
        let dropped = match scan.verdict {
            LogEnd::Clean => 0,
            _ => written_bytes(&data).saturating_sub(scan.end),
        };
        match next {
            Some(_) if dropped > 0 => Err(self.damage(file, scan.end, "bytes follow the end of the log")),
            Some(next) => Ok(LogStop::Continues(next)),
            None => Ok(LogStop::Ends(PrefixEnd { file, offset: scan.end, dropped })),
        }
    }

    fn successor(&self, file: FileId, record: &Record<'_>) -> Result<FileId> {
        let next = record.payload.try_into().map(|bytes| FileId(u64::from_le_bytes(bytes)));
        match next {
            Ok(next) if next > file => Ok(next),
            _ => Err(self.damage(file, record.offset, "the end of the log names no later log")),
        }
    }

    /// Checks that a log outside the prefix holds nothing that was synced. Returns the bytes of records that it held.
    fn check_unused(&self, file: FileId) -> Result<u64> {
        let Some(data) = self.read(file)? else { return Ok(0) };
        // A bad header is that of a log whose making was cut short; a good one must be ours all the same.
        let _ = self.check_header(file, &data)?;
        if shows_synced(file, &data) {
            let what = "this log was synced, but the log before it does not lead to it";
            return Err(self.damage(file, HEADER_BYTES as u64, what));
        }
        Ok(written_bytes(&data).saturating_sub(HEADER_BYTES as u64))
    }

    /// Checks the header. The inner error is one that a torn write can cause; the outer never is.
    fn check_header(&self, file: FileId, data: &[u8]) -> Result<std::result::Result<(), FormatError>> {
        match FileHeader::decode(data, FileKind::Log) {
            Ok(header) if header.store != self.store => Err(self.damage(file, 0, "this log belongs to another store")),
            Ok(header) if header.file != file => Err(self.damage(file, 0, "this log was written under another number")),
            Ok(_) => Ok(Ok(())),
            Err(torn @ FormatError::Corrupt { .. }) => Ok(Err(torn)),
            Err(error) => Err(Error::format(&log_path(self.dir, file), 0, error)),
        }
    }

    /// Reads a whole log; `None` where there is no such file.
    fn read(&self, file: FileId) -> Result<Option<Vec<u8>>> {
        let path = log_path(self.dir, file);
        match self.fs.read(&path) {
            Ok(data) => Ok(Some(data)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("reading log", &path, error)),
        }
    }

    fn damage(&self, file: FileId, offset: u64, what: &str) -> Error {
        Error::Corruption { file: log_path(self.dir, file), offset, what: what.to_owned() }
    }
}

/// Bytes up to the last one that is not zero.
fn written_bytes(data: &[u8]) -> u64 {
    data.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1)
}
