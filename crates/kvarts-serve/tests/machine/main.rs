//! The native state machine: positions, reads that name a moment, restarts and crashes, and stores put in its place.
//! What commands do is in tests/golden, where the model in Python is at hand.
#![expect(clippy::unwrap_used, reason = "tests")]

mod digests;
mod halves;
mod life;
mod limits;
mod reads;
mod replacing;
mod support;
