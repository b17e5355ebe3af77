//! Memory of blocks, used again: whoever reads a block gives up another soon after, on the same thread.
use std::cell::Cell;
use std::ops::{Deref, DerefMut};

/// No larger one is kept.
const KEPT_MAX: usize = 64 << 10;

thread_local! {
    /// What the thread's last buffer left.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Bytes whose memory serves the next buffer of the thread that drops them.
#[derive(Clone, Debug)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// Returns `len` bytes, to be overwritten: what is in them is of no use.
    pub fn unfilled(len: usize) -> Self {
        let spare = SPARE.try_with(Cell::take).unwrap_or_default();
        // One that is much larger would be held in vain.
        let mut bytes = if (len..=2 * len).contains(&spare.capacity()) { spare } else { Vec::with_capacity(len) };
        bytes.resize(len, 0);
        Self(bytes)
    }

    /// Bytes of memory that it takes.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.0);
        if bytes.capacity() <= KEPT_MAX {
            // A thread that ends has no place for it any more.
            let _ = SPARE.try_with(|spare| spare.set(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_where_it_fits() {
        let first = Buffer::unfilled(1000);
        let place = first.as_ptr();
        drop(first);
        let second = Buffer::unfilled(900);
        assert_eq!((second.as_ptr(), second.len(), second.capacity()), (place, 900, 1000));
        drop(second);
        assert_eq!(Buffer::unfilled(400).capacity(), 400, "the spare one is too large");
        drop(Buffer::unfilled(KEPT_MAX + 1));
        assert_ne!(Buffer::unfilled(KEPT_MAX + 1 - 8).capacity(), KEPT_MAX + 1);
        assert_eq!(Buffer::unfilled(0).len(), 0);
    }
}
