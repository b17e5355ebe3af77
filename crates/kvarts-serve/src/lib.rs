//! The muscle of a node, and the client's connections. Python decides; here bytes move.
//!
//! Rooms, lower first: `machine` (what a committed command does), `nodelog` (one log for all groups), `intake` (what
//! connections hand inwards), `peers` (streams between nodes), `front` (gRPC for clients), `muscle` (poll and perform);
//! on its own: `client` (connections of a remote store).
pub mod client;
pub mod front;
pub mod intake;
pub mod machine;
pub mod muscle;
pub mod nodelog;
pub mod peers;
