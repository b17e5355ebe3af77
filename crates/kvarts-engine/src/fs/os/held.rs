//! A directory held open: whoever renames it, or puts another in its place, changes nothing for who holds it.
use crate::sync::Mutex;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory in which a path is looked up.
#[derive(Clone)]
pub enum Place {
    /// The one of the process, as far as the path is relative.
    Process,
    /// One that is held.
    Held(Arc<File>),
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Process => rustix::fs::CWD,
            Self::Held(handle) => handle.as_fd(),
        }
    }
}

/// Where a path is looked up.
pub trait Within {
    /// Returns a directory, and the path from it.
    fn place<'a>(&'a self, path: &'a Path) -> (Place, &'a Path);
    /// Gives up what is held: nothing is found in it any more.
    fn release(&self) {}
}

/// The machine's file system, in which what lies in one directory is reached through the handle.
pub struct Held {
    dir: PathBuf,
    handle: Mutex<Option<Arc<File>>>,
}

impl Held {
    /// Returns the file system with `dir` held by `handle`.
    pub fn new(dir: &Path, handle: File) -> Self {
        Self { dir: dir.to_owned(), handle: Mutex::new(Some(Arc::new(handle))) }
    }
}

impl Within for Held {
    fn place<'a>(&'a self, path: &'a Path) -> (Place, &'a Path) {
        let Ok(rest) = path.strip_prefix(&self.dir) else { return (Place::Process, path) };
        match &*self.handle.lock() {
            // What lies at the path now may be another's.
            None => (Place::Process, Path::new("")),
            Some(handle) if rest.as_os_str().is_empty() => (Place::Held(Arc::clone(handle)), Path::new(".")),
            Some(handle) => (Place::Held(Arc::clone(handle)), rest),
        }
    }

    fn release(&self) {
        *self.handle.lock() = None;
    }
}
