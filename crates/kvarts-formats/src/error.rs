//! Why bytes could not be decoded.
use std::fmt;

/// Result of decoding.
pub type Result<T> = std::result::Result<T, FormatError>;

/// Why bytes could not be decoded. Offsets count from the start of what was decoded; the caller adds the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes are damaged: a checksum differs, or a field contradicts another.
    Corrupt {
        /// Where, in bytes from the start of what was decoded.
        offset: u64,
        /// What was wrong, for a person.
        what: &'static str,
    },
    /// Written by a newer kvarts.
    NewerVersion {
        /// The version found.
        found: u32,
        /// The newest this build reads.
        supported: u32,
    },
    /// Encrypted with a cipher that this build does not know.
    UnknownCipher(u8),
}

impl FormatError {
    /// Shorthand for [`FormatError::Corrupt`].
    pub fn corrupt(offset: usize, what: &'static str) -> Self {
        Self::Corrupt { offset: offset as u64, what }
    }

    /// The same error when what was decoded starts `by` bytes into what the caller decodes.
    pub(crate) fn moved(self, by: usize) -> Self {
        match self {
            Self::Corrupt { offset, what } => Self::Corrupt { offset: offset + by as u64, what },
            other => other,
        }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { offset, what } => write!(f, "damaged at offset {offset}: {what}"),
            Self::NewerVersion { found, supported } => {
                write!(f, "format {found} is newer than {supported}, the newest this build reads")
            }
            Self::UnknownCipher(id) => write!(f, "unknown cipher {id}"),
        }
    }
}

impl std::error::Error for FormatError {}
