//! Which tables make up a tree, and how that changes.
//!
//! A [`Version`] is immutable: an edit makes the next one, readers keep theirs. Everything here but [`TableRef`] is
//! generic over what stands for a table, so that compaction can be decided and simulated on manifest records alone.
//!
//! Invariants of a version, asserted whenever one is made:
//! 1. Below level 0, tables of a level are sorted by key and no key lies in two of them.
//! 2. In level 0, of two tables whose key ranges overlap, every revision of one is above every revision of the other;
//!    the newer comes first.
//! 3. For any one key, rows in a level are newer than rows in deeper levels. Not checked here (it would take reading the
//!    rows): plans keep it, see `compaction`.
//!
//! Together: the first of [`Version::candidates`] that holds a row at or before a revision holds the newest such row.
mod edit;
mod fences;
mod levels;
#[cfg(test)]
mod tests;

pub use edit::{HasRecord, TableRef, VersionEdit};
pub use levels::{Candidates, Version};

/// Number of levels, level 0 included.
pub const LEVELS: usize = 7;
