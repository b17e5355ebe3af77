//! The muscle of a node, and the client's connections. Python decides; here bytes move.
//!
//! Rooms, lower first: `machine` (what a committed command does), `nodelog` (one log for all groups), `muscle` (poll and
//! perform), `peers` (streams between nodes), `front` (gRPC for clients), `client` (connections of a remote store).
pub mod client;
pub mod front;
pub mod machine;
pub mod muscle;
pub mod nodelog;
pub mod peers;
