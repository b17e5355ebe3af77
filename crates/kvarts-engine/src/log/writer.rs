//! The appending end of the log.
use super::syncer::Segment;
use super::{LogPosition, LogSyncer, log_path};
use crate::fs::{Fs, LogFile, LogMode};
use crate::keys::{Identity, NewFile};
use crate::{Error, FileId, Result};
use kvarts_formats::header::{FileKind, HEADER_BYTES};
use kvarts_formats::record::{NewRecord, PAYLOAD_BYTES_MAX, RecordKind, record_bytes};
use kvarts_formats::seal::{FileSeal, Place};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The buffer in which records are sealed is given back after an append larger than this.
const SCRATCH_BYTES_MAX: usize = (1 << 20) + (64 << 10);

/// Stream of the engine's records.
const STREAM: u32 = 0;

/// A log file that is durable with its name, and that nothing was appended to yet.
pub struct PreparedLog {
    file: FileId,
    seal: FileSeal,
    log: Box<dyn LogFile>,
}

impl PreparedLog {
    /// Makes log `file` of `log_bytes` bytes, or as many as records of `bytes` bytes in all need (header written, file and
    /// directory synced). `path` is its own name, or another until it counts.
    ///
    /// Errors: `StorageFull`, `Io`; no file is left behind.
    pub fn create(
        fs: &dyn Fs,
        path: &Path,
        store: impl Into<Identity>,
        file: FileId,
        log_bytes: u64,
        bytes: usize,
        mode: LogMode,
    ) -> Result<Self> {
        let new = store.into().begin(FileKind::Log, file)?;
        let log = create_file(fs, path, &new, log_bytes.max(capacity_for(bytes)), mode)?;
        Ok(Self { file, seal: new.seal, log })
    }

    /// Its number.
    pub fn file(&self) -> FileId {
        self.file
    }

    /// Tells whether it has room for records of so many bytes in all, and its `End` record.
    pub fn fits(&self, bytes: usize) -> bool {
        capacity_for(bytes) <= self.log.capacity()
    }

    /// Tells whether it has room for a record with a payload of `len` bytes, and its `End` record.
    pub fn fits_record(&self, len: usize) -> bool {
        len <= PAYLOAD_BYTES_MAX && self.fits(record_bytes(len))
    }
}

/// The appending end of the log. One thread at a time.
pub struct LogWriter {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    store: Identity,
    /// Bytes of a new file, unless one record needs more.
    bytes: u64,
    mode: LogMode,
    log: Box<dyn LogFile>,
    seal: FileSeal,
    /// How often an append to the current file failed after its records were sealed. What stands in its place next is sealed
    /// under another nonce: a reader of the disk may see both.
    attempt: u32,
    /// Where records of an encrypted log are sealed.
    scratch: Vec<u8>,
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
        store: impl Into<Identity>,
        file: FileId,
        bytes: u64,
        mode: LogMode,
    ) -> Result<Self> {
        let store = store.into();
        let first = PreparedLog::create(&*fs, &log_path(dir, file), &store, file, bytes, record_bytes(0), mode)?;
        Ok(Self::begin(fs, dir, store, first, bytes, mode))
    }

    /// Returns the appending end of a log that begins with a file made before; see [`LogWriter::create`].
    pub fn begin(
        fs: Arc<dyn Fs>,
        dir: &Path,
        store: impl Into<Identity>,
        first: PreparedLog,
        bytes: u64,
        mode: LogMode,
    ) -> Self {
        let PreparedLog { file, seal, log } = first;
        let segment = Arc::new(Segment::new(file, log.syncer(), HEADER_BYTES as u64));
        let syncer = Arc::new(LogSyncer::new(dir, segment.clone()));
        Self {
            fs,
            dir: dir.to_owned(),
            store: store.into(),
            bytes,
            mode,
            log,
            seal,
            attempt: 0,
            scratch: Vec::new(),
            segment,
            syncer,
        }
    }

    /// Tells whether a record with a payload of `len` bytes fits in the current file, with room left for its `End` record.
    pub fn fits(&self, len: usize) -> bool {
        len <= PAYLOAD_BYTES_MAX && self.fits_records(record_bytes(len))
    }

    /// The same for several records that take `bytes` bytes in all.
    pub fn fits_records(&self, bytes: usize) -> bool {
        self.log.len() + (bytes + end_record_bytes()) as u64 <= self.log.capacity()
    }

    /// Tells whether half of the current file is used.
    pub fn is_half_full(&self) -> bool {
        self.log.len() >= self.log.capacity() / 2
    }

    /// Tells whether appending a record with a payload of `len` bytes is a copy in memory: it waits for nothing.
    pub fn copies(&self, len: usize) -> bool {
        self.log.copies(record_bytes(len))
    }

    /// Appends a batch record; it must fit. On return it is in the kernel's hands. Returns where it ends.
    ///
    /// Errors: `Io`; nothing is appended then.
    pub fn append(&mut self, payload: &[u8]) -> Result<LogPosition> {
        assert!(self.fits(payload.len()), "the caller rotates the log before it is full");
        self.append_records(&[NewRecord { stream: STREAM, kind: RecordKind::Batch, payload: [payload, &[]] }])
    }

    /// Appends records in one piece, one after the other; they must fit. On return they are in the kernel's hands.
    /// Returns where the last ends.
    ///
    /// Errors: `Io`; nothing is appended then, but some of them may be whole in the file: who goes on appending after that
    /// may find them behind what it appended. (One record alone cannot be whole.)
    pub fn append_records(&mut self, records: &[NewRecord<'_>]) -> Result<LogPosition> {
        let bytes = records.iter().map(NewRecord::bytes).sum();
        assert!(self.fits_records(bytes), "the caller rotates the log before it is full");
        self.write(records, bytes)?;
        Ok(self.position())
    }

    /// Ends the current file with an `End` record and goes on in `next`, which holds at least one record of `len` bytes.
    ///
    /// The old file still has to be synced: [`LogSyncer::sync_to`] does so, oldest first.
    ///
    /// Errors: `InvalidArgument` where no record can be so long; `StorageFull`, `Io`. The next file is made first, so that
    /// on every error the current one goes on as it was, without an end, and no other file is left behind.
    pub fn rotate(&mut self, next: FileId, len: usize) -> Result<()> {
        if len > PAYLOAD_BYTES_MAX {
            let what = format!("a batch of {len} bytes does not fit in one log record");
            return Err(Error::invalid(what, "write it in several batches"));
        }
        let prepared = self.prepare(next, record_bytes(len))?;
        self.rotate_to(prepared)
    }

    /// Makes a file to go on in, with room for at least `bytes` bytes of records. Errors: `StorageFull`, `Io`.
    pub fn prepare(&self, next: FileId, bytes: usize) -> Result<PreparedLog> {
        PreparedLog::create(&*self.fs, &log_path(&self.dir, next), &self.store, next, self.bytes, bytes, self.mode)
    }

    /// Ends the current file and goes on in one that was prepared; as [`LogWriter::rotate`].
    pub fn rotate_to(&mut self, next: PreparedLog) -> Result<()> {
        let PreparedLog { file, seal, log } = next;
        assert!(file > self.file(), "file ids only grow");
        let end = NewRecord { stream: STREAM, kind: RecordKind::End, payload: [&file.0.to_le_bytes()[..], &[]] };
        if let Err(error) = self.write(&[end], end_record_bytes()) {
            let _ = self.fs.remove(&log_path(&self.dir, file));
            return Err(error);
        }
        // Nothing counts as durable here before all older files are.
        let segment = Arc::new(Segment::new(file, log.syncer(), 0));
        self.syncer.push(segment.clone());
        (self.log, self.seal, self.attempt, self.segment) = (log, seal, 0, segment);
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

    fn write(&mut self, records: &[NewRecord<'_>], bytes: usize) -> Result<()> {
        let (file, start, synced) = (self.file(), self.log.len(), self.segment.synced());
        let seal = self.seal.lend();
        let attempt = if seal.hides() { self.attempt } else { 0 };
        let mut fill = |out: &mut [u8]| {
            let mut at = 0;
            for record in records {
                let (end, offset) = (at + record.bytes(), start + at as u64);
                record.write(&mut out[at..end], seal, Place { offset, attempt }, synced);
                at = end;
            }
        };
        let appended = if seal.hides() {
            // Sealed before they are handed on: what is hidden never stands in the kernel's pages.
            self.scratch.resize(bytes, 0);
            fill(&mut self.scratch);
            self.log.append_with(bytes, &mut |out| out.copy_from_slice(&self.scratch))
        } else {
            self.log.append_with(bytes, &mut fill)
        };
        if self.scratch.len() > SCRATCH_BYTES_MAX {
            self.scratch = Vec::new();
        }
        if let Err(error) = appended {
            self.attempt = self.attempt.checked_add(1).expect("nobody tries 2^32 times");
            return Err(Error::io("appending to the log", &log_path(&self.dir, file), error));
        }
        self.segment.set_appended(self.log.len());
        Ok(())
    }
}

/// Bytes of an `End` record: its payload is a file id.
pub(crate) fn end_record_bytes() -> usize {
    record_bytes(size_of::<u64>())
}

/// Bytes of a file with room for records of so many bytes and the `End` record.
fn capacity_for(bytes: usize) -> u64 {
    (HEADER_BYTES + bytes + end_record_bytes()) as u64
}

/// Makes a log file that is durable with its name, written where it cannot be mapped. On error nothing is left behind.
fn create_file(fs: &dyn Fs, path: &Path, new: &NewFile, capacity: u64, mode: LogMode) -> Result<Box<dyn LogFile>> {
    let failed = |error| Error::io("making log", path, error);
    let mut log = match fs.create_log(path, capacity, mode) {
        Err(refused) if mode == LogMode::Mapped && refused.kind() == io::ErrorKind::Unsupported => {
            fs.create_log(path, capacity, LogMode::Written)
        }
        made => made,
    }
    .map_err(failed)?;
    let header = new.header.encode();
    let begun = (|| -> io::Result<()> {
        log.append_with(HEADER_BYTES, &mut |out| out.copy_from_slice(&header))?;
        log.syncer().sync()?;
        fs.sync_dir(path.parent().expect("a log lies in a directory"))
    })();
    begun.map_err(|error| {
        // Best effort: an empty log that nobody names is ignored by recovery.
        let _ = fs.remove(path);
        failed(error)
    })?;
    Ok(log)
}
