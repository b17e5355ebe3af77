//! The surface: append, sync, read, forget.
use super::group::{Group, GroupState, Place, Slot};
use super::index::{Index, stream_of, unknown};
use super::recover;
use super::{EntryMeta, GroupWrite, HardState, LogPosition, NodeLogOptions, NodeLogStats, RecoveryReport};
use bytes::Bytes;
use kvarts_engine::fs::{Fs, LogMode, ReadFile};
use kvarts_engine::log::{LogSyncer, LogWriter, PreparedLog, log_path};
use kvarts_engine::sync::Mutex;
use kvarts_engine::{Error, FileId, Result};
use kvarts_formats::node_record::{ENTRY_HEAD_BYTES, EntryId, HEAD_BYTES_MAX, Head, Mark, NodeRecord};
use kvarts_formats::record::{NewRecord, PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES, record_at, record_bytes};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One append-only log for all groups of a node. Any thread may call anything; appends follow each other.
pub struct NodeLog {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    id: [u8; 16],
    options: NodeLogOptions,
    appender: Mutex<Appender>,
    index: Mutex<Index>,
    syncer: Arc<LogSyncer>,
    /// Held by who removes old files and makes the next one.
    tidying: Mutex<()>,
    report: RecoveryReport,
}

/// Who holds this appends.
struct Appender {
    writer: LogWriter,
    next_file: u64,
    /// The next file, made ahead of need.
    spare: Option<PreparedLog>,
    /// Why nothing can be appended any more.
    broken: Option<Arc<str>>,
}

/// A record to append.
#[derive(Clone, Copy)]
struct Said<'a> {
    stream: u32,
    record: NodeRecord<'a>,
    /// An entry's payload, to be kept in memory.
    payload: Option<&'a Bytes>,
}

impl NodeLog {
    /// Opens the log in `dir` (made where it is absent) of the node `id`, and recovers what it holds.
    ///
    /// The caller keeps other processes off. Per group, what comes back is a prefix of what was written, with everything
    /// that was synced. Errors: `Corruption` names file and offset where synced bytes are not what was written; `Io`,
    /// `StorageFull`, `NewerFormat`.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, id: [u8; 16], options: NodeLogOptions) -> Result<Self> {
        let recovered = recover::open(&fs, dir, id, options)?;
        let syncer = recovered.writer.syncer();
        let next_file = recovered.writer.file().0 + 1;
        let appender = Appender { writer: recovered.writer, next_file, spare: None, broken: None };
        let log = Self {
            fs,
            dir: dir.to_owned(),
            id,
            options,
            appender: Mutex::new(appender),
            index: Mutex::new(recovered.index),
            syncer,
            tidying: Mutex::new(()),
            report: recovered.report,
        };
        log.index.lock().note_useless(log.syncer.synced());
        log.tidy();
        Ok(log)
    }

    /// What opening found.
    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }

    /// Adds a group whose log begins after the entry (`index`, `term`); (0, 0) for a new one. Durable with the next sync.
    ///
    /// Errors: `InvalidArgument` where it is there already; as [`NodeLog::append`].
    pub fn add_group(&self, group: u64, index: u64, term: u64) -> Result<LogPosition> {
        let stream = stream_of(group)?;
        let fresh = GroupState::of(&Group::after(EntryId { index, term }), index);
        let record = fresh.record();
        let mut appender = self.appender.lock();
        if self.index.lock().group(group).is_some() {
            return Err(Error::invalid(format!("group {group} is there already"), "each group is added once"));
        }
        self.write(&mut appender, &[Said { stream, record, payload: None }])
    }

    /// Forgets a group and all it wrote. A group that is not there is no error.
    pub fn remove_group(&self, group: u64) -> Result<LogPosition> {
        let stream = stream_of(group)?;
        let mut appender = self.appender.lock();
        if self.index.lock().group(group).is_none() {
            return Ok(appender.writer.position());
        }
        self.write(&mut appender, &[Said { stream, record: NodeRecord::Removed, payload: None }])
    }

    /// Appends a turn in one write; what it wrote may be read at once. Returns what to sync up to.
    ///
    /// Errors: `InvalidArgument` (an unknown group, a hole; nothing written), `StorageFull` where a new file finds no room
    /// (nothing written, may be tried again), `Poisoned` and `Io`: nothing can be appended until the log is reopened.
    pub fn append(&self, writes: &[GroupWrite]) -> Result<LogPosition> {
        let mut appender = self.appender.lock();
        self.index.lock().check(writes)?;
        let said = writes.iter().map(records_of).collect::<Result<Vec<_>>>()?.concat();
        self.write(&mut appender, &said)
    }

    /// Forgets a group's entries up to and including `index`, of which the term is still known.
    ///
    /// Nothing happens where they are forgotten already, or `index` is beyond the last entry. Errors: as
    /// [`NodeLog::append`]. Files go once this is durable.
    pub fn compact(&self, group: u64, index: u64) -> Result<()> {
        let stream = stream_of(group)?;
        let mut appender = self.appender.lock();
        let term = {
            let locked = self.index.lock();
            let known = locked.group(group).ok_or_else(|| unknown(group))?;
            known.slot(index).map(|slot| slot.term)
        };
        let Some(term) = term else { return Ok(()) };
        let record = NodeRecord::Compacted(EntryId { index, term });
        self.write(&mut appender, &[Said { stream, record, payload: None }]).map(|_| ())
    }

    /// Returns once everything before `position` is on stable storage; appends go on meanwhile.
    ///
    /// Now and then it also removes files that are of no more use and makes the next one. Errors: the first failed sync is
    /// final, as are all after it.
    pub fn sync_to(&self, position: LogPosition) -> Result<()> {
        self.syncer.sync_to(position)?;
        self.tidy();
        Ok(())
    }

    /// Everything before this position is on stable storage.
    pub fn synced(&self) -> LogPosition {
        self.syncer.synced()
    }

    /// Groups, ascending.
    pub fn groups(&self) -> Vec<u64> {
        self.index.lock().groups.keys().map(|&stream| u64::from(stream)).collect()
    }

    /// A group's hard state as written last; `None` for an unknown group, as in all that follow.
    pub fn hard_state(&self, group: u64) -> Option<HardState> {
        self.index.lock().group(group).map(|known| known.hard_state)
    }

    /// Index of the first entry that is kept; one more than the last if there is none.
    pub fn first_index(&self, group: u64) -> Option<u64> {
        self.index.lock().group(group).map(|known| known.base().index + 1)
    }

    /// Index of the last entry.
    pub fn last_index(&self, group: u64) -> Option<u64> {
        self.index.lock().group(group).map(|known| known.last())
    }

    /// The term of an entry, or of the one before the first; `None` for any other.
    pub fn term_at(&self, group: u64, index: u64) -> Option<u64> {
        self.index.lock().group(group)?.term_at(index)
    }

    /// Entries of `start..stop` within `bytes_max`, at least one where there is one; none where `start` is forgotten or
    /// beyond the end.
    pub fn metas(&self, group: u64, start: u64, stop: u64, bytes_max: u64) -> Vec<EntryMeta> {
        self.index.lock().group(group).map_or_else(Vec::new, |known| known.metas(start, stop, bytes_max))
    }

    /// Index, term and membership of the newest leader's snapshot that replaced the log, if one ever did.
    pub fn snapshot_mark(&self, group: u64) -> Option<(u64, u64, Vec<u8>)> {
        let index = self.index.lock();
        index.group(group)?.mark.as_ref().map(|(id, membership)| (id.index, id.term, membership.clone()))
    }

    /// The payload of an entry: a recent one from memory, others from their file, checked.
    ///
    /// Errors: `InvalidArgument` for an entry that is not kept; `Corruption`, `Io`.
    pub fn payload(&self, group: u64, index: u64) -> Result<Bytes> {
        let (slot, reader) = {
            let locked = self.index.lock();
            let slot = *locked.group(group).ok_or_else(|| unknown(group))?.slot(index).ok_or_else(|| {
                Error::invalid(format!("group {group} keeps no entry {index}"), "look at first_index")
            })?;
            if let Some(payload) = locked.recent.get(group, index) {
                return Ok(payload);
            }
            (slot, locked.reader(slot.place.file))
        };
        self.read_payload(EntryId { index, term: slot.term }, stream_of(group)?, &slot, reader)
    }

    /// Figures of this moment.
    pub fn stats(&self) -> NodeLogStats {
        let index = self.index.lock();
        NodeLogStats {
            files: index.files().len(),
            entries: index.groups.values().map(|group| group.slots().len() as u64).sum(),
            cached_bytes: index.recent.bytes(),
            syncs: self.syncer.syncs(),
        }
    }

    /// Appends records in one write and plays them. They must be playable.
    fn write(&self, appender: &mut Appender, said: &[Said<'_>]) -> Result<LogPosition> {
        if let Some(cause) = &appender.broken {
            return Err(Error::Poisoned(cause.clone()));
        }
        if said.is_empty() {
            return Ok(appender.writer.position());
        }
        let heads: Vec<Head> = said.iter().map(|each| each.record.head()).collect();
        let records: Vec<NewRecord<'_>> =
            said.iter().zip(&heads).map(|(each, head)| each.record.with_head(head, each.stream)).collect();
        let bytes: usize = records.iter().map(NewRecord::bytes).sum();
        let end = if appender.writer.fits_records(bytes) {
            appender.writer.append_records(&records)
        } else {
            self.write_in_next(appender, &records, bytes)?
        };
        let end = end.inspect_err(|error| appender.broken = Some(error.to_string().into()))?;
        let mut place = Place { file: end.file, offset: end.offset - bytes as u64 };
        let mut index = self.index.lock();
        for (each, record) in said.iter().zip(&records) {
            index.play(each.stream, &each.record, place, each.payload).expect("the turn was checked");
            place.offset += record.bytes() as u64;
        }
        index.note_useless(end);
        Ok(end)
    }

    /// Goes on in the next file: all that the groups are, then the records. The outer error left everything as it was.
    fn write_in_next(
        &self,
        appender: &mut Appender,
        records: &[NewRecord<'_>],
        bytes: usize,
    ) -> Result<Result<LogPosition>> {
        let groups = self.index.lock().states();
        let stated: Vec<_> = groups.iter().map(|(stream, state)| (*stream, state.record())).collect();
        let heads: Vec<Head> = stated.iter().map(|(_, record)| record.head()).collect();
        let mut all: Vec<NewRecord<'_>> =
            stated.iter().zip(&heads).map(|((stream, record), head)| record.with_head(head, *stream)).collect();
        let bytes = bytes + all.iter().map(NewRecord::bytes).sum::<usize>();
        all.extend_from_slice(records);
        let next = self.next_file(appender, bytes)?;
        let (file, path) = (next.file(), log_path(&self.dir, next.file()));
        let reader = self.fs.open(&path).map_err(|error| {
            let _ = self.fs.remove(&path);
            Error::io("opening a log", &path, error)
        })?;
        if let Err(error) = appender.writer.rotate_to(next) {
            return Ok(Err(error));
        }
        self.index.lock().push_file(file, Some(reader));
        Ok(appender.writer.append_records(&all))
    }

    /// Returns a file with room for so many bytes of records.
    fn next_file(&self, appender: &mut Appender, bytes: usize) -> Result<PreparedLog> {
        if let Some(spare) = appender.spare.take() {
            if spare.fits(bytes) {
                return Ok(spare);
            }
            // Best effort: recovery removes a file that nobody names.
            let _ = self.fs.remove(&log_path(&self.dir, spare.file()));
        }
        let file = appender.take_file();
        appender.writer.prepare(file, bytes)
    }

    /// Removes files that are of no more use, and makes the next one where it will soon be needed. What fails here is tried
    /// again at the next sync.
    fn tidy(&self) {
        let Some(_tidying) = self.tidying.try_lock() else { return };
        self.remove_useless();
        self.make_spare();
    }

    fn remove_useless(&self) {
        let synced = self.syncer.synced();
        while let Some(live) = { self.index.lock().take_useless(synced) } {
            match self.fs.remove(&log_path(&self.dir, live.file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.index.lock().put_back(live);
                    return;
                }
                _ => {}
            }
            // Oldest first also on the disk: a file in the middle of the log is never the one that is missing.
            if self.fs.sync_dir(&self.dir).is_err() {
                return;
            }
        }
    }

    fn make_spare(&self) {
        let file = match self.appender.try_lock() {
            Some(mut appender) if appender.wants_spare(self.options.log_bytes) => appender.take_file(),
            _ => return,
        };
        let (path, bytes) = (log_path(&self.dir, file), self.options.log_bytes);
        let Ok(spare) = PreparedLog::create(&*self.fs, &path, self.id, file, bytes, 0, LogMode::Written) else {
            return;
        };
        let mut appender = self.appender.lock();
        if appender.spare.is_none() && file > appender.writer.file() {
            appender.spare = Some(spare);
        } else {
            drop(appender);
            let _ = self.fs.remove(&path);
        }
    }

    /// Reads an entry from its file, without any lock: the file may be removed meanwhile and can be read all the same.
    fn read_payload(&self, id: EntryId, stream: u32, slot: &Slot, reader: Option<Arc<dyn ReadFile>>) -> Result<Bytes> {
        let Place { file, offset } = slot.place;
        let path = log_path(&self.dir, file);
        let reader = reader.expect("every file that counts is open");
        let mut bytes = vec![0; record_bytes(ENTRY_HEAD_BYTES + slot.size as usize)];
        reader.read_exact_at(offset, &mut bytes).map_err(|error| Error::io("reading the log", &path, error))?;
        let record = record_at(file, offset, &bytes).map_err(|error| Error::format(&path, 0, error))?;
        let ours = match NodeRecord::decode(&record).map_err(|error| Error::format(&path, offset, error))? {
            NodeRecord::Entry { id: found, .. } => found == id && record.stream == stream,
            _ => false,
        };
        if !ours {
            return Err(Error::Corruption {
                file: path,
                offset,
                what: "another record than was written here".to_owned(),
            });
        }
        let start = RECORD_HEADER_BYTES + ENTRY_HEAD_BYTES;
        Ok(Bytes::from(bytes).slice(start..start + slot.size as usize))
    }
}

impl Appender {
    fn take_file(&mut self) -> FileId {
        let file = FileId(self.next_file);
        self.next_file += 1;
        file
    }

    fn wants_spare(&self, log_bytes: u64) -> bool {
        self.spare.is_none() && self.broken.is_none() && self.writer.position().offset > log_bytes / 2
    }
}

/// The records of one group's part of a turn. Errors: `InvalidArgument` where one is too large.
fn records_of(write: &GroupWrite) -> Result<Vec<Said<'_>>> {
    let stream = stream_of(write.group)?;
    let mut said = Vec::with_capacity(write.entries.len() + 2);
    if let Some((index, term, membership)) = &write.snapshot {
        let mark = Mark { id: EntryId { index: *index, term: *term }, membership };
        said.push(Said { stream, record: NodeRecord::SnapshotMark(mark), payload: None });
    }
    for (meta, payload) in &write.entries {
        let id = EntryId { index: meta.index, term: meta.term };
        let record = NodeRecord::Entry { id, kind: meta.kind, payload };
        said.push(Said { stream, record, payload: Some(payload) });
    }
    // Last: a commit index that survives a crash without its entries would commit what they were to supersede.
    if let Some(hard_state) = write.hard_state {
        said.push(Said { stream, record: NodeRecord::HardState(hard_state), payload: None });
    }
    if let Some(large) = said.iter().find(|each| each.record.tail().len() > PAYLOAD_BYTES_MAX - HEAD_BYTES_MAX) {
        let what = format!("{} bytes do not fit in one log record", large.record.tail().len());
        return Err(Error::invalid(what, "write it in several entries"));
    }
    Ok(said)
}
