//! A node for tests: the small intake behind both doors, on a port of its own.
use crate::small::{Event, Small};
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_serve::front::{Front, FrontOptions, error_of};
use kvarts_serve::intake::Intake;
use kvarts_serve::peers::{PeerOptions, Peers};
use kvarts_wire::v1;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// Longest wait for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Node {
    pub address: String,
    pub small: Arc<Small>,
    pub peers: Peers,
    pub fs: Arc<MemFs>,
    pub events: UnboundedReceiver<Event>,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Node {
    pub async fn start(number: u64) -> Self {
        Self::start_with(number, FrontOptions::default()).await
    }

    pub async fn start_with(number: u64, options: FrontOptions) -> Self {
        Self::start_at(number, "127.0.0.1:0", options).await
    }

    pub async fn start_at(number: u64, at: &str, options: FrontOptions) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (small, events) = Small::new(number);
        let (small, fs) = (Arc::new(small), Arc::new(MemFs::volatile()));
        fs.create_dir(&incoming()).unwrap();
        let intake: Arc<dyn Intake> = small.clone();
        let times = PeerOptions { pause_min: Duration::from_millis(1), chunk_bytes: 1000, ..PeerOptions::default() };
        let peers = Peers::new(Handle::current(), intake.clone(), fs.clone(), incoming(), times);
        let (shutdown, told) = oneshot::channel();
        let serve = Front::serve(listener, intake, peers.clone(), options, async move { drop(told.await) });
        let (serving, shutdown) = (tokio::spawn(serve), Some(shutdown));
        Self { address, small, peers, fs, events, shutdown, serving }
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub async fn kv(&self) -> v1::kv_client::KvClient<Channel> {
        v1::kv_client::KvClient::new(self.channel().await).max_decoding_message_size(64 << 20)
    }

    /// Tells it to stop, and waits until it has.
    pub async fn stop(&mut self) {
        drop(self.shutdown.take());
        within(&mut self.serving).await.unwrap();
    }

    pub async fn event(&mut self) -> Event {
        within(self.events.recv()).await.unwrap()
    }

    /// Waits until so many answers are held back.
    pub async fn holds(&self, count: usize) {
        within(async {
            while self.small.held().0 < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

pub fn incoming() -> PathBuf {
    Path::new("/incoming").to_owned()
}

/// Waits for something that must come.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it did not come")
}

pub fn get(keys: &[&str]) -> v1::GetRequest {
    let keys = keys.iter().map(|key| key.to_string().into()).collect();
    v1::GetRequest { keys, ..v1::GetRequest::default() }
}

pub fn put(key: &str, value: impl Into<bytes::Bytes>) -> v1::WriteRequest {
    let put = v1::Put { key: key.to_owned().into(), value: value.into(), ..v1::Put::default() };
    let operations = vec![v1::Operation { kind: Some(v1::operation::Kind::Put(put)) }];
    v1::WriteRequest { command: Some(v1::Command { operations, ..v1::Command::default() }), ..Default::default() }
}

/// The kind of error that a status holds.
pub fn kind_of(status: &tonic::Status) -> String {
    error_of(status).map(|error| error.kind).unwrap_or_default()
}
