//! What a committed command does to the rows of a shard: deterministic, equal to the model in `kvarts.statemachine`.
//!
//! Files, lower first: `error`, `rows` (keys and values of rows), `limits` (what is refused before it is logged), `payload`
//! (commands of one entry), `range` (what is the shard's own after a split), `sessions` (exactly once), `operations`, `command`,
//! `holds` (history that is kept), `held` (the open store), `place` (its directories), `pages` (scans), `read`, `found`
//! (halves), `digest` (what replicas are compared by), `handle` (the surface). The essay: docs/internals/machine.md.
mod command;
mod digest;
mod error;
mod found;
mod handle;
mod held;
mod holds;
mod limits;
mod operations;
mod pages;
mod payload;
mod place;
mod range;
mod read;
mod rows;
mod sessions;
mod size;

pub use digest::{Digest, Sum};
pub use error::{Error, Result};
pub use handle::{Machine, MachineOptions};
pub use holds::Holds;
pub use limits::{BATCH_BYTES_MAX, VALUE_BYTES_MAX, check_command, check_get, check_scan};
pub use payload::{encode_payload, encode_result};
pub use range::Range;
pub use read::UserRow;
pub use rows::Position;
pub use sessions::SESSION_WINDOW;
pub use size::Size;
