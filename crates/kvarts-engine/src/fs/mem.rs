//! A file system in memory that can lose what was not synced.

/// A file system in memory.
#[derive(Debug, Default)]
pub struct MemFs;
