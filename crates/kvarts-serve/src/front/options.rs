//! How the front door is set up.
use std::time::Duration;

/// Limits of the front door.
#[derive(Clone, Debug)]
pub struct FrontOptions {
    /// What a request may take that brings no deadline of its own.
    pub request_timeout: Duration,
    /// Largest message taken, and largest answer given, in bytes. Clients in other languages may have to raise theirs.
    pub message_bytes_max: usize,
    /// Largest value taken, in bytes. Below half of `message_bytes_max`, so that a row and its like fit in a page.
    pub value_bytes_max: usize,
    /// Operations of one stream under way: then no more is read from it. A page of a scan weighs as 32 gets.
    pub stream_weight_max: usize,
    /// Bytes of answers of one stream that wait to be sent: then no more is read from it.
    pub stream_bytes_max: usize,
    /// Unary calls and streams of one connection at a time; more wait on the client's side.
    pub connection_calls_max: u32,
    /// How long a stop waits for calls under way.
    pub drain: Duration,
}

impl Default for FrontOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            message_bytes_max: 16 << 20,
            value_bytes_max: 8 << 20,
            stream_weight_max: 4096,
            stream_bytes_max: 4 << 20,
            connection_calls_max: 4096,
            drain: Duration::from_secs(2),
        }
    }
}
