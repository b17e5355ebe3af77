//! The engine's errors: few kinds, by what the caller should do. Names match the Python tree.
use kvarts_formats::{FormatError, Revision};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

/// Result of an engine call.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for something that cannot be: a limit, a name, an option.
    InvalidArgument {
        /// What was wrong.
        what: String,
        /// What to do instead.
        hint: String,
    },
    /// The store was closed.
    Closed,
    /// The store is open for reading only.
    ReadOnly(PathBuf),
    /// Another process holds the store.
    Locked {
        /// What the holder wrote into the lock file: pid, start time, command line.
        holder: String,
        /// The store.
        path: PathBuf,
    },
    /// The store's directory does not exist and was not to be created.
    NotFound(PathBuf),
    /// Bytes on disk are not what was written.
    Corruption {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was wrong.
        what: String,
    },
    /// Written by a newer kvarts.
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest this build reads.
        supported: u32,
    },
    /// The store is encrypted and no key was given.
    KeyMissing {
        /// The store's manifest.
        path: PathBuf,
        /// Id of the master key that opens it.
        needed: u64,
    },
    /// A file is encrypted with a master key that was not given.
    WrongKey {
        /// The file.
        path: PathBuf,
        /// Id of the master key that opens it.
        needed: u64,
        /// Id of the first key that was given.
        given: u64,
    },
    /// A key was given for a store that is not encrypted.
    NotEncrypted(PathBuf),
    /// Asked for a revision, or a time, of which rows may be forgotten already.
    Compacted {
        /// The oldest revision that can be read.
        oldest: Revision,
    },
    /// No space left; nothing of the failed call is kept.
    StorageFull(PathBuf),
    /// An earlier write or sync failed; the store takes no more writes until it is reopened. Reads go on.
    Poisoned(Arc<str>),
    /// Others may change what lies in the store's directory, or something there is no file.
    Unsafe {
        /// Which file or directory.
        path: PathBuf,
        /// What is wrong, to follow the path.
        what: String,
        /// What cures it.
        hint: String,
    },
    /// The operating system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Its answer.
        source: Arc<io::Error>,
    },
}

impl Error {
    /// Maps an I/O error; `ENOSPC` and `EDQUOT` become `StorageFull`.
    pub fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::StorageFull(path.to_owned()),
            _ => Self::Io { doing, path: path.to_owned(), source: Arc::new(source) },
        }
    }

    /// Tells whether the cause may pass by itself: a full disk, or no free file descriptor. What failed for it before it
    /// changed anything may be tried again.
    pub fn may_pass(&self) -> bool {
        const NO_DESCRIPTOR: [i32; 2] = [Errno::MFILE.raw_os_error(), Errno::NFILE.raw_os_error()];
        match self {
            Self::StorageFull(_) => true,
            Self::Io { source, .. } => source.raw_os_error().is_some_and(|number| NO_DESCRIPTOR.contains(&number)),
            _ => false,
        }
    }

    /// Places a decoding error in a file, `base` bytes from its start.
    pub fn format(path: &Path, base: u64, error: FormatError) -> Self {
        match error {
            FormatError::NewerVersion { found, supported } => {
                Self::NewerFormat { file: path.to_owned(), found, supported }
            }
            FormatError::Corrupt { offset, what } => {
                Self::Corruption { file: path.to_owned(), offset: base + offset, what: what.to_owned() }
            }
            other => Self::Corruption { file: path.to_owned(), offset: base, what: other.to_string() },
        }
    }

    /// Shorthand for [`Error::InvalidArgument`].
    pub fn invalid(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::InvalidArgument { what: what.into(), hint: hint.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidArgument { what, .. } => f.write_str(what),
            Self::Closed => f.write_str("the store is closed"),
            Self::ReadOnly(path) => write!(f, "{} is open for reading only", path.display()),
            Self::Locked { holder, path } => write!(f, "{} is held by {holder}", path.display()),
            Self::NotFound(path) => write!(f, "no store at {}", path.display()),
            Self::Corruption { file, offset, what } => {
                write!(f, "{} is damaged at offset {offset}: {what}", file.display())
            }
            Self::NewerFormat { file, found, supported } => {
                write!(f, "{} has format {found}; this build of kvarts reads up to format {supported}", file.display())
            }
            Self::KeyMissing { path, needed } => {
                write!(f, "{} is encrypted with key {needed:016x}, and no key was given", path.display())
            }
            Self::WrongKey { path, needed, given } => {
                write!(f, "{} is encrypted with key {needed:016x}, not with key {given:016x}", path.display())
            }
            Self::NotEncrypted(path) => write!(f, "{} is not encrypted, and a key was given", path.display()),
            Self::Compacted { oldest } => write!(f, "rows before revision {} are forgotten", oldest.0),
            Self::StorageFull(path) => write!(f, "no space left for {}", path.display()),
            Self::Poisoned(cause) => write!(f, "the store takes no writes since: {cause}"),
            Self::Unsafe { path, what, .. } => write!(f, "{} {what}", path.display()),
            Self::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {}
