//! Fetching memory into the processor's caches ahead of use. An unsafe room of one instruction.
#![allow(unsafe_code)]

/// Bytes of a cache line.
pub(crate) const LINE_BYTES: usize = 64;

/// Asks for the line at an address, and goes on at once. Any address will do.
#[inline]
pub(crate) fn line(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction exists on every x86-64; it reads nothing that a program sees, and no address makes it fail.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Asks for the lines of `bytes`, at most `lines_max` of them.
#[inline]
pub(crate) fn bytes(bytes: &[u8], lines_max: usize) {
    for piece in bytes.chunks(LINE_BYTES).take(lines_max) {
        line(piece.as_ptr());
    }
}
