//! Ways to the node that leads, for unary requests that came to another.
use kvarts_engine::sync::Mutex;
use kvarts_wire::v1;
use std::time::{Duration, Instant};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Says how often a request was sent on by other nodes.
const FORWARDED: &str = "kvarts-forwarded";
/// Most often that one is: from a node that keeps no replica of the shard to one that does, and from there to the leader.
const HOPS_MAX: u8 = 2;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Channels kept: leaders are few, and change seldom.
const CHANNELS_MAX: usize = 16;

/// Channels to nodes that lead or led; they connect when used, and again after a loss.
#[derive(Default)]
pub struct Leaders {
    channels: Mutex<Vec<(String, Channel)>>,
}

impl Leaders {
    /// Returns the way to the node that an error names, and which time it is that the request is sent on; nothing where it
    /// was sent on too often.
    pub fn way(&self, error: &v1::Error, metadata: &MetadataMap) -> Option<(Channel, u8)> {
        let hop = hops(metadata) + 1;
        if error.kind != "NotLeader" || error.leader_address.is_empty() || hop > HOPS_MAX {
            return None;
        }
        Some((self.channel(&error.leader_address)?, hop))
    }

    fn channel(&self, address: &str) -> Option<Channel> {
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
        channels.push((address.to_owned(), channel.clone()));
        Some(channel)
    }
}

/// How often a request was sent on. Older nodes send on once, and say 1.
fn hops(metadata: &MetadataMap) -> u8 {
    let Some(said) = metadata.get(FORWARDED) else { return 0 };
    said.to_str().ok().and_then(|hops| hops.parse().ok()).unwrap_or(HOPS_MAX)
}

/// Makes a request that is sent on for the `hop`th time, with what is left of its time.
pub fn sent_on<Q>(message: Q, hop: u8, deadline: Instant, now: Instant) -> Request<Q> {
    let mut request = Request::new(message);
    request.set_timeout(deadline.saturating_duration_since(now));
    request.metadata_mut().insert(FORWARDED, MetadataValue::from(u16::from(hop)));
    request
}

/// Returns what another node said, without its headers.
pub fn relayed(status: &Status) -> Status {
    match super::status::error_of(status) {
        Some(error) => super::status::status_of(error),
        None => Status::new(status.code(), status.message()),
    }
}
