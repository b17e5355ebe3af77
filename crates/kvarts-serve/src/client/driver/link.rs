//! One node: its channel, its stream of batches, and the tasks that carry what it says to the driver.
use super::super::failure;
use futures_util::Stream;
use kvarts_wire::v1;
use kvarts_wire::v1::cluster_client::ClusterClient;
use kvarts_wire::v1::kv_client::KvClient;
use prost::Message;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tonic::transport::{Channel, Endpoint};

/// Longest wait for a connection, and for the answer to a probe.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections are tried, by a ping, this often.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// A connection whose ping is unanswered for so long is closed.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes under way per stream and connection.
const WINDOW_BYTES: u32 = 8 << 20;
/// Largest response taken: a node answers a page, or the keys that were asked for.
const RESPONSE_BYTES_MAX: usize = 1 << 30;
/// Requests, and bytes about, that go out as one message; one request may be larger by itself.
const BATCH_REQUESTS: usize = 1024;
const BATCH_BYTES: usize = 1 << 20;

/// Number of a node in the driver's list.
pub type NodeId = usize;
/// Number of a stream, never used twice.
pub type LinkId = u64;

/// What the tasks of nodes tell the driver.
pub enum Event {
    /// A node said who it takes for the leader, or did not answer.
    Probed(NodeId, Result<v1::DescribeResponse, String>),
    /// Answers came on a stream.
    Answers(LinkId, Vec<v1::StreamResponse>),
    /// A stream ended; with an error where a request was too large to be read.
    Lost(LinkId, String, Option<Box<v1::Error>>),
    /// A call outside the stream ended. The flag tells whether the node may have seen it.
    Ended(u64, Result<super::Answer, Box<v1::Error>>),
}

/// A node that may lead.
pub struct Node {
    pub address: Arc<str>,
    channel: Channel,
    pub link: Option<Link>,
    /// A probe is under way.
    pub probing: bool,
    /// The last probe was answered.
    pub answers: bool,
    /// What came of it last, for errors.
    pub news: String,
}

/// A stream of batches to a node.
pub struct Link {
    pub id: LinkId,
    outgoing: Arc<Outgoing>,
    task: JoinHandle<()>,
}

impl Node {
    /// A node that nobody talked to yet. Errors: text that is no host:port.
    pub fn new(address: &str) -> Result<Self, String> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
        let channel = endpoint
            .connect_timeout(PROBE_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .connect_lazy();
        let news = "not asked yet".to_owned();
        Ok(Self { address: address.into(), channel, link: None, probing: false, answers: false, news })
    }

    /// Asks the node who leads, and for the shard map unless it is this version.
    pub fn probe(&mut self, node: NodeId, map_version: u64, events: &UnboundedSender<Event>) {
        self.probing = true;
        let (mut client, events) = (ClusterClient::new(self.channel.clone()), events.clone());
        tokio::spawn(async move {
            let asked = timeout(PROBE_TIMEOUT, client.describe(v1::DescribeRequest { map_version })).await;
            let answer = match asked {
                Ok(Ok(response)) => Ok(response.into_inner()),
                Ok(Err(status)) => Err(root_cause(&status)),
                Err(_) => Err("no answer".to_owned()),
            };
            let _ = events.send(Event::Probed(node, answer));
        });
    }

    /// Opens a stream.
    pub fn open(&mut self, id: LinkId, events: &UnboundedSender<Event>) {
        let outgoing = Arc::new(Outgoing::default());
        let client = KvClient::new(self.channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX);
        let task = tokio::spawn(read(client, Batches(Arc::clone(&outgoing)), id, events.clone()));
        self.link = Some(Link { id, outgoing, task });
    }

    /// Makes a call outside the stream.
    pub fn ask(&self, call: u64, request: super::Unary, deadline: Instant, events: &UnboundedSender<Event>) {
        let (channel, events) = (self.channel.clone(), events.clone());
        tokio::spawn(async move {
            let patience = deadline.saturating_duration_since(Instant::now());
            let answer = match timeout(patience, unary(channel, request, patience)).await {
                Ok(answer) => answer.map_err(|status| failure::from_status(&status)),
                Err(_) => return,
            };
            let _ = events.send(Event::Ended(call, answer));
        });
    }
}

/// Asks, and tells the node how long somebody waits for the answer.
async fn unary(channel: Channel, request: super::Unary, patience: Duration) -> Result<super::Answer, tonic::Status> {
    use super::{Answer, Unary};
    use kvarts_wire::v1::admin_client::AdminClient;
    let mut cluster = ClusterClient::new(channel.clone());
    Ok(match request {
        Unary::Keyspaces => {
            let request = within(v1::ListKeyspacesRequest {}, patience);
            Answer::Keyspaces(cluster.list_keyspaces(request).await?.into_inner().keyspaces)
        }
        Unary::MakeKeyspace(request) => {
            let made = cluster.make_keyspace(within(request, patience)).await?;
            Answer::Keyspaces(made.into_inner().keyspace.into_iter().collect())
        }
        Unary::Admin(request) => {
            Answer::Text(AdminClient::new(channel).call(within(request, patience)).await?.into_inner().answer)
        }
        Unary::Describe => {
            Answer::Describe(cluster.describe(within(v1::DescribeRequest::default(), patience)).await?.into_inner())
        }
    })
}

fn within<T>(message: T, patience: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(patience);
    request
}

async fn read(mut client: KvClient<Channel>, batches: Batches, id: LinkId, events: UnboundedSender<Event>) {
    let (why, too_large) = match client.stream(batches).await {
        Ok(response) => {
            let mut answers = response.into_inner();
            loop {
                match answers.message().await {
                    Ok(Some(batch)) => {
                        if events.send(Event::Answers(id, batch.responses)).is_err() {
                            return;
                        }
                    }
                    Ok(None) => break ("closed the stream".to_owned(), None),
                    Err(status) => break (root_cause(&status), too_large(&status)),
                }
            }
        }
        Err(status) => (root_cause(&status), too_large(&status)),
    };
    let _ = events.send(Event::Lost(id, why, too_large));
}

/// The error of a node that would not read a message as large as that.
fn too_large(status: &tonic::Status) -> Option<Box<v1::Error>> {
    Some(failure::from_status(status)).filter(|error| error.kind == "LimitExceeded")
}

/// The innermost reason of a status: "connection refused" rather than "transport error".
fn root_cause(status: &tonic::Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if std::ptr::addr_eq(cause, status) { status.message().to_owned() } else { cause.to_string() }
}

impl Link {
    /// Sends a request with what else waits.
    pub fn send(&self, request: v1::StreamRequest) {
        let mut state = self.outgoing.state();
        state.requests.push_back(request);
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Requests that wait until the stream can take them.
#[derive(Default)]
struct Outgoing {
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<v1::StreamRequest>,
    waker: Option<Waker>,
}

impl Outgoing {
    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending half of a stream: all that waits, as one message.
struct Batches(Arc<Outgoing>);

impl Stream for Batches {
    type Item = v1::StreamRequests;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.state();
        if state.requests.is_empty() {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let (mut bytes, mut count) = (0, 0);
        for request in state.requests.iter().take(BATCH_REQUESTS) {
            bytes += request.encoded_len();
            if count > 0 && bytes > BATCH_BYTES {
                break;
            }
            count += 1;
        }
        Poll::Ready(Some(v1::StreamRequests { requests: state.requests.drain(..count).collect() }))
    }
}
