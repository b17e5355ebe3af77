//! The write path: check, make room, take a revision, append to the log, insert, publish.
use super::publish::raise;
use super::read::{Lookup, find, with_entry};
use super::state::Shared;
use super::trees::{Mem, TreeShared};
use super::{Attempt, Db, Entry, Scan, Tree, WriteView};
use crate::iter::Bounds;
use crate::log::{LogPosition, LogWriter};
use crate::options::{Durability, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::{Error, Result, Revision, TreeId};
use kvarts_formats::Kind;
use kvarts_formats::batch::{Batch, Op};
use kvarts_formats::ids::EXPIRY_BYTES;
use kvarts_formats::record::PAYLOAD_BYTES_MAX;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Largest batch that `try_write` takes: its copies are short enough for a caller who holds other threads up. Where the log
/// would write it by a system call instead, it is not taken at all.
const TRY_BYTES_MAX: usize = 64 << 10;

const LOG_IS_OPEN: &str = "a closed store is refused before its log is asked for";

/// What the write lock guards.
pub(super) struct WriteState {
    /// The end of the log; none once the store is closed.
    log: Option<LogWriter>,
    /// Trees by id.
    pub(super) trees: Vec<WriteTree>,
    /// The revision of the last record of the log, if it has any.
    logged: Option<Revision>,
    /// Bytes that rows take in all active memtables.
    pub(super) active_bytes: usize,
    /// Bytes written under pressure that writers have not waited for yet.
    pub(super) unpaid_bytes: usize,
    /// Nanoseconds that one of them waited longer than it had to.
    pub(super) overpaid_ns: u64,
    /// True once the next log file was asked for.
    asked_log: bool,
}

/// A tree as writers see it.
pub(super) struct WriteTree {
    pub(super) shared: Arc<TreeShared>,
    /// The memtable of its current state.
    pub(super) active: Arc<Mem>,
}

impl WriteState {
    /// Returns the state of a store whose log ends in `log`.
    pub(super) fn new(log: LogWriter) -> Self {
        Self {
            log: Some(log),
            trees: Vec::new(),
            logged: None,
            active_bytes: 0,
            unpaid_bytes: 0,
            overpaid_ns: 0,
            asked_log: false,
        }
    }

    /// The end of the log. Every write asks first whether the store is closed, under the lock that guards this.
    pub(super) fn log(&self) -> &LogWriter {
        self.log.as_ref().expect(LOG_IS_OPEN)
    }

    fn log_mut(&mut self) -> &mut LogWriter {
        self.log.as_mut().expect(LOG_IS_OPEN)
    }

    /// Closes the file of the log and drops the memtables. Called once the store is closed.
    pub(super) fn let_go(&mut self) {
        (self.log, self.active_bytes) = (None, 0);
        self.trees.clear();
    }

    /// Lets batches name `tree`.
    pub(super) fn add_tree(&mut self, tree: Arc<TreeShared>) {
        let active = Arc::clone(&tree.state.load().active);
        self.active_bytes += active.filled();
        let at = self.trees.partition_point(|other| other.shared.id() < tree.id());
        self.trees.insert(at, WriteTree { shared: tree, active });
    }

    /// Forgets a tree.
    pub(super) fn remove_tree(&mut self, id: TreeId) {
        if let Some(at) = self.position(id) {
            self.active_bytes -= self.trees.remove(at).active.filled();
        }
    }

    fn position(&self, id: TreeId) -> Option<usize> {
        self.trees.binary_search_by_key(&id, |tree| tree.shared.id()).ok()
    }

    /// Checks a batch against the limits and the trees.
    fn check(&self, batch: &Batch, memory_bytes: usize) -> Result<()> {
        if batch.bytes_len() > (memory_bytes / 4).min(PAYLOAD_BYTES_MAX) {
            return Err(too_large(batch.bytes_len(), memory_bytes));
        }
        let mut known = None;
        for op in batch.ops() {
            if known != Some(op.tree) {
                self.position(op.tree).ok_or_else(|| unknown_tree(op.tree))?;
                known = Some(op.tree);
            }
            check_op(&op)?;
        }
        Ok(())
    }

    /// Inserts the rows of a batch whose record ends at `end`. Returns the bytes of their keys and values.
    fn insert(&mut self, batch: &Batch, revision: Revision, end: LogPosition) -> usize {
        let (mut at, mut user_bytes) = (0, 0);
        for op in batch.ops() {
            if self.trees.get(at).is_none_or(|tree| tree.shared.id() != op.tree) {
                at = self.position(op.tree).expect("the batch was checked under the same lock");
            }
            let tree = &self.trees[at];
            let before = tree.active.filled();
            tree.active.insert(&op, revision, end);
            tree.shared.last.store(revision.0, Ordering::Relaxed);
            self.active_bytes += tree.active.filled() - before;
            user_bytes += op.key.len() + op.value.len();
        }
        user_bytes
    }
}

/// A commit that is in the log and the memtables.
#[derive(Clone, Copy)]
pub(super) struct Commit {
    pub(super) revision: Revision,
    end: LogPosition,
}

impl Db {
    /// Commits a batch: atomic, at the store's durability. Returns its revision (the current one if it is empty).
    pub fn write(&self, batch: &mut Batch) -> Result<Revision> {
        let shared = &*self.shared;
        shared.relieve();
        let commit = {
            let mut write = shared.write.lock();
            shared.check_writable()?;
            write.check(batch, shared.options.memory_bytes)?;
            if batch.is_empty() {
                return Ok(shared.visible());
            }
            shared.make_room(&mut write, batch.bytes_len())?;
            let revision = shared.next_revision();
            shared.commit(&mut write, batch, revision)?
        };
        shared.finish(commit)
    }

    /// Commits if that takes no wait: the lock is free, log and memtable have room, the log takes the record by a copy in
    /// memory, durability is not `sync`.
    pub fn try_write(&self, batch: &mut Batch) -> Result<Attempt<Revision>> {
        let shared = &*self.shared;
        if shared.options.durability == Durability::Sync || batch.bytes_len() > TRY_BYTES_MAX || batch.is_empty() {
            return Ok(Attempt::WouldBlock);
        }
        let Some(mut write) = shared.write.try_lock() else {
            return Ok(Attempt::WouldBlock);
        };
        shared.check_writable()?;
        write.check(batch, shared.options.memory_bytes)?;
        if shared.wants_room(&write) || shared.must_rotate(&write, batch) || shared.writes_to_file(&write, batch) {
            return Ok(Attempt::WouldBlock);
        }
        let revision = shared.next_revision();
        shared.commit(&mut write, batch, revision).map(|commit| Attempt::Done(commit.revision))
    }

    /// Reads, decides and writes as one step: `decide` sees the newest state under the write lock and fills the batch.
    ///
    /// An empty batch commits nothing. `decide` must not call this store. An error from it commits nothing.
    pub fn update<R, E: From<Error>>(
        &self,
        decide: impl FnOnce(&WriteView<'_>, &mut Batch) -> std::result::Result<R, E>,
    ) -> std::result::Result<(R, Revision), E> {
        let shared = &*self.shared;
        shared.relieve();
        let mut batch = Batch::new();
        let (answer, commit) = {
            let mut write = shared.write.lock();
            shared.check_writable()?;
            shared.make_room(&mut write, 0)?;
            let answer = decide(&WriteView { db: self }, &mut batch)?;
            write.check(&batch, shared.options.memory_bytes)?;
            if batch.is_empty() {
                let seen = shared.seen();
                drop(write);
                return Ok((answer, shared.finish(seen)?));
            }
            let revision = shared.next_revision();
            (answer, shared.commit(&mut write, &mut batch, revision)?)
        };
        Ok((answer, shared.finish(commit)?))
    }

    /// Commits `batch` to `tree` at a given revision, which must exceed every earlier one of that tree: what replication
    /// will use. Errors: `InvalidArgument` where it does not, or where the batch names another tree.
    pub fn apply(&self, tree: &Tree, batch: &mut Batch, revision: Revision) -> Result<()> {
        let shared = &*self.shared;
        shared.relieve();
        let commit = {
            let mut write = shared.write.lock();
            shared.check_writable()?;
            if tree.shared.dropped.load(Ordering::Acquire) {
                return Err(tree.shared.gone());
            }
            write.check(batch, shared.options.memory_bytes)?;
            check_apply(&tree.shared, batch, revision)?;
            if batch.is_empty() {
                return Ok(());
            }
            shared.make_room(&mut write, batch.bytes_len())?;
            shared.commit(&mut write, batch, revision)?
        };
        shared.finish(commit).map(|_| ())
    }

    /// Puts everything committed on stable storage (sync of the log).
    pub fn sync(&self) -> Result<()> {
        self.shared.check_writable()?;
        self.shared.sync_to(self.shared.appended.load())
    }
}

impl WriteView<'_> {
    /// Calls `with` on the entry of `key`, or on `None`.
    pub fn get<R>(&self, tree: &Tree, key: &[u8], with: impl FnOnce(Option<Entry<'_>>) -> R) -> Result<R> {
        let state = tree.shared.state.load();
        if tree.shared.dropped.load(Ordering::Acquire) {
            return Err(tree.shared.gone());
        }
        match find(&state, key, Revision::MAX, true)? {
            Lookup::Found(row) => Ok(with_entry(Some(row), || self.db.shared.clock.unix_ms(), with)),
            Lookup::Absent | Lookup::NeedsRead => Ok(with(None)),
        }
    }

    /// First (or last) live key of a tree within bounds, with its value: for `popitem`.
    pub fn edge(&self, tree: &Tree, bounds: &Bounds, reverse: bool) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let state = tree.shared.state.load_full();
        if tree.shared.dropped.load(Ordering::Acquire) {
            return Err(tree.shared.gone());
        }
        let shared = &self.db.shared;
        let scan = Scan::new(shared, &state, bounds.clone(), reverse, Revision::MAX, shared.clock.unix_ms())?;
        Ok(scan.row().map(|(key, value)| (key.to_vec(), value.to_vec())))
    }
}

impl Shared {
    /// The revision of the next commit. Called under the write lock.
    fn next_revision(&self) -> Revision {
        Revision(self.applied.load(Ordering::Relaxed) + 1)
    }

    /// What a conditional write that writes nothing has seen, and has to wait for before it answers.
    fn seen(&self) -> Commit {
        Commit { revision: Revision(self.applied.load(Ordering::Relaxed)), end: self.appended.load() }
    }

    /// Tells whether the log has no room for a batch.
    fn must_rotate(&self, write: &WriteState, batch: &Batch) -> bool {
        self.options.log && !write.log().fits(batch.bytes_len())
    }

    /// Tells whether appending a batch to the log takes a system call.
    fn writes_to_file(&self, write: &WriteState, batch: &Batch) -> bool {
        self.options.log && !write.log().copies(batch.bytes_len())
    }

    /// Appends a checked batch to the log and inserts it. Visible on return unless it first has to be durable.
    fn commit(&self, write: &mut WriteState, batch: &mut Batch, revision: Revision) -> Result<Commit> {
        let commit = self.insert(write, batch, revision)?;
        self.show(revision);
        Ok(commit)
    }

    /// Appends a checked batch to the log and inserts it: no reader sees it yet.
    pub(super) fn insert(&self, write: &mut WriteState, batch: &mut Batch, revision: Revision) -> Result<Commit> {
        if self.must_rotate(write, batch) {
            self.rotate(write, batch.bytes_len())?;
        }
        let half_done = HalfDone::of(self, "a panic in the middle of a commit");
        let end = if self.options.log {
            write.log_mut().append(batch.encoded(revision)).map_err(|error| self.poison(error))?
        } else {
            write.log().position()
        };
        write.logged = Some(revision);
        let user_bytes = write.insert(batch, revision, end) as u64;
        self.charge(write, batch.bytes_len());
        self.look_ahead(write);
        let counted = &self.counters.user_bytes;
        counted.store(counted.load(Ordering::Relaxed) + user_bytes, Ordering::Relaxed);
        // Order: the position before the revision is visible, so that a sync of what a reader saw covers it.
        self.appended.store(end);
        raise(&self.applied, revision);
        half_done.done();
        Ok(Commit { revision, end })
    }

    /// Shows what was inserted up to `revision` to readers, unless it first has to be durable. Under the write lock.
    pub(super) fn show(&self, revision: Revision) {
        if self.options.durability != Durability::Sync {
            raise(&self.visible, revision);
            self.mark_dirty();
        }
    }

    /// Goes on in a new log file that has room for a record of `len` bytes. Errors that may pass leave all as it was.
    pub(super) fn rotate(&self, write: &mut WriteState, len: usize) -> Result<()> {
        let ended = write.log().position();
        let rotated = match self.take_log(len) {
            Some(next) => write.log_mut().rotate_to(next),
            None => write.log_mut().rotate(self.new_file(), len),
        };
        rotated.map_err(|error| match error {
            refused @ Error::InvalidArgument { .. } => refused,
            passing if passing.may_pass() => passing,
            other => self.poison(other),
        })?;
        write.asked_log = false;
        let file = write.log().file();
        let mut logs = self.logs.lock();
        if let Some(last) = logs.last_mut() {
            last.1 = ended.offset;
        }
        logs.push((file, 0));
        drop(logs);
        if let Some(revision) = write.logged.take() {
            *self.ended.lock() = Some((ended.file, revision));
            self.has_ended.store(true, Ordering::Release);
        }
        self.appended.store(write.log().position());
        Ok(())
    }

    /// Asks for the next log file once the current one is half full.
    fn look_ahead(&self, write: &mut WriteState) {
        if self.options.log && !write.asked_log && write.log().is_half_full() {
            write.asked_log = true;
            self.ask(|work| work.log = true);
        }
    }

    /// What follows a commit once the write lock is free: waits until it is durable where that is asked, and shows it.
    pub(super) fn finish(&self, commit: Commit) -> Result<Revision> {
        if self.options.durability == Durability::Sync {
            self.sync_to(commit.end)?;
            self.visible.fetch_max(commit.revision.0, Ordering::AcqRel);
        }
        if !self.options.background {
            self.maintain();
        }
        Ok(commit.revision)
    }
}

/// Held while what must be whole is half done: where it is dropped before [`HalfDone::done`], no writes may follow.
pub(super) struct HalfDone<'a> {
    shared: &'a Shared,
    what: &'static str,
}

impl<'a> HalfDone<'a> {
    pub(super) fn of(shared: &'a Shared, what: &'static str) -> Self {
        Self { shared, what }
    }

    pub(super) fn done(self) {
        std::mem::forget(self);
    }
}

impl Drop for HalfDone<'_> {
    fn drop(&mut self) {
        self.shared.poison(Error::Poisoned(self.what.into()));
    }
}

fn check_op(op: &Op<'_>) -> Result<()> {
    if op.key.is_empty() || op.key.len() > KEY_BYTES_MAX {
        return Err(Error::invalid(
            format!("a key takes 1 to {KEY_BYTES_MAX} bytes, this one has {}", op.key.len()),
            "shorten the key, or keep the long part in the value",
        ));
    }
    let value_bytes = op.value.len() - if op.kind == Kind::PutExpiring { EXPIRY_BYTES } else { 0 };
    if value_bytes > VALUE_BYTES_MAX {
        return Err(Error::invalid(
            format!("a value takes up to {VALUE_BYTES_MAX} bytes, this one has {value_bytes}"),
            "split the value over several keys",
        ));
    }
    Ok(())
}

fn check_apply(tree: &TreeShared, batch: &Batch, revision: Revision) -> Result<()> {
    let last = tree.last.load(Ordering::Relaxed);
    if revision.0 <= last || revision == Revision::MAX {
        return Err(Error::invalid(
            format!("revision {} does not follow revision {last} of the tree", revision.0),
            "apply batches in the order of their revisions",
        ));
    }
    match batch.ops().find(|op| op.tree != tree.id()) {
        Some(op) => Err(Error::invalid(
            format!("the batch names tree {}, not tree {}", op.tree.0, tree.id().0),
            "apply one batch per tree",
        )),
        None => Ok(()),
    }
}

fn too_large(bytes: usize, memory_bytes: usize) -> Error {
    Error::invalid(
        format!("a batch of {bytes} bytes is more than a quarter of memory ({memory_bytes} bytes)"),
        "write less at once, or open the store with more memory=",
    )
}

fn unknown_tree(id: TreeId) -> Error {
    Error::invalid(format!("the batch names tree {}, which is not in the store", id.0), "was the tree dropped?")
}
