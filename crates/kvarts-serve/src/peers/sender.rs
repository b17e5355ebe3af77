//! The task that keeps a connection to one node.
use super::lane::{Batches, Lane};
use super::options::PeerOptions;
use super::pass;
use crate::intake::Intake;
use kvarts_wire::v1::peer_client::PeerClient;
use std::sync::Arc;
use tokio::time::Instant;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// Bytes under way to a node, before it says that it took some.
const WINDOW_BYTES: u32 = 4 << 20;

/// Connects and sends, again and again.
pub async fn run(lane: Arc<Lane>, intake: Arc<dyn Intake>, to: u64, address: String, options: PeerOptions) {
    let mut pause = options.pause_min;
    loop {
        let since = Instant::now();
        if let Ok(channel) = connect(&address, &options).await {
            lane.connected();
            send(channel, &lane, &*intake, to, &options.features).await;
        }
        if lane.lose() {
            intake.peer_lost(to);
        }
        if since.elapsed() > options.pause_max + options.connect_timeout {
            pause = options.pause_min;
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(options.pause_max);
    }
}

/// Connects to a node.
pub async fn connect(address: &str, options: &PeerOptions) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(options.ping_interval)
        .keep_alive_timeout(2 * options.ping_interval)
        .keep_alive_while_idle(true)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect()
        .await
}

/// Sends what comes until the connection breaks or the other node ends it.
async fn send(channel: Channel, lane: &Arc<Lane>, intake: &dyn Intake, to: u64, features: &str) {
    let mut request = Request::new(Batches(Arc::clone(lane)));
    let (cluster, own) = intake.identity();
    pass::show(&mut request, &cluster, own, to);
    pass::tell_features(&mut request, features);
    // Why else it ended makes no difference to what is done about it.
    if let Err(status) = PeerClient::new(channel).messages(request).await
        && pass::says_removed(&status)
    {
        intake.was_removed(to);
    }
}
