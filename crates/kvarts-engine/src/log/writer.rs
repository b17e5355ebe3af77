//! The appending end of the log.
use super::syncer::Segment;
use super::{LogPosition, LogSyncer, log_path};
use crate::fs::{Fs, LogFile, LogMode};
use crate::{Error, FileId, Result};
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::record::{PAYLOAD_BYTES_MAX, RecordKind, record_bytes, write_record};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Stream of the engine's records.
const STREAM: u32 = 0;

/// The appending end of the log. One thread at a time.
pub struct LogWriter {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    store: [u8; 16],
    /// Bytes of a new file, unless one record needs more.
    bytes: u64,
    mode: LogMode,
    log: Box<dyn LogFile>,
    /// What the syncer knows of the current file.
    segment: Arc<Segment>,
    syncer: Arc<LogSyncer>,
}

impl LogWriter {
    /// Makes log `file` (header written, file and directory synced) and returns its appending end.
    ///
    /// Whatever older logs hold must be durable elsewhere, or must never be replayed together with this one: its records
    /// say that nothing before them can be lost. Errors: `StorageFull`, `Io`; no file is left behind.
    pub fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        store: [u8; 16],
        file: FileId,
        bytes: u64,
        mode: LogMode,
    ) -> Result<Self> {
        let log = create_file(&*fs, dir, store, file, bytes.max(capacity_for(0)), mode)?;
        let segment = Arc::new(Segment::new(file, log.syncer(), HEADER_BYTES as u64));
        let syncer = Arc::new(LogSyncer::new(dir, segment.clone()));
        Ok(Self { fs, dir: dir.to_owned(), store, bytes, mode, log, segment, syncer })
    }

    /// Tells whether a record with a payload of `len` bytes fits in the current file, with room left for its `End` record.
    pub fn fits(&self, len: usize) -> bool {
        len <= PAYLOAD_BYTES_MAX
            && self.log.len() + (record_bytes(len) + end_record_bytes()) as u64 <= self.log.capacity()
    }

    /// Appends a batch record; it must fit. On return it is in the kernel's hands. Returns where it ends.
    ///
    /// Errors: `Io`; nothing is appended then.
    pub fn append(&mut self, payload: &[u8]) -> Result<LogPosition> {
        assert!(self.fits(payload.len()), "the caller rotates the log before it is full");
        self.append_record(RecordKind::Batch, payload)?;
        Ok(self.position())
    }

    /// Ends the current file with an `End` record and goes on in `next`, which holds at least one record of `len` bytes.
    ///
    /// The old file still has to be synced: [`LogSyncer::sync_to`] does so, oldest first.
    ///
    /// Errors: `InvalidArgument` where no record can be so long; `StorageFull`, `Io`. The next file is made first, so that
    /// on every error the current one goes on as it was, without an end, and no other file is left behind.
    pub fn rotate(&mut self, next: FileId, len: usize) -> Result<()> {
        assert!(next > self.file(), "file ids only grow");
        if len > PAYLOAD_BYTES_MAX {
            let what = format!("a batch of {len} bytes does not fit in one log record");
            return Err(Error::invalid(what, "write it in several batches"));
        }
        let capacity = self.bytes.max(capacity_for(len));
        let log = create_file(&*self.fs, &self.dir, self.store, next, capacity, self.mode)?;
        if let Err(error) = self.append_record(RecordKind::End, &next.0.to_le_bytes()) {
            let _ = self.fs.remove(&log_path(&self.dir, next));
            return Err(error);
        }
        // Nothing counts as durable here before all older files are.
        let segment = Arc::new(Segment::new(next, log.syncer(), 0));
        self.syncer.push(segment.clone());
        (self.log, self.segment) = (log, segment);
        Ok(())
    }

    /// The current file.
    pub fn file(&self) -> FileId {
        self.segment.file
    }

    /// Where the next record will start.
    pub fn position(&self) -> LogPosition {
        LogPosition { file: self.file(), offset: self.log.len() }
    }

    /// Returns the syncing end, shared with other threads.
    pub fn syncer(&self) -> Arc<LogSyncer> {
        self.syncer.clone()
    }

    fn append_record(&mut self, kind: RecordKind, payload: &[u8]) -> Result<()> {
        let (file, offset, synced) = (self.file(), self.log.len(), self.segment.synced());
        let mut fill = |out: &mut [u8]| write_record(out, file, offset, STREAM, kind, synced, payload);
        self.log
            .append_with(record_bytes(payload.len()), &mut fill)
            .map_err(|error| Error::io("appending to the log", &log_path(&self.dir, file), error))?;
        self.segment.set_appended(self.log.len());
        Ok(())
    }
}

/// Bytes of an `End` record: its payload is a file id.
fn end_record_bytes() -> usize {
    record_bytes(size_of::<u64>())
}

/// Bytes of a file with room for one record of `len` bytes and the `End` record.
fn capacity_for(len: usize) -> u64 {
    (HEADER_BYTES + record_bytes(len) + end_record_bytes()) as u64
}

/// Makes a log file that is durable with its name. On error nothing is left behind.
fn create_file(
    fs: &dyn Fs,
    dir: &Path,
    store: [u8; 16],
    file: FileId,
    capacity: u64,
    mode: LogMode,
) -> Result<Box<dyn LogFile>> {
    let path = log_path(dir, file);
    let failed = |error| Error::io("making log", &path, error);
    let mut log = fs.create_log(&path, capacity, mode).map_err(failed)?;
    let header = FileHeader { kind: FileKind::Log, file, store }.encode();
    let begun = (|| -> io::Result<()> {
        log.append_with(HEADER_BYTES, &mut |out| out.copy_from_slice(&header))?;
        log.syncer().sync()?;
        fs.sync_dir(dir)
    })();
    begun.map_err(|error| {
        // Best effort: an empty log that nobody names is ignored by recovery.
        let _ = fs.remove(&path);
        failed(error)
    })?;
    Ok(log)
}
