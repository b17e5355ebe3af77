//! Log files: allocated whole when made, then appended to through a mapping or by write(2).
use super::held::Place;
#[cfg(target_os = "linux")]
use super::mapping::Mapping;
use super::{create_new, sync_data};
use crate::fs::{LogFile, LogMode, LogSync};
use rustix::fs::{AtFlags, FallocateFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Makes a log file of `capacity` bytes. Nothing is left behind on error.
pub(super) fn create(place: (Place, &Path), capacity: u64, mode: LogMode) -> io::Result<Box<dyn LogFile>> {
    let file = create_new(place.clone())?;
    build(file, capacity, mode).inspect_err(|_| {
        // The first error is the one to tell; an empty file left behind is a file that no manifest names.
        let _ = rustix::fs::unlinkat(place.0, place.1, AtFlags::empty());
    })
}

pub(super) fn build(file: File, capacity: u64, mode: LogMode) -> io::Result<Box<dyn LogFile>> {
    allocate(&file, capacity)?;
    let file = Arc::new(file);
    match mode {
        #[cfg(target_os = "linux")]
        LogMode::Mapped if capacity > 0 => {
            // Whatever the reason (a file system without shared mappings, no address space left): writing needs none.
            let mapping =
                Mapping::new(&file, capacity).map_err(|why| io::Error::new(io::ErrorKind::Unsupported, why))?;
            Ok(Box::new(MappedLog { mapping, len: 0, file, scratch: Scratch::default() }))
        }
        // Elsewhere than on Linux a mapping is not known to be cheaper, so both modes write.
        _ => Ok(Box::new(WrittenLog { file, len: 0, capacity, scratch: Scratch::default() })),
    }
}

/// Gives the file its bytes before it is mapped, so that a full disk is an error here and never a SIGBUS later.
fn allocate(file: &File, capacity: u64) -> io::Result<()> {
    if capacity == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, capacity) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, capacity),
        Err(errno) => Err(errno.into()),
    }
}

/// Allocates by writing, for file systems without fallocate.
fn write_zeros(file: &File, capacity: u64) -> io::Result<()> {
    let zeros = vec![0; 64 << 10];
    let mut offset = 0;
    while offset < capacity {
        let step = (capacity - offset).min(zeros.len() as u64);
        file.write_all_at(&zeros[..step as usize], offset)?;
        offset += step;
    }
    Ok(())
}

/// Returns where an append of `len` bytes at `offset` ends. Errors: `InvalidInput` beyond the capacity.
fn end_of(offset: u64, len: usize, capacity: u64) -> io::Result<u64> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= capacity => Ok(end),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "append beyond the capacity of the log")),
    }
}

/// A mapped log writes appends of at least so many bytes by write(2): see the ADR on the mapped log.
#[cfg(target_os = "linux")]
const WRITTEN_BYTES_MIN: usize = 16 << 10;

/// A log that is copied into through a mapping. Mapping and write(2) meet in the page cache, so either sees the other's
/// bytes at once; which way a record goes is a matter of cost alone.
#[cfg(target_os = "linux")]
struct MappedLog {
    mapping: Mapping,
    len: u64,
    file: Arc<File>,
    scratch: Scratch,
}

#[cfg(target_os = "linux")]
impl LogFile for MappedLog {
    fn append_with(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        let end = end_of(self.len, len, self.capacity())?;
        if self.copies(len) {
            fill(self.mapping.range_mut(self.len as usize, len));
        } else {
            self.scratch.write(&self.file, self.len, len, fill)?;
            self.mapping.skip(end as usize);
        }
        self.len = end;
        Ok(())
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn capacity(&self) -> u64 {
        self.mapping.len() as u64
    }

    fn copies(&self, len: usize) -> bool {
        len < WRITTEN_BYTES_MIN
    }

    fn syncer(&self) -> Arc<dyn LogSync> {
        Arc::new(OsLogSync(self.file.clone()))
    }
}

struct WrittenLog {
    file: Arc<File>,
    len: u64,
    capacity: u64,
    scratch: Scratch,
}

/// The scratch buffer is given back after an append larger than this: a batch of a mebibyte keeps it.
const SCRATCH_BYTES_MAX: usize = (1 << 20) + (64 << 10);

/// Where bytes are put together before they are written.
#[derive(Default)]
struct Scratch(Vec<u8>);

impl Scratch {
    /// Writes `len` bytes that `fill` sets at `offset` of `file`.
    fn write(&mut self, file: &File, offset: u64, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        if self.0.len() < len {
            self.0.resize(len, 0);
        }
        fill(&mut self.0[..len]);
        file.write_all_at(&self.0[..len], offset)?;
        if self.0.len() > SCRATCH_BYTES_MAX {
            self.0 = Vec::new();
        }
        Ok(())
    }
}

impl LogFile for WrittenLog {
    fn append_with(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        let end = end_of(self.len, len, self.capacity)?;
        self.scratch.write(&self.file, self.len, len, fill)?;
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
        false
    }

    fn syncer(&self) -> Arc<dyn LogSync> {
        Arc::new(OsLogSync(self.file.clone()))
    }
}

struct OsLogSync(Arc<File>);

impl LogSync for OsLogSync {
    fn sync(&self) -> io::Result<()> {
        // Pages written through a shared mapping belong to the file: syncing the file syncs them.
        sync_data(&self.0)
    }
}
