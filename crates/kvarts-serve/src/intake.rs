//! What connections hand inwards: the requests of clients and the messages of nodes, with a way to answer.
use kvarts_wire::v1;
use std::path::PathBuf;
use std::time::Instant;

pub mod refusal;

/// Takes the answer to a request. Called once, from any thread; it neither blocks nor calls back into the intake.
pub type Reply<R> = Box<dyn FnOnce(Result<R, v1::Error>) + Send>;

/// A node as its connections see it. No method blocks. Every reply is called exactly once, in the call or later, and not
/// long after the deadline; one that is dropped uncalled tells its client that the outcome is unknown.
pub trait Intake: Send + Sync + 'static {
    /// Reads keys.
    fn get(&self, request: v1::GetRequest, deadline: Instant, reply: Reply<v1::GetResponse>);
    /// Carries out a command.
    fn write(&self, request: v1::WriteRequest, deadline: Instant, reply: Reply<v1::WriteResponse>);
    /// Reads one page of a scan.
    fn scan(&self, request: v1::ScanRequest, deadline: Instant, reply: Reply<v1::ScanResponse>);
    /// Has Python answer: a verb and JSON text in, JSON text out.
    fn call(&self, verb: String, arguments: String, deadline: Instant, reply: Reply<String>);
    /// Who is in the cluster, and who leads, as far as this node knows.
    fn describe(&self, request: v1::DescribeRequest) -> v1::DescribeResponse;
    /// The keyspaces as this node has them.
    fn keyspaces(&self) -> Result<Vec<v1::Keyspace>, v1::Error>;
    /// Another node has come to send messages; `features` is what it says it knows, in Python's words.
    fn peer_came(&self, from: u64, features: String);
    /// Whether a node was removed from the cluster: then its streams are refused.
    fn is_removed(&self, _node: u64) -> bool {
        false
    }
    /// Another node refuses this one's streams, since it was removed from the cluster.
    fn was_removed(&self, _by: u64) {}
    /// Takes messages of another node.
    fn peer_messages(&self, from: u64, batch: v1::PeerBatch);
    /// Takes a snapshot whose files lie durably in `dir`, which is the intake's from here on.
    fn peer_snapshot(&self, from: u64, message: v1::PeerMessage, dir: PathBuf);
    /// Messages to a node may be lost: its connection broke, or there is none, or too many waited.
    fn peer_lost(&self, node: u64);
    /// The cluster's id and the node's own.
    fn identity(&self) -> (Vec<u8>, u64);
}
