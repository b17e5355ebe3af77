//! The machine's file system.
//!
//! Files are opened with `O_CLOEXEC` (a child that execs inherits none) and `O_NOFOLLOW` (a link planted in the data
//! directory is an error). Modes are set after making, so that the umask cannot narrow or widen them.
use super::{Fs, LockOutcome, LogFile, LogMode, ReadFile, WriteFile};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

mod log;
#[cfg(target_os = "linux")]
mod mapping;
#[cfg(test)]
mod tests;

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIR_MODE: Mode = Mode::RWXU;

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFs;

impl Fs for OsFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        rustix::fs::mkdir(path, DIR_MODE)?;
        Ok(rustix::fs::chmod(path, DIR_MODE)?)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            // All names of ours are UTF-8; whoever put another name there gets it ignored.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // The directory may be reached through a link: only links in it are traps.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        sync_all(&File::from(rustix::fs::open(dir, flags, Mode::empty())?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = open_at(path, OFlags::RDONLY)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let file = open_at(path, OFlags::RDONLY)?;
        let len = file.metadata()?.len();
        Ok(Arc::new(OsReadFile { file, len }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(OsWriteFile { file: create_new(path)? }))
    }

    fn create_log(&self, path: &Path, capacity: u64, mode: LogMode) -> io::Result<Box<dyn LogFile>> {
        log::create(path, capacity, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::rename(from, to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::unlink(path)?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::rmdir(path)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::link(from, to)?)
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<LockOutcome> {
        let mut file = open_at(path, OFlags::RDWR | OFlags::CREATE)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return read_holder(&mut file),
            Err(errno) => return Err(errno.into()),
        }
        rustix::fs::fchmod(&file, FILE_MODE)?;
        file.set_len(0)?;
        file.write_all(holder.as_bytes())?;
        Ok(LockOutcome::Taken(Box::new(Lock { file })))
    }

    fn lock_shared(&self, path: &Path) -> io::Result<LockOutcome> {
        let mut file = open_at(path, OFlags::RDONLY)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(LockOutcome::Taken(Box::new(Lock { file }))),
            Err(Errno::WOULDBLOCK) => read_holder(&mut file),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn read_holder(file: &mut File) -> io::Result<LockOutcome> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(LockOutcome::Held(String::from_utf8_lossy(&text).into_owned()))
}

/// A lock that is held; the text in the file stays and counts for nothing.
struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a forked child has the descriptor too, and with it the lock. An error frees it no less:
        // the descriptor is closed next.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// Opens `path`, never through a symbolic link.
fn open_at(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(File::from(rustix::fs::open(path, flags, FILE_MODE)?))
}

/// Makes a new file, read-write, mode 0600.
fn create_new(path: &Path) -> io::Result<File> {
    let file = open_at(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
    rustix::fs::fchmod(&file, FILE_MODE)?;
    Ok(file)
}

/// Puts a file's data and length (or a directory's entries) on stable storage.
fn sync_all(file: &File) -> io::Result<()> {
    #[cfg(target_os = "macos")]
    return Ok(rustix::fs::fcntl_fullfsync(file)?);
    #[cfg(not(target_os = "macos"))]
    return Ok(rustix::fs::fsync(file)?);
}

/// Puts a file's data, and what of its metadata is needed to read it, on stable storage.
fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(target_os = "macos")]
    return Ok(rustix::fs::fcntl_fullfsync(file)?);
    #[cfg(not(target_os = "macos"))]
    return Ok(rustix::fs::fdatasync(file)?);
}

struct OsReadFile {
    file: File,
    len: u64,
}

impl ReadFile for OsReadFile {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn len(&self) -> u64 {
        self.len
    }
}

struct OsWriteFile {
    file: File,
}

impl WriteFile for OsWriteFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        sync_data(&self.file)
    }
}
