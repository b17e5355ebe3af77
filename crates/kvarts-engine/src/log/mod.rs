//! The engine log: a series of files of records (kvarts_formats::record).
//!
//! Lock order: the appender belongs to the write lock of `db`; `LogPosition`s may be synced from any thread.
use crate::fs::{Fs, LogMode};
use crate::{FileId, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of a log file: `000001.log`.
pub fn log_path(dir: &Path, file: FileId) -> PathBuf {
    dir.join(format!("{:06}.log", file.0))
}

/// The appending end of the log. One thread at a time.
pub struct LogWriter {
    _todo: (),
}

/// A position in the log: everything before it was appended. Ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// The log file.
    pub file: FileId,
    /// Bytes from its start.
    pub offset: u64,
}

impl LogWriter {
    /// Makes log `file` (header written, file and directory synced) and returns its appending end.
    pub fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        store: [u8; 16],
        file: FileId,
        bytes: u64,
        mode: LogMode,
    ) -> Result<Self> {
        todo!("{} {store:?} {file:?} {bytes} {mode:?} {}", dir.display(), fs.exists(dir).is_ok())
    }

    /// Tells whether a record with a payload of `len` bytes fits in the current file.
    pub fn fits(&self, len: usize) -> bool {
        todo!("{len}")
    }

    /// Appends a batch record; it must fit. On return it is in the kernel's hands. Returns where it ends.
    pub fn append(&mut self, payload: &[u8]) -> Result<LogPosition> {
        todo!("{payload:?}")
    }

    /// Ends the current file with an `End` record and goes on in `next`, which holds at least one record of `len` bytes.
    ///
    /// The old file still has to be synced: [`LogSyncer::sync_to`] does so, oldest first.
    pub fn rotate(&mut self, next: FileId, len: usize) -> Result<()> {
        todo!("{next:?} {len}")
    }

    /// The current file.
    pub fn file(&self) -> FileId {
        todo!()
    }

    /// Where the next record will start.
    pub fn position(&self) -> LogPosition {
        todo!()
    }

    /// Returns the syncing end, shared with other threads.
    pub fn syncer(&self) -> Arc<LogSyncer> {
        todo!()
    }
}

/// The syncing end of the log: group commit.
pub struct LogSyncer {
    _todo: (),
}

impl LogSyncer {
    /// Returns once everything before `position` is on stable storage. The first waiter syncs for all who wait;
    /// older files are synced before newer ones, so that what is durable is always a prefix.
    ///
    /// Errors: the first failed sync poisons the syncer; every later call fails with `Poisoned`, none retries.
    pub fn sync_to(&self, position: LogPosition) -> Result<()> {
        todo!("{position:?}")
    }

    /// Everything before this position is on stable storage.
    pub fn synced(&self) -> LogPosition {
        todo!()
    }
}

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
    pub torn: Option<(PathBuf, u64, u64)>,
}

/// Reads `files` (oldest first) and hands every whole batch record to `apply` in order, up to the first torn record.
///
/// A log that does not end in an `End` record naming its successor ends the prefix: later logs are then dropped, unless
/// they show synced bytes, which is damage. A file that is missing is damage, but for the newest: its directory
/// entry may not have been synced.
pub fn replay(
    fs: &dyn Fs,
    dir: &Path,
    store: [u8; 16],
    files: &[FileId],
    apply: &mut dyn FnMut(Replayed<'_>) -> Result<()>,
) -> Result<ReplayReport> {
    todo!("{} {store:?} {files:?} {} {}", dir.display(), fs.exists(dir).is_ok(), std::mem::size_of_val(apply))
}
