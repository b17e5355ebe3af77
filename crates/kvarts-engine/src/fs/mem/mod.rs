//! A file system in memory that can lose what was not synced.
//!
//! The crash model. A file has durable bytes and unsynced writes; a directory has durable entries and unsynced entry
//! operations. Syncing a file makes its bytes and length durable, *not* its name; [`Fs::sync_dir`] makes the names in one
//! directory durable, not the files behind them. [`MemFs::crash`] returns what a power loss could leave. Of each
//! directory's unsynced operations: none, all, a prefix, or a choice in which only those on one name keep their order.
//! Of each file's unsynced writes: none, all, a prefix, a choice of writes, or a choice made sector by sector. A write is
//! torn at a sector's edge or at any byte, and junk may lie behind the tear.
//!
//! Lock order: world before file. Every operation that changes something holds the world lock, so a crash falls
//! between two of them; reads of an open file take the lock of that file only.
//!
//! Caveat: a rename that crosses directories is refused, since the model could not keep it atomic.
use super::{Fs, LockOutcome, LogFile, LogMode, ReadFile, WriteFile};
use crate::sync::{Mutex, RwLock};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

mod control;
mod crash;
mod dir;
mod file;
mod handle;
#[cfg(test)]
mod tests;

use dir::{EntryOp, Node, Tree};
use file::FileData;
use handle::{MemLock, MemLog, MemReadFile, MemWriteFile};

/// A file system in memory. A clone is another handle to the same files.
#[derive(Clone)]
pub struct MemFs {
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    /// After the crash that [`MemFs::crash_at_op`] planned: everything fails.
    crashed: AtomicBool,
}

struct World {
    tree: Tree,
    /// False for a file system that never crashes: then nothing is kept twice.
    tracked: bool,
    /// Operations so far that changed or synced something.
    ops: u64,
    ops_max: u64,
    syncs: u64,
    syncs_fail: bool,
    /// Bytes that may still be written or allocated.
    space: u64,
}

/// A file; hard links share it.
type Inode = RwLock<FileData>;

impl Default for MemFs {
    fn default() -> Self {
        Self::new()
    }
}

impl MemFs {
    /// Returns an empty file system (one directory, `/`) that can crash.
    pub fn new() -> Self {
        Self::from_tree(Tree::default(), true)
    }

    /// Returns an empty file system that keeps no durable image: what is written once is held once. Its [`MemFs::crash`]
    /// loses nothing.
    pub fn volatile() -> Self {
        Self::from_tree(Tree::default(), false)
    }

    fn from_tree(tree: Tree, tracked: bool) -> Self {
        let (ops, syncs) = (0, 0);
        let world = World { tree, tracked, ops, ops_max: u64::MAX, syncs, syncs_fail: false, space: u64::MAX };
        Self { shared: Arc::new(Shared { world: Mutex::new(world), crashed: AtomicBool::new(false) }) }
    }

    fn check_crashed(&self) -> io::Result<()> {
        if self.shared.crashed.load(Ordering::SeqCst) { Err(io::Error::other("crashed")) } else { Ok(()) }
    }

    /// Looks at the world.
    fn query<R>(&self, look: impl FnOnce(&World) -> io::Result<R>) -> io::Result<R> {
        let world = self.shared.world.lock();
        self.check_crashed()?;
        look(&world)
    }

    /// Changes the world: one counted operation, or the crash that was planned instead of it.
    fn change<R>(&self, act: impl FnOnce(&mut World) -> io::Result<R>) -> io::Result<R> {
        let mut world = self.shared.world.lock();
        if world.ops >= world.ops_max {
            self.shared.crashed.store(true, Ordering::SeqCst);
        }
        self.check_crashed()?;
        world.ops += 1;
        act(&mut world)
    }

    fn make_file(&self, world: &mut World, path: &Path, capacity: u64) -> io::Result<Arc<Inode>> {
        let (dir, name) = world.tree.place(path)?;
        if world.tree.dirs[dir].current.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.take_space(capacity)?;
        let inode = Arc::new(RwLock::new(FileData::new(world.tracked, capacity)));
        let tracked = world.tracked;
        world.tree.dirs[dir].apply(EntryOp::Set(name, Node::File(inode.clone())), tracked);
        Ok(inode)
    }
}

impl World {
    /// Takes bytes from the space left. Errors: `StorageFull`, and nothing is taken.
    fn take_space(&mut self, bytes: u64) -> io::Result<()> {
        // A full disk refuses a new file as well, which takes an inode.
        if self.space == 0 || bytes > self.space {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.space != u64::MAX {
            self.space -= bytes;
        }
        Ok(())
    }

    fn count_sync(&mut self) -> io::Result<()> {
        if self.syncs_fail {
            return Err(io::Error::other("sync failed, as the test asked"));
        }
        self.syncs += 1;
        Ok(())
    }
}

impl Fs for MemFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change(|world| {
            let (dir, name) = world.tree.place(path)?;
            if world.tree.dirs[dir].current.contains_key(&name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let made = Node::Dir(world.tree.add_dir());
            world.tree.dirs[dir].apply(EntryOp::Set(name, made), world.tracked);
            Ok(())
        })
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.query(|world| match world.tree.find(path) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(error),
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.query(|world| Ok(world.tree.dirs[world.tree.find_dir(dir)?].current.keys().cloned().collect()))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.change(|world| {
            let dir = world.tree.find_dir(dir)?;
            world.count_sync()?;
            world.tree.dirs[dir].sync();
            Ok(())
        })
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.query(|world| Ok(world.tree.find_file(path)?.read().to_vec()))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let inode = self.query(|world| world.tree.find_file(path))?;
        let len = inode.read().len();
        Ok(Arc::new(MemReadFile { fs: self.clone(), inode, len }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let inode = self.change(|world| self.make_file(world, path, 0))?;
        Ok(Box::new(MemWriteFile { fs: self.clone(), inode }))
    }

    fn create_log(&self, path: &Path, capacity: u64, _mode: LogMode) -> io::Result<Box<dyn LogFile>> {
        let inode = self.change(|world| self.make_file(world, path, capacity))?;
        Ok(Box::new(MemLog { fs: self.clone(), inode, len: 0, capacity }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|world| {
            let ((dir, from), (to_dir, to)) = (world.tree.place(from)?, world.tree.place(to)?);
            if dir != to_dir {
                return Err(io::ErrorKind::CrossesDevices.into());
            }
            let entries = &world.tree.dirs[dir].current;
            let node = entries.get(&from).ok_or(io::ErrorKind::NotFound)?.clone();
            if from == to {
                return Ok(());
            }
            match (&node, entries.get(&to)) {
                (_, None) | (Node::File(_), Some(Node::File(_))) => {}
                _ => return Err(io::ErrorKind::AlreadyExists.into()),
            }
            world.tree.dirs[dir].apply(EntryOp::Rename(from, to, node), world.tracked);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|world| {
            world.tree.find_file(path)?;
            let (dir, name) = world.tree.place(path)?;
            world.tree.dirs[dir].apply(EntryOp::Unset(name), world.tracked);
            Ok(())
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.change(|world| {
            let emptied = world.tree.find_dir(path)?;
            if !world.tree.dirs[emptied].current.is_empty() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            let (dir, name) = world.tree.place(path)?;
            world.tree.dirs[dir].apply(EntryOp::Unset(name), world.tracked);
            Ok(())
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|world| {
            let inode = world.tree.find_file(from)?;
            let (dir, name) = world.tree.place(to)?;
            if world.tree.dirs[dir].current.contains_key(&name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            world.tree.dirs[dir].apply(EntryOp::Set(name, Node::File(inode)), world.tracked);
            Ok(())
        })
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<LockOutcome> {
        self.change(|world| {
            let inode = match world.tree.find_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_file(world, path, 0)?,
                found => found?,
            };
            let mut data = inode.write();
            if data.locks.writer || data.locks.readers > 0 {
                return Ok(LockOutcome::Held(String::from_utf8_lossy(&data.to_vec()).into_owned()));
            }
            data.locks.writer = true;
            data.replace(holder.as_bytes());
            drop(data);
            Ok(LockOutcome::Taken(Box::new(MemLock { inode, shared: false })))
        })
    }

    fn lock_shared(&self, path: &Path) -> io::Result<LockOutcome> {
        self.query(|world| {
            let inode = world.tree.find_file(path)?;
            let mut data = inode.write();
            if data.locks.writer {
                return Ok(LockOutcome::Held(String::from_utf8_lossy(&data.to_vec()).into_owned()));
            }
            data.locks.readers += 1;
            drop(data);
            Ok(LockOutcome::Taken(Box::new(MemLock { inode, shared: true })))
        })
    }
}
