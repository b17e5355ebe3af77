//! The surface of a machine: a handle that is cloned, shared between threads, and outlives the store it stands for.
use super::command::EntryWork;
use super::held::{Held, Mark};
use super::holds::Holds;
use super::pages;
use super::payload::decode_payload;
use super::place::{self, path_of};
use super::range::{RANGE, Range};
use super::read::{self, UserRow};
use super::rows::{MEMBERSHIP, Position, prefix_bounds, system_key};
use super::size::{self, Size};
use super::{Error, Result};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use kvarts_engine::db::{Applier, Memory, ReadAt, RowChunk, Stats, VerifyReport};
use kvarts_engine::fs::Fs;
use kvarts_engine::options::Options;
use kvarts_engine::sync::Mutex;
use kvarts_wire::v1;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Options of a machine.
#[derive(Clone, Debug)]
pub struct MachineOptions {
    /// Options of its engine; `durability`, `log`, `keep_history` and `create` are the machine's own affair.
    pub engine: Options,
    /// How far back a scan or a snapshot may read, in milliseconds before the newest stamp. Default one minute: longer
    /// ones are told that rows are forgotten.
    pub retention_ms: u64,
    /// What another process that opens the same directory is told about us.
    pub holder: String,
    /// What is kept beyond that.
    pub holds: Arc<Holds>,
}

impl Default for MachineOptions {
    fn default() -> Self {
        let (engine, holder, holds) = (Options::default(), String::new(), Arc::default());
        Self { engine, retention_ms: 60_000, holder, holds }
    }
}

/// The state machine of one shard. Clones share it.
#[derive(Clone)]
pub struct Machine {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: MachineOptions,
    /// The budget that its store takes part in, if it has none of its own.
    memory: Option<Arc<Memory>>,
    /// The open store; `None` once closed.
    held: ArcSwapOption<Held>,
    /// Held by whoever changes rows, or the store.
    pub(super) applying: Mutex<()>,
}

impl Machine {
    /// Opens the machine in `dir`, or makes it there; the parent must exist.
    ///
    /// What it recovers to is what was flushed last: [`Machine::position`] says which entries to apply again.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, options: MachineOptions) -> Result<Self> {
        Self::open_in(None, fs, dir, options)
    }

    /// The same of a machine that takes its memory from a budget in which others take part.
    pub fn open_sharing(memory: Arc<Memory>, fs: Arc<dyn Fs>, dir: &Path, options: MachineOptions) -> Result<Self> {
        Self::open_in(Some(memory), fs, dir, options)
    }

    fn open_in(memory: Option<Arc<Memory>>, fs: Arc<dyn Fs>, dir: &Path, options: MachineOptions) -> Result<Self> {
        let number = place::find(&*fs, dir)?.unwrap_or(1);
        let held = Held::open(&fs, &path_of(dir, number), number, &options, memory.as_ref(), true)?;
        place::tidy(&*fs, dir, number)?;
        let held = ArcSwapOption::from_pointee(held);
        let shared = Shared { fs, dir: dir.to_owned(), options, memory, held, applying: Mutex::new(()) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The newest position: zeros in a new machine, and in a closed one.
    pub fn position(&self) -> Position {
        self.shared.held().map_or_else(|_| Position::default(), |held| held.position())
    }

    /// The newest membership; empty where none was set.
    pub fn membership(&self) -> Vec<u8> {
        self.shared.held().map_or_else(|_| Vec::new(), |held| held.membership().to_vec())
    }

    /// The newest value of a system key.
    pub fn system(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let key = system_key(key);
        self.shared.with(|held| {
            let mut value = None;
            held.db.get_many_at(&held.tree, &[&key], NEWEST, &mut |_, entry| {
                value = entry.map(|entry| entry.value.to_vec());
            })?;
            Ok(value)
        })
    }

    /// All system keys that begin with `prefix`, in order, with their values.
    pub fn system_scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let bounds = prefix_bounds(&system_key(prefix));
        self.shared.with(|held| {
            let mut scan = held.db.scan_at(&held.tree, bounds.clone(), false, NEWEST)?;
            let mut chunk = RowChunk::default();
            scan.fill(&mut chunk, usize::MAX, usize::MAX, true)?;
            let (mut rows, mut key_start, mut value_start) = (Vec::new(), 0, 0);
            for (&key_end, &value_end) in chunk.key_ends.iter().zip(&chunk.value_ends) {
                let key = chunk.keys[key_start + 1..key_end].to_vec();
                rows.push((key, chunk.values[value_start..value_end].to_vec()));
                (key_start, value_start) = (key_end, value_end);
            }
            Ok(rows)
        })
    }

    /// Applies a NORMAL entry, the one after [`Machine::position`]. Returns one result per command.
    ///
    /// Errors: `OutOfOrder`; `Unreadable` (the node must stop); those that [`Error::may_pass`] have changed nothing and may
    /// be tried again; others end the writes.
    pub fn apply(&self, index: u64, term: u64, payload: &Bytes) -> Result<Vec<v1::Result>> {
        let entry = decode_payload(index, payload)?;
        let advance = |mut position: Position| {
            position.stamp_us = position.stamp_us.max(entry.stamp_us);
            position
        };
        let run = |work: EntryWork<'_, '_>| work.run(&entry.commands);
        let (results, growth) = self.shared.advance(index, term, payload.len(), None, advance, run)?;
        self.shared.held()?.sessions.fetch_add(growth, Ordering::AcqRel);
        Ok(results)
    }

    /// Tells whether the shard was split, or is a half of one: then it judges by its own row what it owns.
    pub fn is_cut(&self) -> bool {
        self.shared.held().is_ok_and(|held| held.range().is_some())
    }

    /// How many sessions there are. The caller of `apply` sees what it has just applied.
    pub fn sessions(&self) -> u64 {
        self.shared.held().map_or(0, |held| held.sessions.load(Ordering::Acquire).unsigned_abs())
    }

    /// Applies an entry that Python decided: sets the membership, writes system rows (`None` removes), moves the position.
    pub fn apply_effects(
        &self,
        index: u64,
        term: u64,
        membership: Option<&[u8]>,
        rows: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<()> {
        let keys: Vec<Vec<u8>> = rows.iter().map(|(key, _)| system_key(key)).collect();
        let written = keys.iter().zip(rows).map(|(key, (_, value))| (key.as_slice(), value.as_deref()));
        let set = membership.map(|membership| (MEMBERSHIP, Some(membership)));
        self.shared.advance(
            index,
            term,
            0,
            membership,
            |position| position,
            |work| work.write(set.into_iter().chain(written)),
        )?;
        if rows.iter().any(|(key, _)| key == RANGE) { self.shared.held()?.look_at_range() } else { Ok(()) }
    }

    /// Looks up keys. `now_ms` is the node's clock, by which expiry is judged unless the request pins a time.
    ///
    /// Errors: `Behind`; `Compacted` (as an engine error); `LimitExceeded`.
    pub fn get(&self, request: &v1::GetRequest, now_ms: u64) -> Result<v1::GetResponse> {
        self.shared.with(|held| read::get(held, request, now_ms))
    }

    /// One page of a scan. Where there is more, the next begins behind the last key, at the revision and time of this one.
    pub fn scan_page(&self, request: &v1::ScanRequest, now_ms: u64) -> Result<v1::ScanResponse> {
        self.scan_page_within(request, None, now_ms)
    }

    /// The same of rows that are the shard's own by the map, too: `cut`. For who asks a replica that may not have come as far.
    pub fn scan_page_within(
        &self,
        request: &v1::ScanRequest,
        cut: Option<&Arc<Range>>,
        now_ms: u64,
    ) -> Result<v1::ScanResponse> {
        self.shared.with(|held| pages::scan_page(held, request, cut, now_ms))
    }

    /// All rows of a keyspace by the time of the last entry: key, value, revision. For tests and tools: it is all at once.
    pub fn rows(&self, keyspace: u32) -> Result<Vec<UserRow>> {
        self.shared.with(|held| read::rows(held, keyspace))
    }

    /// Puts all rows into tables and waits. Returns the position that they hold.
    pub fn flush(&self) -> Result<Position> {
        self.shared.with(|held| {
            held.db.flush()?;
            Ok(held.look_at_tables()?.position)
        })
    }

    /// Position and membership that survive without any log. Cheap where nothing was flushed since the last call.
    pub fn flushed(&self) -> Result<(Position, Vec<u8>)> {
        self.shared.with(|held| Ok(parts(held.look_at_tables()?)))
    }

    /// Makes a copy at `to` (absent, or an empty directory) by hard links. Returns its position and membership. Durable.
    pub fn checkpoint(&self, to: &Path) -> Result<(Position, Vec<u8>)> {
        self.shared.with(|held| {
            let revision = held.db.checkpoint(Some(&held.tree), to)?;
            Ok(parts(held.mark_at(ReadAt { revision: Some(revision), now_ms: u64::MAX })?))
        })
    }

    /// Installs the checkpoint at `from`, whose files are durable and on the same file system, in the place of all rows;
    /// then removes `from`. After a crash at any moment, opening finds the old store or the new one, whole.
    ///
    /// Reads under way end with what they had, or begin again on the new rows. Errors leave the old store in use.
    pub fn replace(&self, from: &Path) -> Result<()> {
        self.shared.replace(from)
    }

    /// Numbers about the engine.
    pub fn stats(&self) -> Result<Stats> {
        self.shared.with(|held| Ok(held.db.stats()))
    }

    /// Reads all that is on disk and checks it.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.shared.with(|held| Ok(held.db.verify(&mut |_, _| {})?))
    }

    /// Rewrites all rows into the deepest level and waits.
    pub fn compact(&self) -> Result<()> {
        self.shared.with(|held| {
            held.db.flush()?;
            held.look_at_tables()?;
            Ok(held.db.compact(Some(&held.tree))?)
        })
    }

    /// The user's key with about half of the bytes of all rows in front of it, where tables tell; and about how many those are.
    pub fn middle(&self) -> Result<(Option<Vec<u8>>, u64)> {
        self.shared.with(read::middle)
    }

    /// How large a shard is that has this range, and where it could be cut.
    pub fn size(&self, range: &Range) -> Result<Size> {
        self.shared.with(|held| size::size(held, range))
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn parts(&self) -> (&Arc<dyn Fs>, &MachineOptions) {
        (&self.shared.fs, &self.shared.options)
    }

    /// Flushes and closes. Idempotent; later calls fail with `Closed`.
    pub fn close(&self) -> Result<()> {
        let _applying = self.shared.applying.lock();
        match self.shared.held.swap(None) {
            Some(held) => Ok(held.db.close()?),
            None => Ok(()),
        }
    }
}

/// Makes a directory for a machine, in one that is there.
pub(super) fn fresh_dir(fs: &dyn Fs, dir: &Path) -> Result<()> {
    Ok(fs.create_dir(dir).map_err(|error| kvarts_engine::Error::io("making the directory", dir, error))?)
}

/// System rows have no expiry.
const NEWEST: ReadAt = ReadAt { revision: None, now_ms: 0 };

fn parts(mark: Mark) -> (Position, Vec<u8>) {
    (mark.position, mark.membership.to_vec())
}

impl Shared {
    pub(super) fn held(&self) -> Result<Arc<Held>> {
        self.held.load_full().ok_or(Error::Engine(kvarts_engine::Error::Closed))
    }

    /// Calls `read` on the open store; again where another was put in its place meanwhile.
    fn with<R>(&self, read: impl Fn(&Held) -> Result<R>) -> Result<R> {
        let mut held = self.held()?;
        loop {
            let outcome = read(&held);
            let replaced = matches!(
                &outcome,
                Err(Error::Engine(kvarts_engine::Error::Closed | kvarts_engine::Error::Poisoned(_)))
            );
            if !replaced {
                return outcome;
            }
            let now = self.held()?;
            if Arc::ptr_eq(&held, &now) {
                return outcome;
            }
            held = now;
        }
    }

    /// Applies entry `index`: `stamp` gives the time of the position, `write` the rows.
    fn advance<R>(
        &self,
        index: u64,
        term: u64,
        bytes: usize,
        membership: Option<&[u8]>,
        stamp: impl FnOnce(Position) -> Position,
        write: impl FnOnce(EntryWork<'_, '_>) -> Result<R>,
    ) -> Result<R> {
        let _applying = self.applying.lock();
        let held = self.held()?;
        let before = held.position();
        if index != before.index + 1 {
            return Err(Error::OutOfOrder { index, expected: before.index + 1 });
        }
        let position = Position { index, term, ..stamp(before) };
        let range = held.range();
        let decide =
            |applier: &mut Applier<'_>| write(EntryWork::new(applier, held.tree.id(), position, range.as_deref()));
        let answer = held.db.apply_entry(&held.tree, bytes, decide)?;
        held.moved(position, membership);
        // The entry is applied all the same where a table cannot be read now: `flushed` tells.
        let _ = held.look_at_tables();
        Ok(answer)
    }

    fn replace(&self, from: &Path) -> Result<()> {
        let _applying = self.applying.lock();
        let old = self.held()?;
        let (fs, dir, number) = (&*self.fs, &*self.dir, old.number + 1);
        self.check_incoming(&place::assemble(fs, from, dir, number)?)?;
        let path = place::establish(fs, dir, number)?;
        // Checked a moment ago: what fails now is the machine's disk, and opening again decides.
        let new = Held::open(&self.fs, &path, number, &self.options, self.memory.as_ref(), false)?;
        self.held.store(Some(Arc::new(new)));
        // Best effort from here: what stays behind is removed when the machine is next opened.
        let _ = old.db.abandon();
        let _ = place::remove(fs, &path_of(dir, old.number));
        let _ = place::remove(fs, from);
        Ok(())
    }

    /// Opens a store that comes in once before it counts. On error it goes again.
    fn check_incoming(&self, path: &Path) -> Result<()> {
        let mut options = self.options.clone();
        options.engine.background = false;
        let checked = Held::open(&self.fs, path, 0, &options, None, false).and_then(|held| Ok(held.db.close()?));
        if checked.is_err() {
            let _ = place::remove(&*self.fs, path);
        }
        checked
    }
}
