//! Runs of rows for scans: keys decoded in one loop, values as the one slice they are.
use super::Block;
use crate::bytes::{read_varint, u32_at, u64_at};
use crate::{Kind, Revision};
use std::ops::Range;

/// Bytes that are copied at once where no more are needed: a copy of fixed length takes two instructions.
const PIECE_BYTES: usize = 16;

impl Block {
    /// Returns the first of `rows` that is no plain value written at or before `at`; `rows.end` where all are.
    pub fn live_until(&self, rows: Range<usize>, at: Revision) -> usize {
        let stop = self.seen_until(rows.clone(), at);
        match self.kind {
            Some(Kind::Put) => stop,
            Some(_) => rows.start,
            None => {
                let kinds = &self.data[self.kinds as usize..][rows.start..stop];
                kinds.iter().position(|&kind| kind != Kind::Put as u8).map_or(stop, |live| rows.start + live)
            }
        }
    }

    /// Returns the first of `rows` that was written after `at`.
    fn seen_until(&self, rows: Range<usize>, at: Revision) -> usize {
        let Some(above_max) = at.0.checked_sub(self.revision_min) else { return rows.start };
        let width = usize::from(self.revision_width);
        if width == 0 || (width < 8 && above_max >> (8 * width) > 0) {
            return rows.end;
        }
        let column = &self.data[self.revisions as usize..][rows.start * width..rows.end * width];
        let live = match width {
            1 => column.iter().position(|&above| u64::from(above) > above_max),
            2 => column.as_chunks().0.iter().position(|above| u64::from(u16::from_le_bytes(*above)) > above_max),
            4 => column.as_chunks().0.iter().position(|above| u64::from(u32::from_le_bytes(*above)) > above_max),
            _ => column.as_chunks().0.iter().position(|above| u64::from_le_bytes(*above) > above_max),
        };
        live.map_or(rows.end, |live| rows.start + live)
    }

    /// Returns the first of `rows`, from the second on, before which the values take `bytes_max` or more.
    pub fn values_until(&self, rows: Range<usize>, bytes_max: usize) -> usize {
        let base = self.value_offset(rows.start);
        if self.value_offset(rows.end) - base <= bytes_max {
            return rows.end;
        }
        let (mut low, mut high) = (rows.start + 1, rows.end);
        while low < high {
            let middle = low.midpoint(high);
            if self.value_offset(middle) - base < bytes_max {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Appends the keys of `rows` to `keys` and calls `each` with where each ends. `first` is the key of the first row.
    ///
    /// Stops before a row of the same key as the one before it, and once it has appended `bytes_max` bytes. Returns the
    /// number of keys.
    #[inline]
    pub fn append_keys(
        &self,
        rows: Range<usize>,
        first: &[u8],
        bytes_max: usize,
        keys: &mut Vec<u8>,
        mut each: impl FnMut(usize),
    ) -> usize {
        let end_max = keys.len().saturating_add(bytes_max);
        let mut before = keys.len();
        keys.extend_from_slice(first);
        each(keys.len());
        let Some(&entry) = self.entries.get(rows.start + 1) else { return 1 };
        let mut at = entry as usize;
        for row in rows.start + 1..rows.end {
            let (shared, own_at) = read_varint(&self.data, at).expect("entries were checked");
            let (own_len, own_at) = read_varint(&self.data, own_at).expect("entries were checked");
            let (shared, own_len) = (shared as usize, own_len as usize);
            at = own_at + own_len;
            let start = keys.len();
            let is_same = match shared {
                // A restart does not say what it shares.
                0 => self.data[own_at..at] == keys[before..start],
                _ => own_len == 0 && shared == start - before,
            };
            if is_same || start >= end_max {
                return row - rows.start;
            }
            if shared <= PIECE_BYTES && own_len <= PIECE_BYTES && own_at + PIECE_BYTES <= self.data.len() {
                keys.extend_from_slice(&[0; 2 * PIECE_BYTES]);
                keys.copy_within(before..before + PIECE_BYTES, start);
                keys[start + shared..][..PIECE_BYTES].copy_from_slice(&self.data[own_at..][..PIECE_BYTES]);
                keys.truncate(start + shared + own_len);
            } else {
                keys.extend_from_within(before..before + shared);
                keys.extend_from_slice(&self.data[own_at..at]);
            }
            each(keys.len());
            before = start;
        }
        rows.len()
    }

    /// Calls `each` with where the values of `rows` end, counted from where the first of them starts.
    #[inline]
    pub fn value_ends(&self, rows: Range<usize>, each: impl FnMut(usize)) {
        match self.value_len {
            Some(len) => (1..=rows.len()).map(|row| row * len as usize).for_each(each),
            None => {
                let base = self.value_offset(rows.start);
                let ends = &self.data[self.columns as usize..][4 * (rows.start + 1)..4 * (rows.end + 1)];
                let (ends, _) = ends.as_chunks::<4>();
                ends.iter().map(|end| u32::from_le_bytes(*end) as usize - base).for_each(each);
            }
        }
    }

    /// Calls `each` with the revisions of `rows`.
    #[inline]
    pub fn revisions(&self, rows: Range<usize>, mut each: impl FnMut(Revision)) {
        let (min, width) = (self.revision_min, usize::from(self.revision_width));
        let column = &self.data[self.revisions as usize..][rows.start * width..rows.end * width];
        let mut add = |above: u64| each(Revision(min.wrapping_add(above)));
        match width {
            0 => rows.for_each(|_| add(0)),
            1 => column.iter().for_each(|&above| add(u64::from(above))),
            2 => column.chunks_exact(2).for_each(|above| add(u64::from(u16::from_le_bytes([above[0], above[1]])))),
            4 => column.chunks_exact(4).for_each(|above| add(u64::from(u32_at(above, 0)))),
            _ => column.chunks_exact(8).for_each(|above| add(u64_at(above, 0))),
        }
    }
}
