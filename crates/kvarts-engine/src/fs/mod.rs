//! Everything that touches disk goes through here.
//!
//! [`OsFs`] is the machine's file system. [`MemFs`] keeps synced and unsynced bytes and directory entries apart and
//! can crash with a seed. [`FaultFs`] is either of them with one operation, or all from one on, going wrong. Paths are whole paths. Files are made with mode 0600, directories with 0700, whatever the umask.
use std::io;
use std::path::Path;
use std::sync::Arc;

mod access;
mod chance;
mod fault;
mod mem;
mod os;

pub use access::{Access, Finding, Guarded, Kind, Owned, guard, hold, mend, survey};
pub use fault::{Fault, FaultFs, FsOp, Met};
pub use mem::MemFs;
pub use os::{Lender, OsFs, offer};

/// How a log's bytes reach the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogMode {
    /// By a memory copy into a shared mapping: no system call per append. For `batch` and `none`.
    Mapped,
    /// By write(2): cheaper to sync. For `sync`.
    Written,
}

/// A file system.
pub trait Fs: Send + Sync + 'static {
    /// Makes a directory (parents must exist) with mode 0700. Errors: `AlreadyExists`. The parent is not synced.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Tells whether a file or directory exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Syncs a directory: its entries are on stable storage on return.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Opens a file for reading at offsets.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>>;
    /// Returns the length of a file in bytes.
    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(self.open(path)?.len())
    }
    /// Makes a new file for writing from its start. Errors: `AlreadyExists`.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;
    /// Makes a new log file with `capacity` bytes allocated (so that no later append meets ENOSPC), all zero.
    /// Errors: `Unsupported` where it cannot be mapped; it may be written then. Nothing is left behind on any.
    fn create_log(&self, path: &Path, capacity: u64, mode: LogMode) -> io::Result<Box<dyn LogFile>>;
    /// Renames, replacing `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a hard link.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes the exclusive lock on a file (made if absent), and writes `holder` into it.
    fn lock(&self, path: &Path, holder: &str) -> io::Result<LockOutcome>;
    /// Takes a lock on a file that many may share, and that excludes who wants it alone. Writes nothing.
    /// Errors: `NotFound`; `Unsupported`, which is what a file system says that has none.
    fn lock_shared(&self, _path: &Path) -> io::Result<LockOutcome> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns a file system that reaches what lies in `dir` through a handle, whatever its path leads to later; `None` where
    /// paths do as well.
    fn hold(&self, _dir: &Path) -> io::Result<Option<Arc<dyn Fs>>> {
        Ok(None)
    }
    /// Gives up what `hold` took: nothing is found there any more.
    fn release(&self) {}
    /// Tells who owns `dir` and what lies in it, and who else may change it; `None` where nobody else can reach it.
    fn access(&self, _dir: &Path) -> io::Result<Option<Access>> {
        Ok(None)
    }
    /// Sets the mode of a file or directory. Follows links: only for what lies where nobody else may write.
    fn set_mode(&self, _path: &Path, _mode: u32) -> io::Result<()> {
        Ok(())
    }
}

/// What came of asking for a lock.
pub enum LockOutcome {
    /// It is ours until dropped.
    Taken(Box<dyn Send + Sync>),
    /// Another holds it; what it wrote about itself.
    Held(String),
}

/// A file read at offsets, from many threads.
pub trait ReadFile: Send + Sync {
    /// Fills `buf` from `offset`. Errors: `UnexpectedEof` where the file is shorter.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Length in bytes, as of opening.
    fn len(&self) -> u64;
    /// Tells whether the file is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A file written from its start, by one thread.
pub trait WriteFile: Send {
    /// Appends.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Puts everything appended, and the length, on stable storage.
    fn sync(&mut self) -> io::Result<()>;
}

/// A log file, appended to by one thread at a time while another may sync.
pub trait LogFile: Send {
    /// Appends `len` bytes that `fill` writes. On return they are in the kernel's hands: a killed process loses nothing.
    /// `fill` gets zeroed bytes, or bytes to overwrite entirely; it must set all of them. Errors: beyond `capacity` is
    /// `InvalidInput`; nothing is appended on error.
    fn append_with(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()>;
    /// Bytes appended so far.
    fn len(&self) -> u64;
    /// Tells whether nothing was appended.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Bytes it may hold.
    fn capacity(&self) -> u64;
    /// Tells whether an append of `len` bytes is a copy in memory: no system call, so nothing it could wait for.
    fn copies(&self, len: usize) -> bool;
    /// Returns the handle that syncs this file, for another thread.
    fn syncer(&self) -> Arc<dyn LogSync>;
}

/// Syncs a log file.
pub trait LogSync: Send + Sync {
    /// Puts every byte appended before the call on stable storage.
    fn sync(&self) -> io::Result<()>;
}
