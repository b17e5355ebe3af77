//! The engine log: a series of files of records (kvarts_formats::record). The node log is written and read by the same means.
//!
//! A log file is `header, records, zeros up to the capacity`. It is made whole (header, file and directory synced) before
//! its name is told to anyone: to the caller, who puts it into the manifest, or to the `End` record of its predecessor.
//! So a log that is named and missing, or has a bad header, is damage; one that nobody names may be a creation cut short.
//!
//! Files are synced oldest first, and each record says how much of its file was durable when it was appended (0 until all
//! older files are). Recovery reads that as evidence: what is not whole and was never synced is a torn tail, dropped; what
//! is not whole although it was synced is damage, refused.
//!
//! Lock order: the appender belongs to the write lock of `db`; `LogPosition`s may be synced from any thread. The lock of
//! [`LogSyncer`] is a leaf, and not held while a file is synced.
use crate::FileId;
use std::path::{Path, PathBuf};

mod reader;
mod replay;
mod syncer;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::{LogReader, LogStop, PrefixEnd};
pub use replay::{ReplayReport, Replayed, replay};
pub use syncer::LogSyncer;
pub(crate) use writer::end_record_bytes;
pub use writer::{LogWriter, PreparedLog};

/// Name of a log file: `000001.log`.
pub fn log_path(dir: &Path, file: FileId) -> PathBuf {
    dir.join(format!("{:06}.log", file.0))
}

/// A position in the log: everything before it was appended. Ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// The log file.
    pub file: FileId,
    /// Bytes from its start.
    pub offset: u64,
}
