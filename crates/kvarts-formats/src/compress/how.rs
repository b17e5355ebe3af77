//! How blocks are to be compressed: the choices, and one for each level.
use crate::{FormatError, Result};
use std::fmt;
use std::str::FromStr;

/// Levels that a tree may have.
pub const LEVELS_MAX: usize = 7;

/// What "zstd" alone asks for: of the cheap levels the last that pays, see the ADR on compression.
pub const ZSTD_LEVEL: u8 = 3;
/// The dearest level of zstd.
pub const ZSTD_LEVEL_MAX: u8 = 19;

/// How a block is to be compressed; where that does not pay it is stored as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4 block format.
    Lz4,
    /// A frame of zstd, made at this level: 1 to [`ZSTD_LEVEL_MAX`].
    Zstd(u8),
}

impl Compression {
    /// Returns zstd at `level`; `None` where there is no such level.
    pub fn zstd(level: u8) -> Option<Self> {
        (1..=ZSTD_LEVEL_MAX).contains(&level).then_some(Self::Zstd(level))
    }

    /// What a block so compressed says in its head.
    pub fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Lz4 => 1,
            Self::Zstd(_) => 2,
        }
    }

    /// Its two bytes in a manifest: the code, then the level of zstd or zero.
    pub(crate) fn encode(self) -> [u8; 2] {
        [self.code(), if let Self::Zstd(level) = self { level } else { 0 }]
    }

    /// Reads them. Errors: `Corrupt`.
    pub(crate) fn decode(bytes: [u8; 2]) -> Result<Self> {
        match bytes {
            [0, 0] => Ok(Self::None),
            [1, 0] => Ok(Self::Lz4),
            [2, level] => Self::zstd(level).ok_or_else(|| FormatError::corrupt(1, "there is no such level of zstd")),
            _ => Err(FormatError::corrupt(0, "unknown compression")),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Lz4 => f.write_str("lz4"),
            Self::Zstd(ZSTD_LEVEL) => f.write_str("zstd"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

impl FromStr for Compression {
    type Err = ();

    /// Reads "none", "lz4", "zstd" or "zstd:level".
    fn from_str(name: &str) -> std::result::Result<Self, ()> {
        match name {
            "none" => Ok(Self::None),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd(ZSTD_LEVEL)),
            _ => name.strip_prefix("zstd:").and_then(|level| level.parse().ok()).and_then(Self::zstd).ok_or(()),
        }
    }
}

/// How the levels of a tree are compressed: level 0 first; the last counts for all that are deeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByLevel(Vec<Compression>);

impl ByLevel {
    /// Returns a choice for each level; `None` of none, or of more than there are levels.
    pub fn new(levels: Vec<Compression>) -> Option<Self> {
        (1..=LEVELS_MAX).contains(&levels.len()).then_some(Self(levels))
    }

    /// How tables of `level` are compressed.
    pub fn at(&self, level: usize) -> Compression {
        self.0[level.min(self.0.len() - 1)]
    }

    /// The choices as they were given.
    pub fn as_slice(&self) -> &[Compression] {
        &self.0
    }
}

impl From<Compression> for ByLevel {
    fn from(all: Compression) -> Self {
        Self(vec![all])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for how in
            [Compression::None, Compression::Lz4, Compression::Zstd(1), Compression::Zstd(3), Compression::Zstd(19)]
        {
            assert_eq!(how.to_string().parse(), Ok(how));
            assert_eq!(Compression::decode(how.encode()), Ok(how));
        }
        for name in ["", "zip", "zstd:", "zstd:0", "zstd:20", "zstd:-1", "zstd:256", "LZ4", "lz4:1"] {
            assert_eq!(name.parse::<Compression>(), Err(()), "{name}");
        }
        for bytes in [[0, 1], [1, 1], [2, 0], [2, 20], [3, 0]] {
            assert!(Compression::decode(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn the_last_choice_counts_for_all_deeper_levels() {
        let levels = ByLevel::new(vec![Compression::None, Compression::Lz4]).unwrap();
        assert_eq!(
            [0, 1, 2, 6].map(|level| levels.at(level)),
            [Compression::None, Compression::Lz4, Compression::Lz4, Compression::Lz4]
        );
        assert!(ByLevel::new(Vec::new()).is_none() && ByLevel::new(vec![Compression::Lz4; 8]).is_none());
    }
}
