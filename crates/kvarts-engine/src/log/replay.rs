//! Recovery: reads back what the logs hold.
use super::log_path;
use super::reader::{LogReader, LogStop};
use crate::fs::Fs;
use crate::keys::Identity;
use crate::{FileId, Result};
use kvarts_formats::header::HEADER_BYTES;
use kvarts_formats::record::RecordKind;
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
    /// Where the prefix ends; `None` where there is no log.
    pub end: Option<(PathBuf, u64)>,
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
    store: impl Into<Identity>,
    files: &[FileId],
    apply: &mut dyn FnMut(Replayed<'_>) -> Result<()>,
) -> Result<ReplayReport> {
    assert!(files.windows(2).all(|pair| pair[0] < pair[1]), "logs come oldest first");
    let reader = LogReader::new(fs, dir, store);
    let mut report = ReplayReport { batches: 0, end: None, torn: None };
    let Some(&first) = files.first() else { return Ok(report) };
    let mut chain = vec![first];
    let mut end = loop {
        let file = chain[chain.len() - 1];
        let stop = reader.read_log(file, &mut |record| {
            if record.kind != RecordKind::Batch {
                return Err(reader.damage(
                    file,
                    record.offset,
                    "a record of this kind has no place in an engine's log",
                ));
            }
            report.batches += 1;
            apply(Replayed { payload: record.payload, file, offset: record.offset })
        })?;
        match stop {
            LogStop::Continues(next) => chain.push(next),
            LogStop::Ends(end) => break end,
        }
    };
    for &file in files.iter().filter(|file| !chain.contains(file)) {
        let (dropped, synced) = reader.read_unused(file)?;
        if synced {
            let what = "this log was synced, but the log before it does not lead to it";
            return Err(reader.damage(file, HEADER_BYTES as u64, what));
        }
        if file > end.file {
            end.dropped += dropped;
        }
    }
    report.end = Some((log_path(dir, end.file), end.offset));
    if end.dropped > 0 {
        report.torn = Some((log_path(dir, end.file), end.offset, end.dropped));
    }
    Ok(report)
}
