//! Numbers that have a meaning, as types.

/// The number of a file in a store; never used twice within one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// The number of a tree (a keyspace); never used twice within one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeId(pub u32);

/// The number of a commit. Strictly increases; 0 is before the first commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before every commit.
    pub const ZERO: Self = Self(0);
    /// After every commit: reads the newest.
    pub const MAX: Self = Self(u64::MAX);
}

/// What one row of the tree says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The key is absent (a tombstone). The value is empty.
    Delete = 0,
    /// The key has this value.
    Put = 1,
    /// The key has a value until a time: 8 bytes of expiry (Unix milliseconds), then the user's value.
    PutExpiring = 2,
}

/// Bytes of expiry in front of the value of a [`Kind::PutExpiring`] row.
pub const EXPIRY_BYTES: usize = 8;

impl Kind {
    /// Returns the kind stored as `byte`, or `None` when no such kind exists.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Delete),
            1 => Some(Self::Put),
            2 => Some(Self::PutExpiring),
            _ => None,
        }
    }
}
