//! The store as a whole: against a model, through crashes, on a machine's disk, and when things go wrong.
#![expect(clippy::unwrap_used, reason = "tests")]

mod apply;
mod batches;
mod crash;
mod encrypted;
mod errors;
mod faults;
mod filtered;
mod full;
mod life;
mod many;
mod mapping;
mod meddled;
mod model;
mod mutations;
mod pacing;
mod panics;
mod plants;
mod player;
mod reading;
mod repairing;
mod resting;
mod scrubbing;
mod slow;
mod support;
mod threads;
mod trace;
mod worn;
