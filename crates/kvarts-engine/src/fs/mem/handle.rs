//! Open files.
use super::{Inode, MemFs};
use crate::fs::{LogFile, LogSync, ReadFile, WriteFile};
use std::io;
use std::sync::Arc;

pub(super) struct MemReadFile {
    pub(super) fs: MemFs,
    pub(super) inode: Arc<Inode>,
    pub(super) len: u64,
}

impl ReadFile for MemReadFile {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.fs.check_crashed()?;
        if self.inode.read().read_at(offset, buf) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn len(&self) -> u64 {
        self.len
    }
}

pub(super) struct MemWriteFile {
    pub(super) fs: MemFs,
    pub(super) inode: Arc<Inode>,
}

impl WriteFile for MemWriteFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fs.change(|world| {
            world.take_space(bytes.len() as u64)?;
            let mut data = self.inode.write();
            let end = data.len();
            data.write_with(end, bytes.len(), &mut |range| range.copy_from_slice(bytes));
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        sync(&self.fs, &self.inode)
    }
}

pub(super) struct MemLog {
    pub(super) fs: MemFs,
    pub(super) inode: Arc<Inode>,
    pub(super) len: u64,
    pub(super) capacity: u64,
}

impl LogFile for MemLog {
    fn append_with(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        let end = self.len.checked_add(len as u64).filter(|&end| end <= self.capacity);
        let end = end.ok_or(io::ErrorKind::InvalidInput)?;
        // Its space was taken when it was made.
        self.fs.change(|_| {
            self.inode.write().write_with(self.len, len, fill);
            Ok(())
        })?;
        self.len = end;
        Ok(())
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn copies(&self, _len: usize) -> bool {
        true
    }

    fn syncer(&self) -> Arc<dyn LogSync> {
        Arc::new(MemLogSync { fs: self.fs.clone(), inode: self.inode.clone() })
    }
}

struct MemLogSync {
    fs: MemFs,
    inode: Arc<Inode>,
}

impl LogSync for MemLogSync {
    fn sync(&self) -> io::Result<()> {
        sync(&self.fs, &self.inode)
    }
}

fn sync(fs: &MemFs, inode: &Inode) -> io::Result<()> {
    fs.change(|world| {
        world.count_sync()?;
        inode.write().sync();
        Ok(())
    })
}

/// Frees the lock when dropped.
pub(super) struct MemLock {
    pub(super) inode: Arc<Inode>,
    pub(super) shared: bool,
}

impl Drop for MemLock {
    fn drop(&mut self) {
        let locks = &mut self.inode.write().locks;
        if self.shared { locks.readers -= 1 } else { locks.writer = false }
    }
}
