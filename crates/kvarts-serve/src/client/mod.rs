//! The connections of a remote store: one stream of batches per node, calls from many threads and tasks.
//!
//! One thread per client runs a small runtime with the `driver`, which owns all state: it finds the leader, sends what callers
//! put into the `inbox` (all that waits goes out as one batch), and fills the caller's slot, or queue, straight from the answer.
//! The shard map says which group a key belongs to; a call for several shards becomes one call for each, in parallel.
//! Writes carry a session and a sequence, so one that is sent again takes place once; a node that dies, stalls or loses
//! its leadership costs callers time, not errors, until their deadline.
//!
//! Locks, each held for moments and none inside another: the inbox, a link's outgoing queue, a slot, a queue of answers.
mod call;
mod cursor;
mod driver;
mod failure;
mod handle;
mod signal;

pub use call::{Aim, Answer, Outcome, Queue, Request, Slot, Span, Unary};
pub use cursor::{Cursor, Wish};
pub use handle::{Client, ClientOptions};
