//! Memory that is handed out piece by piece and returned all at once.
use super::chunks::Chunks;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Arc;

/// Every piece starts at a multiple of this.
pub(super) const ALIGN: usize = 8;
/// The first chunk is small, so that an idle tree costs little.
const CHUNK_BYTES_MIN: usize = 4 << 10;
/// Chunks double up to this: the size of a huge page on most machines.
pub(super) const CHUNK_BYTES_MAX: usize = 2 << 20;
/// A larger piece gets a chunk of its own, so that little of the current chunk is wasted.
const SHARED_BYTES_MAX: usize = CHUNK_BYTES_MAX / 8;

/// An arena. Invariant: a piece handed out stays where it is until the arena drops.
#[derive(Debug)]
pub(super) struct Arena {
    /// Chunks of full size.
    full: Vec<NonNull<u8>>,
    /// Where those come from and go back to.
    source: Arc<Chunks>,
    /// All others: the first ones, and those of large pieces.
    chunks: Vec<(NonNull<u8>, Layout)>,
    /// First free byte of the current chunk. Invariant: a multiple of [`ALIGN`] from the start of the chunk.
    free: NonNull<u8>,
    /// Free bytes from there on.
    left: usize,
    chunk_bytes_next: usize,
    bytes: usize,
}

impl Arena {
    pub(super) fn new(source: Arc<Chunks>) -> Self {
        Self {
            full: Vec::new(),
            source,
            chunks: Vec::new(),
            free: NonNull::dangling(),
            left: 0,
            chunk_bytes_next: CHUNK_BYTES_MIN,
            bytes: 0,
        }
    }

    /// Bytes taken from the allocator.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns `len` bytes, not initialised, aligned to [`ALIGN`].
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> NonNull<u8> {
        let len = len.next_multiple_of(ALIGN);
        if len > self.left {
            if len > SHARED_BYTES_MAX {
                return self.chunk(len);
            }
            let bytes = self.chunk_bytes_next.max(len.next_power_of_two());
            self.chunk_bytes_next = (bytes * 2).min(CHUNK_BYTES_MAX);
            self.free = self.chunk(bytes);
            self.left = bytes;
        }
        let piece = self.free;
        // SAFETY: `len <= left`, and `left` bytes follow `free` in its chunk.
        self.free = unsafe { piece.add(len) };
        self.left -= len;
        piece
    }

    #[cold]
    fn chunk(&mut self, bytes: usize) -> NonNull<u8> {
        self.bytes += bytes;
        if bytes == CHUNK_BYTES_MAX {
            let start = self.source.take();
            self.full.push(start);
            return start;
        }
        self.source.add(bytes);
        let layout = Layout::from_size_align(bytes, ALIGN).expect("a row is far below isize::MAX");
        // SAFETY: `bytes` is not 0: it is at least the header of a row.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        self.chunks.push((start, layout));
        start
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for start in self.full.drain(..) {
            // SAFETY: `chunk` took it from there, and it goes back only here; a piece is used no longer than its arena lives.
            unsafe { self.source.give(start) };
        }
        for (start, layout) in self.chunks.drain(..) {
            self.source.subtract(layout.size());
            // SAFETY: `chunk` allocated it with this layout, and it is freed only here.
            unsafe { dealloc(start.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn pieces_are_aligned_and_apart() {
        let mut arena = Arena::new(Arc::new(Chunks::new(0)));
        let lengths = [1, 8, 13, 4096, 5000, 1, SHARED_BYTES_MAX + 1, 300, 2 * CHUNK_BYTES_MAX, 7];
        let mut pieces: Vec<(usize, usize)> =
            lengths.iter().map(|&len| (arena.take(len).as_ptr() as usize, len)).collect();
        assert!(pieces.iter().all(|(start, _)| start % ALIGN == 0));
        pieces.sort_unstable();
        assert!(pieces.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0));
        assert!(arena.bytes() >= lengths.iter().sum());
    }

    #[test]
    fn the_source_knows_what_is_held() {
        let source = Arc::new(Chunks::new(CHUNK_BYTES_MAX));
        let held = || source.held().load(Ordering::Relaxed);
        let (mut one, mut two) = (Arena::new(Arc::clone(&source)), Arena::new(Arc::clone(&source)));
        (0..4000).for_each(|_| _ = one.take(1100));
        two.take(SHARED_BYTES_MAX + 8);
        assert_eq!(held(), one.bytes() + two.bytes());
        drop(one);
        assert_eq!(held(), two.bytes() + CHUNK_BYTES_MAX, "one chunk is spare");
        drop(two);
        source.keep_none();
        assert_eq!(held(), 0);
    }

    #[test]
    fn chunks_grow_with_use() {
        let mut arena = Arena::new(Arc::new(Chunks::new(0)));
        arena.take(8);
        assert_eq!(arena.bytes(), CHUNK_BYTES_MIN);
        (0..4000).for_each(|_| _ = arena.take(1100));
        assert!(arena.chunks.len() + arena.full.len() < 16);
        assert!(arena.bytes() < 4000 * 1100 + 2 * CHUNK_BYTES_MAX);
    }
}
