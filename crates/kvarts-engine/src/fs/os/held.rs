//! A directory held open: whoever renames it, or puts another in its place, changes nothing for who holds it.
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Where a path is looked up.
pub trait Within {
    /// Returns a directory, and the path from it.
    fn place<'a>(&'a self, path: &'a Path) -> (BorrowedFd<'a>, &'a Path);
}

/// The machine's file system, in which what lies in one directory is reached through the handle.
pub struct Held {
    dir: PathBuf,
    handle: File,
}

impl Held {
    /// Returns the file system with `dir` held by `handle`.
    pub fn new(dir: &Path, handle: File) -> Self {
        Self { dir: dir.to_owned(), handle }
    }
}

impl Within for Held {
    fn place<'a>(&'a self, path: &'a Path) -> (BorrowedFd<'a>, &'a Path) {
        match path.strip_prefix(&self.dir) {
            Ok(rest) if rest.as_os_str().is_empty() => (self.handle.as_fd(), Path::new(".")),
            Ok(rest) => (self.handle.as_fd(), rest),
            Err(_) => (rustix::fs::CWD, path),
        }
    }
}
