//! What a machine refuses, by what the caller should do. Kinds have the names of `kvarts.base.errors`.
use std::fmt;

/// Result of a call on a machine.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call on a machine failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The engine says so.
    Engine(kvarts_engine::Error),
    /// The caller asked for something that cannot be.
    InvalidArgument {
        /// What was wrong.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// A key, value or command is too small or too large.
    LimitExceeded {
        /// What was wrong.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// A read names a revision that this replica has not applied yet.
    Behind {
        /// The revision asked for.
        asked: u64,
        /// The newest applied.
        newest: u64,
    },
    /// An entry does not follow the one applied last: a bug of whoever applies.
    OutOfOrder {
        /// The entry given.
        index: u64,
        /// The entry that comes next.
        expected: u64,
    },
    /// A committed entry cannot be read. The node must stop: skipping it would make replicas differ.
    Unreadable {
        /// The entry.
        index: u64,
        /// What was wrong.
        what: String,
    },
    /// The shard was split, and what was asked for lies in its other half, or the asker does not know of that.
    WrongShard,
    /// The directory holds no whole store, or one of another kind.
    NotAShard(String),
}

impl Error {
    /// The kind: a name of the Python tree.
    pub fn kind(&self) -> &'static str {
        use kvarts_engine::Error as Engine;
        match self {
            Self::InvalidArgument { .. } => "InvalidArgument",
            Self::LimitExceeded { .. } => "LimitExceeded",
            Self::Behind { .. } => "Unavailable",
            Self::WrongShard => "WrongShard",
            Self::OutOfOrder { .. } | Self::Unreadable { .. } | Self::NotAShard(_) => "CorruptionError",
            Self::Engine(error) => match error {
                Engine::InvalidArgument { .. } => "InvalidArgument",
                Engine::Closed => "ClosedError",
                Engine::Locked { .. } => "LockedError",
                Engine::NotFound(_) => "StoreNotFound",
                Engine::Corruption { .. } => "CorruptionError",
                Engine::NewerFormat { .. } => "NewerFormat",
                Engine::Compacted { .. } => "Compacted",
                Engine::StorageFull(_) => "StorageFull",
                Engine::Poisoned(_) => "StoreFailed",
                Engine::Io { .. } => "StorageError",
                _ => "KvartsError",
            },
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &str {
        match self {
            Self::InvalidArgument { hint, .. } | Self::LimitExceeded { hint, .. } => hint,
            Self::Behind { .. } => "read from the leader, or again a little later",
            Self::WrongShard => "ask with the newer shard map",
            Self::Engine(kvarts_engine::Error::InvalidArgument { hint, .. }) => hint,
            Self::Engine(kvarts_engine::Error::Compacted { .. }) => "begin again at the newest revision",
            _ => "",
        }
    }

    /// True where the same call may succeed later, or elsewhere.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Behind { .. } | Self::WrongShard)
    }

    /// True where an apply that failed so has changed nothing and may be tried again: a full disk, for example.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Engine(error) if error.may_pass())
    }

    pub(super) fn invalid(what: impl Into<String>, hint: &'static str) -> Self {
        Self::InvalidArgument { what: what.into(), hint }
    }

    pub(super) fn limit(what: impl Into<String>, hint: &'static str) -> Self {
        Self::LimitExceeded { what: what.into(), hint }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(error) => error.fmt(f),
            Self::InvalidArgument { what, .. } | Self::LimitExceeded { what, .. } => f.write_str(what),
            Self::Behind { asked, newest } => {
                write!(f, "this replica is at revision {newest}, before revision {asked}")
            }
            Self::OutOfOrder { index, expected } => {
                write!(f, "entry {index} was given to apply, entry {expected} is next")
            }
            Self::Unreadable { index, what } => write!(f, "entry {index} cannot be read: {what}"),
            Self::WrongShard => f.write_str("the shard was split: another one owns it by now"),
            Self::NotAShard(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

impl From<kvarts_engine::Error> for Error {
    fn from(error: kvarts_engine::Error) -> Self {
        Self::Engine(error)
    }
}
