//! The muscle as its owner holds it: opened, started, polled, stopped.
use super::apply;
use super::care::{self, Care};
use super::clock::Time;
use super::config::Config;
use super::core::{Core, Parts};
use super::door::Door;
use super::event::Event;
use super::fence;
use super::group::{Group, Role};
use super::keeper;
use super::open;
use super::perform;
use super::routes::Known;
use super::send;
use super::turn::Turn;
use crate::front::{Front, FrontOptions};
use crate::intake::Intake;
use crate::machine;
use crate::nodelog::{EntryMeta, HardState};
use crate::peers::{PeerOptions, Peers};
use bytes::Bytes;
use kvarts_engine::fs::{Fs, LockOutcome};
use kvarts_engine::sync::Mutex;
use kvarts_engine::{Error, Result};
use kvarts_wire::v1;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// How often it is looked for requests that wait too long.
const EXPIRY_MS: u64 = 20;

/// The muscle of a node.
pub struct Muscle {
    core: Arc<Core>,
    applies: Sender<apply::Job>,
    keeper: Sender<keeper::Job>,
    life: Mutex<Life>,
}

/// What ends when the muscle stops.
struct Life {
    runtime: Option<Runtime>,
    threads: Vec<JoinHandle<()>>,
    address: Option<SocketAddr>,
    shutdown: Option<oneshot::Sender<()>>,
    /// Other processes stay off the directory while this lives.
    lock: Option<Box<dyn Send + Sync>>,
}

/// An entry of the log as Python reads it: the payload only where it is not commands of users.
pub type SeenEntry = (EntryMeta, Option<Bytes>);

impl Muscle {
    /// Opens a node's directory. Nothing is served yet. Errors: those of log and state machines.
    pub fn open(fs: Arc<dyn Fs>, time: Arc<dyn Time>, config: Config) -> Result<Self> {
        open::make_dirs(&fs, &config)?;
        let lock = take_lock(&fs, &config)?;
        let log = open::open_log(&fs, &config)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(config.workers.max(1))
            .thread_name("kvarts-io")
            .enable_all()
            .build()
            .map_err(|error| Error::io("starting threads for", &config.data, error))?;
        let ((applies, apply_jobs), (keeper, keeper_jobs)) = (channel(), channel());
        let parts = Parts {
            fs,
            time,
            log,
            runtime: runtime.handle().clone(),
            applies: applies.clone(),
            keeper: keeper.clone(),
        };
        let core = Core::new(config, parts);
        open::open_groups(&core)?;
        let threads = start_threads(&core, apply_jobs, keeper_jobs)?;
        let life = Life { runtime: Some(runtime), threads, address: None, shutdown: None, lock: Some(lock) };
        Ok(Self { core, applies, keeper, life: Mutex::new(life) })
    }

    #[cfg(test)]
    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Listens, and serves from now on. Errors: `Io` where the address cannot be had; `InvalidArgument` the second time.
    pub fn start(&self) -> Result<()> {
        let core = &self.core;
        let mut life = self.life.lock();
        if life.shutdown.is_some() {
            return Err(Error::invalid("the muscle was started before", "start it once"));
        }
        let Some(runtime) = &life.runtime else { return Err(Error::Closed) };
        let refused = |error| Error::io("listening at", std::path::Path::new(&core.config.listen), error);
        let listener = runtime.block_on(TcpListener::bind(&core.config.listen)).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let door: Arc<dyn Intake> = Arc::new(Door(Arc::clone(core)));
        let (threads, fs) = (runtime.handle().clone(), Arc::clone(&core.fs));
        let options = PeerOptions { features: core.config.features.clone(), ..PeerOptions::default() };
        let peers = Peers::new(threads, Arc::clone(&door), fs, core.incoming(), options);
        peers.set(self.others());
        drop(core.peers.set(peers.clone()));
        let (shutdown, stopped) = oneshot::channel();
        runtime.spawn(Front::serve(
            listener,
            door,
            peers,
            front_options(&core.config),
            async move { drop(stopped.await) },
        ));
        runtime.spawn(expire(Arc::clone(core)));
        (life.address, life.shutdown) = (Some(address), Some(shutdown));
        Ok(())
    }

    /// Where it listens, once it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.life.lock().address
    }

    /// Returns the clock's milliseconds and what happened; waits for that until the clock shows `until_ms`.
    pub fn poll(&self, until_ms: u64) -> (u64, Vec<Event>) {
        let core = &self.core;
        let mut events = core.queue.take(|| Duration::from_millis(until_ms.saturating_sub(core.time.boot_ms())));
        for event in &mut events {
            match event {
                // It grows on until a turn takes it.
                Event::Write { handle, size, .. } => *size = core.handles.size(*handle) as usize,
                Event::Read { group, context } => {
                    if let Some(group) = core.group(*group) {
                        // From here on reads may be newer than the round that confirms the batch.
                        group.reads.close_batch(*context);
                    }
                }
                _ => {}
            }
        }
        (core.time.boot_ms(), events)
    }

    /// Carries out a turn. Never blocks.
    pub fn perform(&self, turn: Turn) {
        perform::perform(&self.core, turn);
    }

    /// Lets the poll under way, or the next, return at once.
    pub fn wake(&self) {
        self.core.queue.wake();
    }

    /// Answers a call.
    pub fn answer(&self, id: u64, answer: String) {
        self.core.calls.settle(id, Ok(answer));
    }

    /// Refuses a call.
    pub fn refuse(&self, id: u64, error: v1::Error) {
        self.core.calls.settle(id, Err(error));
    }

    /// Says where nodes listen.
    pub fn set_peers(&self, addresses: BTreeMap<u64, String>) {
        self.core.members.set(addresses);
        if let Some(peers) = self.core.peers.get() {
            peers.set(self.others());
        }
    }

    /// Says which nodes were removed from the cluster: they are told so when they come.
    pub fn set_removed(&self, removed: BTreeSet<u64>) {
        self.core.members.set_removed(removed);
    }

    /// Sends a word of Python's to another node. It may get lost.
    pub fn tell(&self, node: u64, word: Bytes) {
        send::tell(&self.core, node, word);
    }

    fn others(&self) -> BTreeMap<u64, String> {
        let mut others = self.core.members.addresses();
        others.remove(&self.core.config.node);
        others
    }

    /// Says who leads a group. Errors: `InvalidArgument` for an unknown group, as in all that name one.
    pub fn set_role(&self, group: u64, role: Role) -> Result<()> {
        if !role.leads {
            self.core.queue.entry_arrived(group, u64::MAX);
        }
        self.group(group)?.set_role(role);
        Ok(())
    }

    /// Numbers of the groups that this node holds.
    pub fn groups(&self) -> Vec<u64> {
        self.core.groups().iter().map(|group| group.id).collect()
    }

    /// Adds a group: with the membership that founds it, or empty, to be told by a leader. Durable on return.
    pub fn add_group(&self, group: u64, membership: &[u8]) -> Result<()> {
        open::add_group(&self.core, group, membership)
    }

    /// The same without waiting for it: an event says when the group is there. One that is there already is left as it is.
    pub fn open_group(&self, group: u64, membership: Vec<u8>) {
        self.core.to_keeper(keeper::Job::Open { group, membership });
    }

    /// What is known of a digest of a group's rows: JSON with a `state`. Nothing where none of this number was begun here.
    pub fn check(&self, group: u64, number: u64) -> Option<String> {
        self.core.group(group)?.checks.told(number).map(|told| told.to_string())
    }

    /// Keeps history from a time on (Unix milliseconds; 0: from what the groups hold now) for so long. Returns the time.
    pub fn hold(&self, number: u64, since_ms: u64, for_ms: u64) -> u64 {
        let until = self.core.time.now() + Duration::from_millis(for_ms);
        let stamps = self.core.groups().into_iter().map(|group| group.machine.position().stamp_us / 1_000);
        let since_ms = if since_ms == 0 { stamps.min().unwrap_or(0).max(1) } else { since_ms };
        self.core.holds.hold(number, since_ms, until);
        since_ms
    }

    /// Unix milliseconds, by the node's clock.
    pub fn unix_ms(&self) -> u64 {
        self.core.time.unix_us() / 1_000
    }

    /// Ends a hold.
    pub fn release(&self, number: u64) {
        self.core.holds.release(number);
    }

    /// Fences this node's replica of a group: it serves nobody from now on. `fences` says when that lasts.
    pub fn fence(&self, group: u64, why: String) {
        fence::begin(&self.core, group, why);
    }

    /// Replicas that are fenced, durably, with why.
    pub fn fences(&self) -> BTreeMap<u64, String> {
        self.core.fences.durable()
    }

    /// Gives up a fenced replica with its files; the group may be opened again.
    pub fn lift_fence(&self, group: u64) {
        self.core.clear_fenced(group);
    }

    /// Says which group keeps what.
    pub fn set_shards(&self, known: Known) {
        self.core.routes.set(known);
    }

    /// Index and term that a group's state machine has reached.
    pub fn position(&self, group: u64) -> Result<(u64, u64)> {
        let position = self.group(group)?.machine.position();
        Ok((position.index, position.term))
    }

    /// The membership at that position.
    pub fn membership(&self, group: u64) -> Result<Vec<u8>> {
        Ok(self.group(group)?.machine.membership())
    }

    /// Term, vote and commit as written last.
    pub fn hard_state(&self, group: u64) -> Option<HardState> {
        self.core.log.hard_state(group)
    }

    /// Index of the first entry kept.
    pub fn first_index(&self, group: u64) -> Result<u64> {
        self.core.log.first_index(group).ok_or_else(|| unknown(group))
    }

    /// Index of the last entry.
    pub fn last_index(&self, group: u64) -> Result<u64> {
        self.core.log.last_index(group).ok_or_else(|| unknown(group))
    }

    /// The term of an entry, or of the one before the first.
    pub fn term_at(&self, group: u64, index: u64) -> Option<u64> {
        self.core.log.term_at(group, index)
    }

    /// Entries of `start..stop` within `bytes_max`, at least one where there is one.
    pub fn entries(&self, group: u64, start: u64, stop: u64, bytes_max: u64) -> Result<Vec<SeenEntry>> {
        let log = &self.core.log;
        let seen = |meta: EntryMeta| {
            let hidden = meta.kind == apply::NORMAL;
            Ok((meta, if hidden { None } else { Some(log.payload(group, meta.index)?) }))
        };
        log.metas(group, start, stop, bytes_max).into_iter().map(seen).collect()
    }

    /// Index, term and membership of the state that survives without the log; nothing where there is none yet.
    pub fn snapshot(&self, group: u64) -> Result<Option<(u64, u64, Vec<u8>)>> {
        let (position, membership) =
            self.group(group)?.machine.flushed().map_err(|error| self.refused(group, error))?;
        Ok((position.index > 0).then_some((position.index, position.term, membership)))
    }

    /// A system row.
    pub fn system(&self, group: u64, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.group(group)?.machine.system(key).map_err(|error| self.refused(group, error))
    }

    /// System rows under a prefix, by key.
    pub fn system_scan(&self, group: u64, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.group(group)?.machine.system_scan(prefix).map_err(|error| self.refused(group, error))
    }

    /// Puts a group's state machine on disk now. Returns the index that it holds.
    pub fn flush(&self, group: u64) -> Result<u64> {
        let group = self.group(group)?;
        keeper::flush(&self.core, &group).map_err(|error| self.refused(group.id, error))
    }

    /// Does what an operator asks of all groups, without waiting for it; answers the call when it is done.
    pub fn care(&self, care: Care, call_id: u64) {
        care::begin(&self.core, self.core.groups(), care, call_id);
    }

    /// Measures groups, each as a shard of its keyspace, without waiting: an event tells of each.
    pub fn measure(&self, groups: &[(u64, u32)]) {
        care::measure(&self.core, groups);
    }

    /// Counters and gauges by name.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        let counters = self.core.stats.counters().map(|(name, _, value)| (name, value));
        counters.into_iter().chain(self.core.gauges().into_iter().map(|gauge| (gauge.name, gauge.value))).collect()
    }

    /// All figures in the text format of Prometheus.
    pub fn metrics_text(&self) -> String {
        self.core.stats.text(&self.core.gauges())
    }

    /// Ends everything: whoever waits is answered, threads are joined, files closed. Not durable beyond what was synced.
    pub fn stop(&self) {
        let (runtime, threads, shutdown, lock) = {
            let mut life = self.life.lock();
            (life.runtime.take(), std::mem::take(&mut life.threads), life.shutdown.take(), life.lock.take())
        };
        drop(shutdown);
        self.core.syncs.stop();
        drop(self.applies.send(apply::Job::Stop));
        drop(self.keeper.send(keeper::Job::Stop));
        for thread in threads {
            drop(thread.join());
        }
        self.core.give_up("the node stops");
        if let Some(runtime) = runtime {
            // Answers just given leave while it ends.
            runtime.shutdown_timeout(Duration::from_millis(500));
        }
        for group in self.core.groups() {
            // What it holds beyond its tables is in the log.
            drop(group.machine.close());
        }
        drop(lock);
    }

    fn refused(&self, group: u64, error: machine::Error) -> Error {
        open::of_machine(&self.core, group, error)
    }

    fn group(&self, id: u64) -> Result<Arc<Group>> {
        self.core.group(id).ok_or_else(|| unknown(id))
    }
}

impl Drop for Muscle {
    fn drop(&mut self) {
        self.stop();
    }
}

fn unknown(group: u64) -> Error {
    Error::invalid(format!("this node holds no group {group}"), "groups() lists them")
}

fn take_lock(fs: &Arc<dyn Fs>, config: &Config) -> Result<Box<dyn Send + Sync>> {
    let path = config.data.join("LOCK");
    let holder = format!("node {} (pid {})", config.node, std::process::id());
    match fs.lock(&path, &holder).map_err(|error| Error::io("locking", &path, error))? {
        LockOutcome::Taken(lock) => Ok(lock),
        LockOutcome::Held(holder) => Err(Error::Locked { holder, path: config.data.clone() }),
    }
}

fn start_threads(
    core: &Arc<Core>,
    applies: Receiver<apply::Job>,
    keeper: Receiver<keeper::Job>,
) -> Result<Vec<JoinHandle<()>>> {
    let failed = |error| Error::io("starting threads for", &core.config.data, error);
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    let (one, two, three) = (Arc::clone(core), Arc::clone(core), Arc::clone(core));
    Ok(vec![
        named("kvarts-sync").spawn(move || one.syncs.run(&one)).map_err(failed)?,
        named("kvarts-apply").spawn(move || apply::run(&two, &applies)).map_err(failed)?,
        named("kvarts-keeper").spawn(move || keeper::run(&three, &keeper)).map_err(failed)?,
    ])
}

/// Answers whoever waits too long.
async fn expire(core: Arc<Core>) {
    let mut interval = tokio::time::interval(Duration::from_millis(EXPIRY_MS));
    loop {
        interval.tick().await;
        core.holds.expire(core.time.now());
        if core.crowd.now() == 0 {
            continue;
        }
        let now = core.time.now();
        let groups = core.groups();
        let late = core.handles.expire(now) + core.calls.expire(now);
        let late = late + groups.iter().map(|group| group.expire(now)).sum::<usize>();
        core.stats.expired.add(late as u64);
    }
}

fn front_options(config: &Config) -> FrontOptions {
    FrontOptions { request_timeout: Duration::from_millis(config.request_timeout_ms), ..FrontOptions::default() }
}
