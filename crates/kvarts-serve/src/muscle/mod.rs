//! The muscle of a node: does what a turn says without ever blocking, and tells what came of it.
//!
//! Python polls events and performs turns on one thread. Connections bring requests in (`door`), turns append (`perform`),
//! one thread syncs and lets go of what waited for that (`sync`), one applies and answers (`apply`), one does what takes long
//! (`keeper`), others what operators ask for (`care`), and a task answers whoever waits too long. Order and lock rules: docs/internals/muscle.md.
mod apply;
mod calls;
mod care;
mod checks;
mod clock;
mod config;
mod core;
mod door;
mod event;
mod failure;
mod fence;
mod group;
mod handles;
mod keeper;
mod life;
mod members;
mod open;
mod pending;
mod perform;
mod queue;
mod reads;
mod routes;
mod send;
mod serve;
mod split;
mod stats;
mod sync;
mod turn;

#[cfg(test)]
mod tests;

use crate::front::refusal;
pub use crate::nodelog::EntryMeta;
pub use care::Care;
pub use clock::{OsTime, Time};
pub use config::Config;
pub use event::{Beats, Event, MessageHead, Received, ReceivedEntry, ReceivedPayload, ReceivedSnapshot};
pub use failure::Failure;
pub use group::Role;
pub use life::Muscle;
pub use routes::Known;
pub use turn::{Apply, Effects, Founding, NewEntry, NewSnapshot, Outgoing, Payload, Turn, Why, Write, WriteRefused};
