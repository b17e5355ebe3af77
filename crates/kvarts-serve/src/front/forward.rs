//! Ways to the node that leads, for unary requests that came to another.
use kvarts_engine::sync::Mutex;
use kvarts_wire::v1;
use std::time::{Duration, Instant};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Marks a request that another node sent on: it is not sent on again.
const FORWARDED: &str = "kvarts-forwarded";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Channels kept: leaders are few, and change seldom.
const CHANNELS_MAX: usize = 16;

/// Channels to nodes that lead or led; they connect when used, and again after a loss.
#[derive(Default)]
pub struct Leaders {
    channels: Mutex<Vec<(String, Channel)>>,
}

impl Leaders {
    /// Returns the way to the node that an error names, unless the request was sent on before.
    pub fn way(&self, error: &v1::Error, metadata: &MetadataMap) -> Option<Channel> {
        if error.kind != "NotLeader" || error.leader_address.is_empty() || metadata.contains_key(FORWARDED) {
            return None;
        }
        let address = &error.leader_address;
        let mut channels = self.channels.lock();
        if let Some((_, channel)) = channels.iter().find(|(known, _)| known == address) {
            return Some(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(1))
            .keep_alive_timeout(Duration::from_secs(2))
            .connect_lazy();
        if channels.len() == CHANNELS_MAX {
            channels.remove(0);
        }
        channels.push((address.clone(), channel.clone()));
        Some(channel)
    }
}

/// Makes a request that is sent on, with what is left of its time.
pub fn sent_on<Q>(message: Q, deadline: Instant, now: Instant) -> Request<Q> {
    let mut request = Request::new(message);
    request.set_timeout(deadline.saturating_duration_since(now));
    request.metadata_mut().insert(FORWARDED, MetadataValue::from_static("1"));
    request
}

/// Returns what another node said, without its headers.
pub fn relayed(status: &Status) -> Status {
    match super::status::error_of(status) {
        Some(error) => super::status::status_of(error),
        None => Status::new(status.code(), status.message()),
    }
}
