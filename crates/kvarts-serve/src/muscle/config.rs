//! Settings of a muscle: data only.
use std::path::PathBuf;

/// Settings of a muscle.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's directory; made if absent.
    pub data: PathBuf,
    /// The node's number, 1 or more.
    pub node: u64,
    /// The cluster's id.
    pub cluster: Vec<u8>,
    /// host:port to listen at; port 0 takes a free one.
    pub listen: String,
    /// What other nodes are told that this one knows, in Python's words.
    pub features: String,
    /// Bytes of memory for state machines. Default 256 MiB.
    pub memory_bytes: usize,
    /// Threads for connections. Default 2.
    pub workers: usize,
    /// Sync the log before anything that depends on it leaves. False only in tests. Default true.
    pub durable: bool,
    /// Longest wait of a request that names no deadline. Default 10 s.
    pub request_timeout_ms: u64,
    /// Requests under way at once; more are refused. Default 16384.
    pub requests_max: usize,
    /// Bytes that wait behind handles; more is refused or dropped. Default 256 MiB.
    pub handle_bytes_max: u64,
    /// Bytes of one command. Default 16 MiB.
    pub command_bytes_max: usize,
    /// Bytes of writes that may become one entry. Default 4 MiB; a larger command goes alone.
    pub entry_bytes_max: usize,
    /// Sessions of a group; when there are a tenth more, those that were not used for longest are dropped. Default 10 000.
    pub sessions_max: u32,
    /// Bytes of entries applied after which a state machine is flushed. Default 64 MiB.
    pub flush_bytes: u64,
    /// Entries applied after which a state machine is flushed. Default 100 000.
    pub flush_entries: u64,
}

impl Config {
    /// The defaults, for a node of a cluster.
    pub fn new(data: PathBuf, node: u64, cluster: Vec<u8>) -> Self {
        Self {
            data,
            node,
            cluster,
            listen: "127.0.0.1:0".to_owned(),
            features: String::new(),
            memory_bytes: 256 << 20,
            workers: 2,
            durable: true,
            request_timeout_ms: 10_000,
            requests_max: 16_384,
            handle_bytes_max: 256 << 20,
            command_bytes_max: 16 << 20,
            entry_bytes_max: 4 << 20,
            sessions_max: 10_000,
            flush_bytes: 64 << 20,
            flush_entries: 100_000,
        }
    }
}
