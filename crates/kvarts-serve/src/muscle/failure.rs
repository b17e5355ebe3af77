//! Why a node cannot go on.
use crate::machine;
use kvarts_engine::Error;
use std::fmt;

/// Result of what ends the node where it fails.
pub type Outcome<T> = Result<T, Failure>;

/// Why a node cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub what: String,
    /// The cause may pass by itself, as a full disk does: the node may then be opened again.
    pub may_pass: bool,
}

impl Failure {
    /// One that only somebody's care ends.
    pub fn lasting(what: impl Into<String>) -> Self {
        Self { what: what.into(), may_pass: false }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { may_pass: error.may_pass(), what: error.to_string() }
    }
}

impl From<machine::Error> for Failure {
    fn from(error: machine::Error) -> Self {
        Self { may_pass: error.may_pass(), what: error.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
