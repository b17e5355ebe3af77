//! Tuples as bytes that sort as the tuples do: `docs/formats/tuple.md`. Source: FoundationDB's tuple layer, design/tuple.md.
//!
//! There is one way to write a tuple, and the reader refuses any other, so that equal tuples are equal keys.
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::Reader;
pub use writer::{Refusal, Writer};

use std::borrow::Cow;

/// Tuples within a tuple, at most: readers and writers may go down one by one on the stack.
pub const NESTING_MAX: usize = 64;
/// Bytes of a whole number, without its sign.
pub const INT_BYTES_MAX: usize = 255;
/// Bytes of a versionstamp: 10 of the transaction's, 2 of the user's.
pub const VERSIONSTAMP_BYTES: usize = 12;

pub(crate) const NULL: u8 = 0x00;
pub(crate) const BYTES: u8 = 0x01;
pub(crate) const TEXT: u8 = 0x02;
pub(crate) const NESTED: u8 = 0x05;
pub(crate) const NEGATIVE_LONG: u8 = 0x0b;
pub(crate) const ZERO: u8 = 0x14;
pub(crate) const POSITIVE_LONG: u8 = 0x1d;
pub(crate) const SINGLE: u8 = 0x20;
pub(crate) const DOUBLE: u8 = 0x21;
pub(crate) const FALSE: u8 = 0x26;
pub(crate) const TRUE: u8 = 0x27;
pub(crate) const UUID: u8 = 0x30;
pub(crate) const VERSIONSTAMP: u8 = 0x33;
/// Behind a zero that is part of a text, or is a null in a nested tuple. No code has this value.
pub(crate) const ESCAPE: u8 = 0xff;

/// A part of a tuple; a nested tuple is what lies between `Begin` and `End`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Nothing.
    Null,
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// Text.
    Text(Cow<'a, str>),
    /// A nested tuple begins.
    Begin,
    /// It ends.
    End,
    /// A whole number of at most 8 bytes.
    Int {
        /// Whether it is below 0.
        negative: bool,
        /// How far from 0.
        magnitude: u64,
    },
    /// A whole number of 9 to 255 bytes.
    Long {
        /// Whether it is below 0.
        negative: bool,
        /// How far from 0: the highest byte first, which is not 0.
        magnitude: Cow<'a, [u8]>,
    },
    /// The bits of a number in single precision.
    Single(u32),
    /// The bits of a number in double precision.
    Double(u64),
    /// True or false.
    Bool(bool),
    /// 16 bytes.
    Uuid([u8; 16]),
    /// A versionstamp, complete.
    Versionstamp([u8; VERSIONSTAMP_BYTES]),
}

/// A versionstamp whose transaction has no number yet begins with ten of these.
fn is_complete(versionstamp: &[u8; VERSIONSTAMP_BYTES]) -> bool {
    versionstamp[..10] != [0xff; 10]
}

/// Turns the bits of a float so that they sort as numbers: -NaN, -inf, …, -0, 0, …, inf, NaN.
fn turned<const N: usize>(mut bits: [u8; N]) -> [u8; N] {
    if bits[0] & 0x80 == 0 {
        bits[0] ^= 0x80;
    } else {
        bits.iter_mut().for_each(|byte| *byte = !*byte);
    }
    bits
}

/// Undoes `turned`.
fn turned_back<const N: usize>(mut bits: [u8; N]) -> [u8; N] {
    if bits[0] & 0x80 == 0 {
        bits.iter_mut().for_each(|byte| *byte = !*byte);
    } else {
        bits[0] ^= 0x80;
    }
    bits
}
