//! How connections between nodes are set up.
use std::time::Duration;

/// Limits and times of connections between nodes.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// What this node tells the others that it knows, in Python's words.
    pub features: String,
    /// Bytes of messages that wait for one node; more are dropped.
    pub queue_bytes_max: usize,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Pause after a connection was lost; doubled up to `pause_max` while that goes on.
    pub pause_min: Duration,
    /// Longest pause. A connection that lives longer makes the next pause the shortest again.
    pub pause_max: Duration,
    /// A connection is tried by a ping this often, and given up once one is unanswered for twice as long.
    pub ping_interval: Duration,
    /// A snapshot is given up once no chunk of it moves for so long.
    pub stall_timeout: Duration,
    /// Bytes of a snapshot's chunk.
    pub chunk_bytes: usize,
    /// Snapshots received at a time.
    pub snapshots_max: usize,
}

impl Default for PeerOptions {
    fn default() -> Self {
        Self {
            features: String::new(),
            queue_bytes_max: 64 << 20,
            connect_timeout: Duration::from_secs(1),
            pause_min: Duration::from_millis(50),
            pause_max: Duration::from_secs(1),
            ping_interval: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(60),
            chunk_bytes: 256 << 10,
            snapshots_max: 2,
        }
    }
}
