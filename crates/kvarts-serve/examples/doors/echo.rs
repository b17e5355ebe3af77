//! An intake that answers gets with their first key as value: reads at once, as under a lease; writes from a thread of its
//! own, as the thread does that applies.
use kvarts_engine::fs::MemFs;
use kvarts_serve::front::{Front, FrontOptions};
use kvarts_serve::intake::{Intake, Reply, refusal};
use kvarts_serve::peers::{PeerOptions, Peers};
use kvarts_wire::v1;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

struct Echo {
    writes: Sender<Reply<v1::WriteResponse>>,
}

/// Serves an echo until `ended`.
pub async fn serve(listener: TcpListener, ended: impl Future<Output = ()> + Send) {
    let (writes, taken) = channel::<Reply<v1::WriteResponse>>();
    thread::spawn(move || {
        for (revision, reply) in taken.into_iter().enumerate() {
            let result = Some(v1::Result { revision: revision as u64, ..v1::Result::default() });
            reply(Ok(v1::WriteResponse { result }));
        }
    });
    let echo: Arc<dyn Intake> = Arc::new(Echo { writes });
    let (runtime, fs) = (Handle::current(), Arc::new(MemFs::volatile()));
    let peers = Peers::new(runtime, Arc::clone(&echo), fs, PathBuf::from("/"), PeerOptions::default());
    Front::serve(listener, echo, peers, FrontOptions::default(), ended).await;
}

impl Intake for Echo {
    fn get(&self, request: v1::GetRequest, _deadline: Instant, reply: Reply<v1::GetResponse>) {
        let found = |key| v1::get_response::Found { found: true, value: key, revision: 1 };
        reply(Ok(v1::GetResponse { rows: request.keys.into_iter().map(found).collect(), revision: 1, now_ms: 1 }));
    }

    fn write(&self, _request: v1::WriteRequest, _deadline: Instant, reply: Reply<v1::WriteResponse>) {
        drop(self.writes.send(reply));
    }

    fn scan(&self, _request: v1::ScanRequest, _deadline: Instant, reply: Reply<v1::ScanResponse>) {
        reply(Ok(v1::ScanResponse::default()));
    }

    /// "cpu": nanoseconds of CPU time that this process took so far.
    fn call(&self, verb: String, _arguments: String, _deadline: Instant, reply: Reply<String>) {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        reply(match verb.as_str() {
            "cpu" => Ok((time.tv_sec * 1_000_000_000 + time.tv_nsec).to_string()),
            _ => Err(refusal::invalid("no such verb", "cpu")),
        });
    }

    fn describe(&self, _request: v1::DescribeRequest) -> v1::DescribeResponse {
        v1::DescribeResponse { node_id: 1, leader_id: 1, ..v1::DescribeResponse::default() }
    }

    fn keyspaces(&self) -> Result<Vec<v1::Keyspace>, v1::Error> {
        Ok(Vec::new())
    }

    fn peer_came(&self, _from: u64, _features: String) {}

    fn peer_messages(&self, _from: u64, _batch: v1::PeerBatch) {}

    fn peer_snapshot(&self, _from: u64, _message: v1::PeerMessage, _dir: PathBuf) {}

    fn peer_lost(&self, _node: u64) {}

    fn identity(&self) -> (Vec<u8>, u64) {
        (vec![1], 1)
    }
}
