//! What all threads of a muscle share.
//!
//! No lock of it is held while another is taken, nor across a file, a socket or an answer; see docs/internals/muscle.md.
use super::apply;
use super::calls::Calls;
use super::clock::Time;
use super::config::Config;
use super::event::Event;
use super::failure::Failure;
use super::fence::Fences;
use super::group::Group;
use super::handles::{Handles, Held};
use super::keeper;
use super::members::Members;
use super::open;
use super::pending::Crowd;
use super::queue::Queue;
use super::routes::Routes;
use super::stats::{Gauge, Stats};
use super::sync::Syncs;
use crate::machine::Holds;
use crate::nodelog::NodeLog;
use crate::peers::Peers;
use kvarts_engine::db::Memory;
use kvarts_engine::fs::Fs;
use kvarts_engine::sync::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock, Weak};
use tokio::runtime::Handle;

/// Bytes of entries for which a flush is worth a table.
const FLUSH_BYTES_MIN: u64 = 64 << 10;

/// What all threads share.
pub struct Core {
    /// Settings.
    pub config: Config,
    /// Files.
    pub fs: Arc<dyn Fs>,
    /// Clocks.
    pub time: Arc<dyn Time>,
    /// The node's log.
    pub log: NodeLog,
    /// What all state machines take their memory from.
    pub memory: Arc<Memory>,
    /// Events for Python.
    pub queue: Queue,
    /// Bytes that Python names.
    pub handles: Handles,
    /// Turns that wait for the log.
    pub syncs: Syncs,
    /// Calls that Python answers.
    pub calls: Calls,
    /// Held by the compaction or check that an operator asked for.
    pub care: tokio::sync::Mutex<()>,
    /// Held by the digest that is counted.
    pub checking: tokio::sync::Mutex<()>,
    /// History that readers want kept.
    pub holds: Arc<Holds>,
    /// Replicas that serve nobody, since they differ from the others.
    pub fences: Fences,
    /// Requests under way.
    pub crowd: Arc<Crowd>,
    /// Who is in the cluster.
    pub members: Members,
    /// Which group keeps what.
    pub routes: Routes,
    /// Figures.
    pub stats: Stats,
    /// Streams to other nodes, once the node has started.
    pub peers: OnceLock<Peers>,
    /// Threads for connections.
    pub runtime: Handle,
    groups: RwLock<BTreeMap<u64, Arc<Group>>>,
    /// Groups whose files are being put away, and with which membership each is to be opened again after that, if it is.
    closing: Mutex<BTreeMap<u64, Option<Vec<u8>>>>,
    /// Groups that a copy of another is to become, and with which membership each is to be opened if it does not.
    coming: Mutex<BTreeMap<u64, Option<Vec<u8>>>>,
    /// Shards are being measured: once at a time.
    pub measuring: Arc<tokio::sync::Mutex<()>>,
    applies: Sender<apply::Job>,
    keeper: Sender<keeper::Job>,
    /// Never used again, not even after a restart: an old confirmation may still be on its way.
    last_context: AtomicU64,
    failed: OnceLock<Failure>,
    me: Weak<Self>,
}

/// What a [`Core`] is made of beside its settings.
pub struct Parts {
    /// Files.
    pub fs: Arc<dyn Fs>,
    /// Clocks.
    pub time: Arc<dyn Time>,
    /// The node's log.
    pub log: NodeLog,
    /// Threads for connections.
    pub runtime: Handle,
    /// To the thread that applies.
    pub applies: Sender<apply::Job>,
    /// To the thread for what takes long.
    pub keeper: Sender<keeper::Job>,
}

impl Core {
    /// Puts the parts together.
    pub fn new(config: Config, parts: Parts) -> Arc<Self> {
        let Parts { fs, time, log, runtime, applies, keeper } = parts;
        Arc::new_cyclic(|me| Self {
            queue: Queue::default(),
            handles: Handles::new(config.handle_bytes_max),
            syncs: Syncs::default(),
            calls: Calls::default(),
            care: tokio::sync::Mutex::default(),
            checking: tokio::sync::Mutex::default(),
            holds: Arc::default(),
            fences: Fences::default(),
            crowd: Crowd::new(config.requests_max),
            members: Members::default(),
            routes: Routes::default(),
            stats: Stats::default(),
            peers: OnceLock::new(),
            groups: RwLock::default(),
            closing: Mutex::default(),
            coming: Mutex::default(),
            measuring: Arc::default(),
            // The clock's microseconds leave room for sixteen reads in each.
            last_context: AtomicU64::new(time.unix_us() << 4),
            failed: OnceLock::new(),
            me: Weak::clone(me),
            memory: open::memory_of_machines(config.memory_bytes),
            config,
            fs,
            time,
            log,
            runtime,
            applies,
            keeper,
        })
    }

    /// Another hold on the same core.
    pub fn me(&self) -> Arc<Self> {
        self.me.upgrade().expect("somebody holds what `self` borrows")
    }

    /// Returns a group that this node holds.
    pub fn group(&self, id: u64) -> Option<Arc<Group>> {
        self.groups.read().get(&id).cloned()
    }

    /// All groups, by number.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.read().values().cloned().collect()
    }

    /// Takes in a group.
    pub fn insert_group(&self, group: Arc<Group>) {
        self.groups.write().insert(group.id, group);
    }

    /// Lets go of a group; until `closed` it cannot be opened again.
    pub fn remove_group(&self, id: u64) -> Option<Arc<Group>> {
        let group = self.groups.write().remove(&id)?;
        self.closing.lock().insert(id, None);
        Some(group)
    }

    /// Lets go of a group that stays on disk as it is.
    pub fn take_group(&self, id: u64) -> Option<Arc<Group>> {
        self.groups.write().remove(&id)
    }

    /// A fenced group is given up: until `closed` it cannot be opened again.
    pub fn clear_fenced(&self, id: u64) {
        self.closing.lock().insert(id, None);
        self.to_apply(apply::Job::Lift(id));
    }

    /// Returns the membership with which a group may be opened now; nothing where that waits until it is closed, or until a
    /// copy of another has become it.
    pub fn may_open(&self, id: u64, membership: Vec<u8>) -> Option<Vec<u8>> {
        for held_back in [&self.closing, &self.coming] {
            if let Some(later) = held_back.lock().get_mut(&id) {
                *later = Some(membership);
                return None;
            }
        }
        Some(membership)
    }

    /// The files of a group are put away: whoever asked for it meanwhile gets it now.
    pub fn closed(&self, group: u64) {
        let again = self.closing.lock().remove(&group).flatten();
        self.open_after(group, again);
    }

    /// A group is to come by a split: until `came` nobody opens an empty one in its place.
    pub fn comes(&self, group: u64) {
        self.coming.lock().entry(group).or_default();
    }

    /// A group came by its split, or will not: then whoever asked for it meanwhile gets an empty one.
    pub fn came(&self, group: u64) {
        let later = self.coming.lock().remove(&group).flatten();
        self.open_after(group, later);
    }

    fn open_after(&self, group: u64, membership: Option<Vec<u8>>) {
        if let Some(membership) = membership {
            self.to_keeper(keeper::Job::Open { group, membership });
        }
    }

    /// Gives the thread that applies something to do.
    pub fn to_apply(&self, job: apply::Job) {
        // It ends before its sender only when the node stops or has failed.
        drop(self.applies.send(job));
    }

    /// Gives the thread for what takes long something to do.
    pub fn to_keeper(&self, job: keeper::Job) {
        drop(self.keeper.send(job));
    }

    /// A number for a batch of reads.
    pub fn next_context(&self) -> u64 {
        self.last_context.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The node cannot go on: Python hears why, everybody who waits is answered, and no turn is carried out any more.
    pub fn fail(&self, reason: Failure) {
        if self.failed.set(reason.clone()).is_ok() {
            self.queue.push(Event::Stop(Some(reason)));
            self.give_up("the node stops");
        }
    }

    /// Why the node cannot go on.
    pub fn failure(&self) -> Option<&Failure> {
        self.failed.get()
    }

    /// Answers everybody who waits.
    pub fn give_up(&self, message: &str) {
        for held in self.handles.clear() {
            let Held::Writes { writes, .. } = held else { continue };
            for answer in writes.into_iter().filter_map(|write| write.answer) {
                answer.refuse(super::refusal::commit_unknown(message));
            }
        }
        for group in self.groups() {
            group.give_up(message);
        }
        self.calls.give_up(message);
    }

    /// Where snapshots of other nodes lie.
    pub fn incoming(&self) -> PathBuf {
        self.config.data.join("incoming")
    }

    /// Where snapshots for other nodes lie while they are sent.
    pub fn outgoing(&self) -> PathBuf {
        self.config.data.join("outgoing")
    }

    /// Where the state machines of groups lie.
    pub fn shards(&self) -> PathBuf {
        self.config.data.join("shards")
    }

    /// Where a group's state machine lies.
    pub fn shard(&self, group: u64) -> PathBuf {
        self.shards().join(group.to_string())
    }

    /// The group whose state machine has most that is in no table, if it is worth a flush.
    pub fn largest_unflushed(&self) -> Option<Arc<Group>> {
        let groups = self.groups.read();
        let waiting = groups.values().filter(|group| !group.flushing.load(Ordering::Relaxed));
        let bytes = |group: &&Arc<Group>| group.unflushed_bytes.load(Ordering::Relaxed);
        waiting.max_by_key(bytes).filter(|group| bytes(group) >= FLUSH_BYTES_MIN).cloned()
    }

    /// Removes a directory and what is in it.
    pub fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        for name in self.fs.list(dir)? {
            let path = dir.join(name);
            if self.fs.remove(&path).is_err() {
                self.remove_dir(&path)?;
            }
        }
        self.fs.remove_dir(dir)
    }

    /// Values at this moment.
    pub fn gauges(&self) -> Vec<Gauge> {
        let groups = self.groups();
        let waiting = groups.iter().map(|group| group.waiting_entries() as u64).sum();
        vec![
            Gauge { name: "requests", help: "Requests under way.", value: self.crowd.now() as u64 },
            Gauge { name: "handles", help: "Handles that Python may name.", value: self.handles.len() as u64 },
            Gauge { name: "handle_bytes", help: "Bytes behind handles.", value: self.handles.bytes() },
            Gauge { name: "waiting_entries", help: "Entries whose writers wait.", value: waiting },
            Gauge { name: "holds", help: "Readers for which history is kept.", value: self.holds.count() as u64 },
            Gauge { name: "held_turns", help: "Turns that wait for the log.", value: self.syncs.waiting() as u64 },
        ]
    }
}
