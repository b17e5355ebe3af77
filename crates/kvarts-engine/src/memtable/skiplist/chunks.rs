//! Spare chunks: what the arenas of dropped memtables leave to later ones.
use super::arena::CHUNK_BYTES_MAX;
use crate::sync::Mutex;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory that starts where a huge page does, and is as long as one on most machines.
const CHUNK: Layout = match Layout::from_size_align(CHUNK_BYTES_MAX, CHUNK_BYTES_MAX) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};

/// Chunks of full size, some of them spare. Memory that is used again costs nothing; memory from the kernel costs a fault
/// and a zeroed page, which is more than the row that meets it.
///
/// Spare chunks are taken before new ones are made, so those in use and the spare ones together are never more than
/// were in use at once.
#[derive(Debug)]
pub struct Chunks {
    spare: Mutex<Spare>,
    /// Bytes that memtables hold, and spare ones.
    held: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Spare {
    /// Invariant: each was allocated with [`CHUNK`], and nobody else knows of it.
    chunks: Vec<NonNull<u8>>,
    /// So many are kept.
    max: usize,
}

// SAFETY: a spare chunk is plain memory that belongs to this value alone.
unsafe impl Send for Chunks {}
// SAFETY: as above; the list is behind a lock.
unsafe impl Sync for Chunks {}

impl Chunks {
    /// Returns a source of chunks that keeps up to `spare_bytes` of them, rounded up, for later use.
    pub fn new(spare_bytes: usize) -> Self {
        let max = spare_bytes.div_ceil(CHUNK_BYTES_MAX);
        Self { spare: Mutex::new(Spare { chunks: Vec::new(), max }), held: Arc::default() }
    }

    /// The bytes that all memtables with this source hold at the moment, also those that only readers keep, and what is spare.
    pub fn held(&self) -> &Arc<AtomicUsize> {
        &self.held
    }

    /// Counts memory that an arena takes for itself.
    pub(super) fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts what it gives back.
    pub(super) fn subtract(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns a chunk, not initialised. It goes back by [`Chunks::give`].
    pub(super) fn take(&self) -> NonNull<u8> {
        let spare = self.spare.lock().chunks.pop();
        spare.unwrap_or_else(|| {
            self.add(CHUNK_BYTES_MAX);
            allocate()
        })
    }

    /// Takes back a chunk that nobody uses any more.
    ///
    /// # Safety
    /// `chunk` came from [`Chunks::take`] and no reference into it is left.
    pub(super) unsafe fn give(&self, chunk: NonNull<u8>) {
        let mut spare = self.spare.lock();
        if spare.chunks.len() < spare.max {
            spare.chunks.push(chunk);
        } else {
            drop(spare);
            self.subtract(CHUNK_BYTES_MAX);
            // SAFETY: every chunk is allocated with this layout; the caller has no more use for it.
            unsafe { dealloc(chunk.as_ptr(), CHUNK) };
        }
    }

    /// Frees the spare chunks, and keeps none from now on.
    pub fn keep_none(&self) {
        let mut spare = self.spare.lock();
        spare.max = 0;
        for chunk in spare.chunks.drain(..) {
            self.subtract(CHUNK_BYTES_MAX);
            // SAFETY: the invariant of `Spare::chunks`.
            unsafe { dealloc(chunk.as_ptr(), CHUNK) };
        }
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.keep_none();
    }
}

/// Allocates a chunk, and asks for one huge page behind it: one fault in place of 512.
fn allocate() -> NonNull<u8> {
    // SAFETY: the layout is not empty.
    let start = unsafe { alloc(CHUNK) };
    let Some(start) = NonNull::new(start) else { handle_alloc_error(CHUNK) };
    #[cfg(target_os = "linux")]
    // SAFETY: the range was just allocated and is aligned to its own length, and so to pages. The advice changes no byte;
    // where it is refused, pages come one by one.
    let _ = unsafe { rustix::mm::madvise(start.as_ptr().cast(), CHUNK_BYTES_MAX, rustix::mm::Advice::LinuxHugepage) };
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_used_again_up_to_the_limit() {
        let chunks = Chunks::new(CHUNK_BYTES_MAX + 1);
        let taken = [chunks.take(), chunks.take(), chunks.take()];
        for chunk in taken {
            // SAFETY: each came from `take` and is not used.
            unsafe { chunks.give(chunk) };
        }
        assert_eq!(chunks.spare.lock().chunks.len(), 2, "the third went back to the allocator");
        let again = [chunks.take(), chunks.take()];
        assert_eq!(again, [taken[1], taken[0]]);
        chunks.keep_none();
        // SAFETY: as above.
        again.into_iter().for_each(|chunk| unsafe { chunks.give(chunk) });
        assert!(chunks.spare.lock().chunks.is_empty());
    }
}
