//! What of a table cannot be read.
use crate::{Error, Result};

/// A damaged place, and the keys whose rows it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Where.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// Smallest and largest key concerned, both perhaps not; empty keys where nothing is known. `None`: no row is.
    pub keys: Option<(Vec<u8>, Vec<u8>)>,
}

impl Lost {
    /// Takes damage for what it is; other errors are returned.
    pub fn from_error(error: Error, smallest: &[u8], largest: &[u8]) -> Result<Self> {
        let keys = Some((smallest.to_vec(), largest.to_vec()));
        match error {
            Error::Corruption { offset, what, .. } => Ok(Self { offset, what, keys }),
            newer @ Error::NewerFormat { .. } => Ok(Self { offset: 0, what: newer.to_string(), keys }),
            other => Err(other),
        }
    }
}
