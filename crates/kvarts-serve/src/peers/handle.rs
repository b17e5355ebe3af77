//! The connections to all other nodes.
use super::lane::{Lane, Queued};
use super::options::PeerOptions;
use super::sender;
use super::service::PeerService;
use super::snapshot;
use crate::intake::Intake;
use kvarts_engine::fs::Fs;
use kvarts_engine::sync::{Mutex, RwLock};
use kvarts_wire::v1::peer_server::PeerServer;
use kvarts_wire::v1::{PeerBatch, PeerMessage};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// Largest message taken from another node: an entry of the largest size has room in it.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Told whether a snapshot was delivered. Called once.
pub type Done = Box<dyn FnOnce(bool) + Send>;

/// The connections of a node to the others. Clones are the same.
#[derive(Clone)]
pub struct Peers {
    context: Arc<Context>,
    routes: Arc<RwLock<BTreeMap<u64, Route>>>,
}

/// What all connections share.
pub(super) struct Context {
    pub runtime: Handle,
    pub intake: Arc<dyn Intake>,
    pub fs: Arc<dyn Fs>,
    /// Where snapshots are received.
    pub incoming: PathBuf,
    pub options: PeerOptions,
    /// Number of the next snapshot's directory.
    pub next_dir: AtomicU64,
    /// Directories that a failed snapshot left empty.
    pub spare_dirs: Mutex<Vec<PathBuf>>,
    pub receiving: Arc<Semaphore>,
}

/// The way to one node.
struct Route {
    address: String,
    lane: Arc<Lane>,
    task: JoinHandle<()>,
}

impl Peers {
    /// Connections to nobody yet. Snapshots are received into directories under `incoming`, which must exist.
    pub fn new(
        runtime: Handle,
        intake: Arc<dyn Intake>,
        fs: Arc<dyn Fs>,
        incoming: PathBuf,
        options: PeerOptions,
    ) -> Self {
        let receiving = Arc::new(Semaphore::new(options.snapshots_max));
        let (next_dir, spare_dirs) = (AtomicU64::new(1), Mutex::default());
        let context = Context { runtime, intake, fs, incoming, options, next_dir, spare_dirs, receiving };
        Self { context: Arc::new(context), routes: Arc::default() }
    }

    /// Says where other nodes listen (not this one). Connections to the others, and to old addresses, end.
    pub fn set(&self, addresses: BTreeMap<u64, String>) {
        let mut routes = self.routes.write();
        routes.retain(|node, route| addresses.get(node) == Some(&route.address));
        for (node, address) in addresses {
            routes.entry(node).or_insert_with(|| self.open(node, address));
        }
    }

    /// Sends messages to a node, some time. False: they are dropped, since nobody knows where it listens or too much waits.
    pub fn send(&self, to: u64, batch: PeerBatch) -> bool {
        let queued = match self.routes.read().get(&to) {
            Some(route) => route.lane.add(batch),
            None => Queued::Dropped,
        };
        if matches!(queued, Queued::FirstDropped) {
            self.context.intake.peer_lost(to);
        }
        matches!(queued, Queued::Waits)
    }

    /// Sends a message with the files of `dir`, on a connection of its own. `dir` must stay until `done` is called.
    pub fn send_snapshot(&self, to: u64, message: PeerMessage, dir: PathBuf, done: Done) {
        let address = self.routes.read().get(&to).map(|route| route.address.clone());
        match address {
            Some(address) => {
                let sending = snapshot::send(Arc::clone(&self.context), to, address, message, dir, done);
                drop(self.context.runtime.spawn(sending));
            }
            None => done(false),
        }
    }

    /// The door for other nodes. Its streams end on `stop`.
    pub fn service(&self, stop: watch::Receiver<bool>) -> PeerServer<PeerService> {
        let service = PeerService { context: Arc::clone(&self.context), stop };
        PeerServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn open(&self, node: u64, address: String) -> Route {
        let context = &self.context;
        let lane = Arc::new(Lane::new(context.options.queue_bytes_max));
        let (intake, options) = (Arc::clone(&context.intake), context.options.clone());
        let task = context.runtime.spawn(sender::run(Arc::clone(&lane), intake, node, address.clone(), options));
        Route { address, lane, task }
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.task.abort();
    }
}
