//! The machine's file system.
//!
//! Files are opened with `O_CLOEXEC` (a child that execs inherits none), `O_NOFOLLOW` (a link planted in the data directory
//! is an error) and `O_NONBLOCK` (a pipe planted there holds nobody up, and is refused as what it is). Modes are those of
//! making, which a umask can only narrow; what it took from the owner is given back through the handle.
use super::{Access, Fs, Kind, LockOutcome, LogFile, LogMode, Owned, ReadFile, WriteFile};
use held::{Held, Place, Within};
use room::with_room;
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

mod held;
mod log;
#[cfg(target_os = "linux")]
mod mapping;
mod room;
#[cfg(test)]
mod tests;

pub use room::{Lender, offer};

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIR_MODE: Mode = Mode::RWXU;

/// The machine's file system. [`Fs::hold`] returns one that reaches a directory through a handle.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFs;

impl Within for OsFs {
    fn place<'a>(&'a self, path: &'a Path) -> (Place, &'a Path) {
        (Place::Process, path)
    }
}

impl<W: Within + Send + Sync + 'static> Fs for W {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let (at, name) = self.place(path);
        rustix::fs::mkdirat(&at, name, DIR_MODE)?;
        match open_dir(at.clone(), name, OFlags::NOFOLLOW) {
            Ok(dir) => Ok(rustix::fs::fchmod(&dir, DIR_MODE)?),
            // The umask took reading from the owner too: it cannot be opened before it is given back.
            Err(Errno::ACCESS) => Ok(rustix::fs::chmodat(at, name, DIR_MODE, AtFlags::empty())?),
            Err(errno) => Err(errno.into()),
        }
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let (at, name) = self.place(path);
        match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let (at, name) = self.place(dir);
        // The directory may be reached through a link: only links in it are traps.
        let dir = open_dir(at, name, OFlags::empty())?;
        let entries = with_room(|| Dir::read_from(&dir))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(name) => names.push(name.to_owned()),
                // All names of ours are UTF-8; whoever put another name there gets it ignored.
                Err(_) => {}
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match self.place(dir) {
            // Needs no descriptor more: a manifest that was put in place must not lack one for this.
            (Place::Held(handle), name) if name == Path::new(".") => sync_all(&handle),
            (at, name) => sync_all(&open_dir(at, name, OFlags::empty())?),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = open_file(self.place(path), OFlags::RDONLY)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let file = open_file(self.place(path), OFlags::RDONLY)?;
        let len = file.metadata()?.len();
        Ok(Arc::new(OsReadFile { file, len }))
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        let (at, name) = self.place(path);
        Ok(u64::try_from(rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?.st_size).unwrap_or(0))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(OsWriteFile { file: create_new(self.place(path))? }))
    }

    fn create_log(&self, path: &Path, capacity: u64, mode: LogMode) -> io::Result<Box<dyn LogFile>> {
        log::create(self.place(path), capacity, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_at, from), (to_at, to)) = (self.place(from), self.place(to));
        Ok(rustix::fs::renameat(from_at, from, to_at, to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (at, name) = self.place(path);
        Ok(rustix::fs::unlinkat(at, name, AtFlags::empty())?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let (at, name) = self.place(path);
        Ok(rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_at, from), (to_at, to)) = (self.place(from), self.place(to));
        Ok(rustix::fs::linkat(from_at, from, to_at, to, AtFlags::empty())?)
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<LockOutcome> {
        let mut file = open_file(self.place(path), OFlags::RDWR | OFlags::CREATE)?;
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
        let mut file = open_file(self.place(path), OFlags::RDONLY)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(LockOutcome::Taken(Box::new(Lock { file }))),
            Err(Errno::WOULDBLOCK) => read_holder(&mut file),
            Err(errno) => Err(errno.into()),
        }
    }

    fn hold(&self, dir: &Path) -> io::Result<Option<Arc<dyn Fs>>> {
        let (at, name) = self.place(dir);
        let handle = open_dir(at, name, OFlags::empty())?;
        Ok(Some(Arc::new(Held::new(dir, handle))))
    }

    fn release(&self) {
        Within::release(self);
    }

    fn access(&self, dir: &Path) -> io::Result<Option<Access>> {
        let (at, name) = self.place(dir);
        let handle = open_dir(at, name, OFlags::empty())?;
        let mut files = Vec::new();
        for name in self.list(dir)? {
            match rustix::fs::statat(&handle, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => files.push((name, owned(&stat))),
                // It went meanwhile: then it is nobody's.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let me = rustix::process::geteuid().as_raw();
        Ok(Some(Access { me, dir: owned(&rustix::fs::fstat(&handle)?), files }))
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let (at, name) = self.place(path);
        Ok(rustix::fs::chmodat(at, name, Mode::from_raw_mode(mode), AtFlags::empty())?)
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

/// Opens a directory, to be read or synced.
fn open_dir(at: Place, name: &Path, flags: OFlags) -> Result<File, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(with_room(|| rustix::fs::openat(&at, name, flags, Mode::empty()))?))
}

/// Opens a file, never through a symbolic link. Errors: `InvalidInput` where it is no file.
fn open_file((at, name): (Place, &Path), flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(with_room(|| rustix::fs::openat(&at, name, flags, FILE_MODE))?);
    let kind = owned(&rustix::fs::fstat(&file)?).kind;
    if kind == Kind::File {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {kind}, not a file")))
}

/// Makes a new file, read-write, mode 0600.
fn create_new(place: (Place, &Path)) -> io::Result<File> {
    let file = open_file(place, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
    rustix::fs::fchmod(&file, FILE_MODE)?;
    Ok(file)
}

fn owned(stat: &rustix::fs::Stat) -> Owned {
    use rustix::fs::FileType;
    // What these fields are as wide as differs between systems.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "the width differs between systems")]
    let (mode, links) = (stat.st_mode as u32, u64::from(stat.st_nlink));
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        FileType::Fifo => Kind::Pipe,
        FileType::Socket => Kind::Socket,
        _ => Kind::Device,
    };
    Owned { kind, uid: stat.st_uid, mode: mode & 0o7777, links, bytes: u64::try_from(stat.st_size).unwrap_or(0) }
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
