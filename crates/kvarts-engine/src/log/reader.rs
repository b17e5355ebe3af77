//! Reads one log file back, and tells how it stops.
use super::log_path;
use crate::fs::Fs;
use crate::keys::Identity;
use crate::{Error, FileId, Result};
use kvarts_formats::FormatError;
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::record::{LogEnd, Record, RecordKind, read_record, scan_opening, shows_synced};
use kvarts_formats::seal::FileSeal;
use std::path::{Path, PathBuf};

/// Bytes of a log that are read to find its first record.
const FIRST_BYTES: u64 = 4096;

/// Where the prefix that counts ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixEnd {
    /// The log it ends in.
    pub file: FileId,
    /// Where.
    pub offset: u64,
    /// Bytes behind it that do not count.
    pub dropped: u64,
}

/// How one log stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStop {
    /// With an `End` record that names its successor.
    Continues(FileId),
    /// Without: the prefix that counts ends in it.
    Ends(PrefixEnd),
}

/// Reads the log files of one store. Memory: one file at a time.
pub struct LogReader<'a> {
    fs: &'a dyn Fs,
    dir: &'a Path,
    store: Identity,
}

impl<'a> LogReader<'a> {
    /// Returns a reader of the logs in `dir` that belong to `store`.
    pub fn new(fs: &'a dyn Fs, dir: &'a Path, store: impl Into<Identity>) -> Self {
        Self { fs, dir, store: store.into() }
    }

    /// Hands out the records of a log that must be there, all but its `End`.
    ///
    /// Errors: `Corruption` where it is missing, has a bad header or is of another store, and where bytes that were once
    /// synced are not whole; `NewerFormat`, `Io`, and whatever `apply` returns.
    pub fn read_log(&self, file: FileId, apply: &mut dyn FnMut(&Record<'_>) -> Result<()>) -> Result<LogStop> {
        let mut data = self.read(file)?.ok_or_else(|| self.damage(file, 0, "this log is missing"))?;
        let seal = self.check_header(file, &data)?;
        let seal = seal.map_err(|error| Error::format(&log_path(self.dir, file), 0, error))?;
        let written = written_bytes(&data);
        let scan = scan_opening(&seal, &mut data);
        if let LogEnd::Damaged { offset } = scan.verdict {
            return Err(self.damage(file, offset, "a log record that was on stable storage is not whole"));
        }
        let mut next = None;
        for record in &scan.records {
            if next.is_some() {
                return Err(self.damage(file, record.offset, "a record follows the end of the log"));
            }
            match record.kind {
                RecordKind::End => next = Some(self.successor(file, record)?),
                _ => apply(record)?,
            }
        }
        let dropped = match scan.verdict {
            LogEnd::Clean => 0,
            _ => written.saturating_sub(scan.end),
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

    /// Looks at a log outside the prefix. Returns the bytes of records that it held, and whether they show that they were
    /// appended when every older log was durable: then the prefix ends too early, which is damage.
    ///
    /// Errors: `Corruption`, `NewerFormat`, `Io`.
    pub fn read_unused(&self, file: FileId) -> Result<(u64, bool)> {
        let Some(data) = self.read(file)? else { return Ok((0, false)) };
        // A bad header is that of a log whose making was cut short; a good one must be ours all the same.
        let header = self.check_header(file, &data)?;
        let shows_synced = match header {
            Ok(seal) => shows_synced(&seal, &data),
            // Without its key no record can be looked at. A header is durable before anything stands behind it.
            Err(_) if self.store.keys().is_some() => written_bytes(&data) > HEADER_BYTES as u64,
            Err(_) => shows_synced(file, &data),
        };
        Ok((written_bytes(&data).saturating_sub(HEADER_BYTES as u64), shows_synced))
    }

    /// Checks the header. The inner error is one that a torn write can cause; the outer never is.
    fn check_header(&self, file: FileId, data: &[u8]) -> Result<std::result::Result<FileSeal, FormatError>> {
        match FileHeader::decode(data, FileKind::Log) {
            Ok(header) if header.store != self.store.id => {
                Err(self.damage(file, 0, "this log belongs to another store"))
            }
            Ok(header) if header.file != file => Err(self.damage(file, 0, "this log was written under another number")),
            Ok(header) => self.store.open(&log_path(self.dir, file), &header).map(Ok),
            Err(torn @ FormatError::Corrupt { .. }) => Ok(Err(torn)),
            Err(error) => Err(Error::format(&log_path(self.dir, file), 0, error)),
        }
    }

    /// Hands out the first record of a log if it is small and whole, and the header is good.
    ///
    /// Errors: `NewerFormat`, `Io`; `Corruption` where the log is of another store or number.
    pub fn first_record(&self, file: FileId, apply: &mut dyn FnMut(&Record<'_>)) -> Result<()> {
        let path = log_path(self.dir, file);
        let failed = |error| Error::io("reading log", &path, error);
        let log = self.fs.open(&path).map_err(failed)?;
        let mut data = vec![0; log.len().min(FIRST_BYTES) as usize];
        log.read_exact_at(0, &mut data).map_err(failed)?;
        if self.check_header(file, &data)?.is_ok()
            && let Ok(Some(record)) = read_record(file, &data, HEADER_BYTES as u64)
        {
            apply(&record);
        }
        Ok(())
    }

    /// Reads a whole log; `None` where there is no such file.
    pub fn read(&self, file: FileId) -> Result<Option<Vec<u8>>> {
        let path = log_path(self.dir, file);
        match self.fs.read(&path) {
            Ok(data) => Ok(Some(data)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("reading log", &path, error)),
        }
    }

    /// The path of a log.
    pub fn path(&self, file: FileId) -> PathBuf {
        log_path(self.dir, file)
    }

    /// Returns the error that names a place in a log as damaged.
    pub fn damage(&self, file: FileId, offset: u64, what: &str) -> Error {
        Error::Corruption { file: log_path(self.dir, file), offset, what: what.to_owned() }
    }
}

/// Bytes up to the last one that is not zero.
fn written_bytes(data: &[u8]) -> u64 {
    data.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1)
}
