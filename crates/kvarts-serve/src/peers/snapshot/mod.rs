//! Snapshots: the files of a directory, in chunks, with a checksum each.
//!
//! The first chunk holds the message and says how many files follow; a stream that ends before that is no snapshot.
//! What was received is on stable storage, names included, before it is handed on.
mod files;
mod receive;
mod send;

pub use receive::receive;
pub use send::send;
