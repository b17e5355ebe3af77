//! Streams between nodes: batches of messages, and snapshots.
//!
//! Messages may be lost, never reordered within a connection; a loss is told once. A snapshot arrives whole or not at all.
//! `docs/internals/front.md` tells more.
mod handle;
mod lane;
mod options;
mod pass;
mod sender;
mod service;
mod snapshot;

pub use handle::{Done, Peers};
pub use options::PeerOptions;
pub use service::PeerService;
