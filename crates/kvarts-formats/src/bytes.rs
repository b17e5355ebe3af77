//! Reading and writing of small fields. Nothing here panics on damaged bytes.
use crate::{FormatError, Result};

/// Longest varint of a u64.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

/// Returns the u32 at `at`, which the caller knows to lie inside `data`.
#[inline]
pub(crate) fn u32_at(data: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(data[at..at + 4].try_into().expect("four bytes"))
}

/// Returns the u64 at `at`, which the caller knows to lie inside `data`.
#[inline]
pub(crate) fn u64_at(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(data[at..at + 8].try_into().expect("eight bytes"))
}

/// Writes `value` as a varint (LEB128: 7 bits a byte, low bits first) at `at` and returns where it ends.
#[inline]
pub(crate) fn write_varint(out: &mut [u8], mut at: usize, mut value: u64) -> usize {
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
}

/// Appends `value` as a varint.
#[inline]
pub(crate) fn push_varint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        return out.push(value as u8);
    }
    let mut bytes = [0; VARINT_BYTES_MAX];
    let end = write_varint(&mut bytes, 0, value);
    out.extend_from_slice(&bytes[..end]);
}

/// Reads a varint at `at` and returns it with where it ends; `None` where it is cut short, too long or not minimal.
#[inline]
pub(crate) fn read_varint(data: &[u8], at: usize) -> Option<(u64, usize)> {
    let first = *data.get(at)?;
    if first < 0x80 {
        return Some((u64::from(first), at + 1));
    }
    read_long_varint(data, at)
}

fn read_long_varint(data: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, &byte) in data.get(at..)?.iter().take(VARINT_BYTES_MAX).enumerate() {
        let low = u64::from(byte & 0x7f);
        if i == VARINT_BYTES_MAX - 1 && byte > 1 {
            return None;
        }
        value |= low << (7 * i);
        if byte < 0x80 {
            return (byte != 0).then_some((value, at + i + 1));
        }
    }
    None
}

/// Reads fields one after another; every read is checked.
pub(crate) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Bytes not yet read.
    pub(crate) fn left(&self) -> usize {
        self.data.len() - self.at
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        if len > self.left() {
            return Err(FormatError::corrupt(self.at, "cut short"));
        }
        let bytes = &self.data[self.at..self.at + len];
        self.at += len;
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.take(4).map(|bytes| u32_at(bytes, 0))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.take(8).map(|bytes| u64_at(bytes, 0))
    }

    /// Reads a u32 length and that many bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    /// Reads a u32 count of things that take at least `bytes_min` each, so that no count allocates more than the input.
    pub(crate) fn count(&mut self, bytes_min: usize) -> Result<usize> {
        let at = self.at;
        let count = self.u32()? as usize;
        if count > self.left() / bytes_min {
            return Err(FormatError::corrupt(at, "a count is larger than the bytes that follow"));
        }
        Ok(count)
    }

    /// Checks that everything was read.
    pub(crate) fn finish(self) -> Result<()> {
        if self.left() > 0 {
            return Err(FormatError::corrupt(self.at, "bytes are left over"));
        }
        Ok(())
    }
}

/// Appends a u32 length and the bytes.
pub(crate) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("shorter than 4 GiB").to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Tells whether every byte is zero, at the speed of memory.
pub(crate) fn all_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| chunk == &[0; 64]) && rest.iter().all(|&byte| byte == 0)
}

/// Returns how many leading bytes `a` and `b` share.
#[inline]
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    let mut at = 0;
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let differing = u64_at(x, 0) ^ u64_at(y, 0);
        if differing != 0 {
            return at + differing.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varint_round_trips(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = vec![9];
            push_varint(&mut out, value);
            prop_assert_eq!(read_varint(&out, 1), Some((value, out.len())));
            prop_assert_eq!(read_varint(&out[..out.len() - 1], 1), None);
        }

        #[test]
        fn varint_has_one_form(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Some((value, end)) = read_varint(&bytes, 0) {
                let mut out = Vec::new();
                push_varint(&mut out, value);
                prop_assert_eq!(&out[..], &bytes[..end]);
            }
        }

        #[test]
        fn common_prefix_counts(a in prop::collection::vec(0u8..2, 0..40), b in prop::collection::vec(0u8..2, 0..40)) {
            let expected = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
            prop_assert_eq!(common_prefix(&a, &b), expected);
        }
    }

    #[test]
    fn one_bit_anywhere_is_not_zero() {
        let mut bytes = [0; 200];
        assert!(all_zero(&bytes));
        for i in 0..bytes.len() {
            bytes[i] = 1;
            assert!(!all_zero(&bytes));
            bytes[i] = 0;
        }
    }
}
