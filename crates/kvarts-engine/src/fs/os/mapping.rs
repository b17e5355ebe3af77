//! A log file mapped for writing: the one unsafe corner of this room.
//!
//! Invariants, and who upholds them:
//! - The file keeps its length while it is mapped (a shorter file would turn a store into SIGBUS). `log::build` allocates
//!   the bytes before mapping; nothing in this crate truncates a log, and the store's LOCK keeps other processes off.
//! - We hold the only writer: the file was made by `create_new` with `O_EXCL`, the mapping is owned, `range_mut` takes
//!   `&mut self`, and nobody reads a log that is being appended to.
//! - The address range is ours from `mmap` to `munmap`, which only `drop` calls.
#![expect(unsafe_code, reason = "a shared mapping needs mmap; see the invariants above")]
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ptr::{self, NonNull};

/// Pages are made present this far ahead of the writing position, one such step at a time. A multiple of every page size.
const POPULATE_BYTES: usize = 256 << 10;

/// A shared, writable mapping of a whole file.
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    /// Bytes from the start that were populated or skipped, a multiple of [`POPULATE_BYTES`] or the whole length;
    /// `usize::MAX` where the kernel does not know how.
    populated: usize,
}

// SAFETY: the mapping is plain memory owned by this value alone; moving the owner to another thread moves nothing else.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `file`, which must be allocated. Errors: what mmap says; `len` beyond the address space.
    pub(super) fn new(file: &File, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: the kernel picks a free range (null hint, no MAP_FIXED), so no memory in use is replaced; the caller
        // allocated `len` bytes of the file and never truncates it.
        let base = unsafe {
            rustix::mm::mmap(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)?
        };
        let base = NonNull::new(base.cast()).expect("mmap without MAP_FIXED never returns null");
        Ok(Self { base, len, populated: 0 })
    }

    /// Bytes mapped.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns `len` bytes at `offset` for writing. Panics out of range.
    pub(super) fn range_mut(&mut self, offset: usize, len: usize) -> &mut [u8] {
        let end = offset.checked_add(len).expect("the caller checked the capacity");
        assert!(end <= self.len, "the caller checked the capacity");
        if end > self.populated {
            self.populate(end);
        }
        // SAFETY: `offset..end` lies inside the mapping (asserted), which lives as long as `self`; `&mut self` makes the
        // slice the only reference; mapped bytes are always initialised.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr().add(offset), len) }
    }

    /// Notes that the bytes up to `end` were written by other means: pages before it need not be made present.
    pub(super) fn skip(&mut self, end: usize) {
        self.populated = self.populated.max(end / POPULATE_BYTES * POPULATE_BYTES);
    }

    /// Makes the pages up to the step after `end` present and writable in one call: otherwise every first touch of a page
    /// is a fault, paid by the put that meets it.
    fn populate(&mut self, end: usize) {
        if self.populated == usize::MAX {
            return;
        }
        let start = self.populated;
        let stop = end.next_multiple_of(POPULATE_BYTES).min(self.len);
        // SAFETY: `start..stop` lies inside the mapping and `start` is a multiple of the page size; populating changes no
        // byte, only whether a page is present.
        let outcome = unsafe {
            let address = self.base.as_ptr().add(start).cast::<c_void>();
            rustix::mm::madvise(address, stop - start, Advice::LinuxPopulateWrite)
        };
        // It is advice: a kernel before 5.14 knows none, and then pages come one by one.
        self.populated = if outcome.is_ok() { stop } else { usize::MAX };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base..base + len` is exactly what `new` mapped, and no slice of it outlives `self`. The bytes stay in the
        // page cache: unmapping loses nothing.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
