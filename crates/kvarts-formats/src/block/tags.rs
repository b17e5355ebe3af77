//! Point reads of a block by tags: a byte of each key's hash, so that a read looks at the keys of about one row.
use super::Block;
use crate::Revision;
use crate::bytes::common_prefix;
use crate::hash::key_hash;

/// So many tags lie in the block itself: a block of large values is then searched without leaving its first lines.
const FEW: usize = 16;

/// Tags compared at once.
const WORD: usize = 8;

/// A byte of each key's hash, by row; never 0, which stands behind the last.
#[derive(Debug)]
pub(super) struct Tags {
    few: [u8; FEW],
    /// All of them where they are not few.
    many: Box<[u8]>,
    /// Where the keys of the few rows start, for the same reason; 0 where one starts too far away for that.
    starts: [u16; FEW],
    /// Bytes that all keys begin with.
    common: u32,
}

/// Bytes that the tags of so many rows take beside the block.
pub(super) fn bytes_of(rows: usize) -> usize {
    if rows > FEW { rows.next_multiple_of(WORD) } else { 0 }
}

#[inline]
fn tag_of(hash: u64) -> u8 {
    // Filters and memtables choose by the upper and the lower bits.
    ((hash >> 24) as u8).max(1)
}

impl Tags {
    fn of(block: &Block) -> Self {
        let many = vec![0; bytes_of(block.rows())].into();
        let mut tags = Self { few: [0; FEW], many, starts: [0; FEW], common: 0 };
        for (start, &entry) in tags.starts.iter_mut().zip(&block.entries) {
            *start = u16::try_from(entry).unwrap_or(0);
        }
        let mut key = Vec::new();
        for row in 0..block.rows() {
            block.key_after(row, &mut key);
            let places = if tags.many.is_empty() { &mut tags.few[..] } else { &mut tags.many };
            places[row] = tag_of(key_hash(&key));
        }
        tags.common = common_prefix(block.entry(0).1, &key) as u32;
        tags
    }

    /// The rows that have a tag, in order.
    #[inline]
    fn rows_of(&self, tag: u8) -> impl Iterator<Item = usize> {
        const ONES: u64 = 0x0101_0101_0101_0101;
        let (words, _) = if self.many.is_empty() { &self.few[..] } else { &self.many }.as_chunks::<WORD>();
        let wanted = ONES * u64::from(tag);
        words.iter().enumerate().flat_map(move |(word, bytes)| {
            let differ = u64::from_le_bytes(*bytes) ^ wanted;
            // The upper bit of each byte that is 0, and sometimes of a byte above it: the key decides.
            let mut equal = differ.wrapping_sub(ONES) & !differ & (ONES << 7);
            std::iter::from_fn(move || {
                let bit = (equal != 0).then(|| equal.trailing_zeros() as usize)?;
                equal &= equal - 1;
                Some(word * WORD + bit / 8)
            })
        })
    }
}

impl Block {
    /// Returns what [`Block::find`] does, for a key whose [`key_hash`] is `hash`. `hint` is told of the row's value before
    /// the keys are looked at: it may fetch that into a cache.
    ///
    /// The first call makes the tags: for blocks that are read again.
    #[inline]
    pub fn find_hashed(&self, key: &[u8], hash: u64, at: Revision, mut hint: impl FnMut(&[u8])) -> Option<usize> {
        let tags = self.tags.get_or_init(|| Tags::of(self));
        for row in tags.rows_of(tag_of(hash)) {
            if row >= self.rows() {
                return None;
            }
            hint(self.value(row));
            if self.is_key(row, key, tags) {
                return self.newest(row, key, at);
            }
        }
        None
    }

    /// Tells the place of what a point read looks at after the block's own fields, for a prefetch.
    #[inline]
    pub fn first_bytes(&self) -> (*const u8, *const u8) {
        (self.data.as_ptr(), self.entries.as_ptr().cast())
    }

    /// Tells whether the key of `row` is `key`, going back only as far as keys share more than all do.
    #[inline]
    fn is_key(&self, mut row: usize, key: &[u8], tags: &Tags) -> bool {
        let entry = |row| match tags.starts.get(row) {
            None | Some(0) => self.entry(row),
            Some(&start) => self.entry_from(usize::from(start)),
        };
        let (shared, own) = entry(row);
        if shared + own.len() != key.len() || own != &key[shared..] {
            return false;
        }
        // Invariant: key[open..] was compared; the key of `row - 1` begins with the first `open` bytes of the row's.
        let mut open = shared;
        while open > tags.common as usize {
            row -= 1;
            let (shared, own) = entry(row);
            if shared < open {
                if own[..open - shared] != key[shared..open] {
                    return false;
                }
                open = shared;
            }
        }
        entry(0).1[..open] == key[..open]
    }

    /// Returns the first row of `key` at or before `at`, from `row` on, which is the first of the key.
    #[inline]
    fn newest(&self, mut row: usize, key: &[u8], at: Revision) -> Option<usize> {
        while self.revision(row) > at {
            row += 1;
            if row == self.rows() {
                return None;
            }
            let (shared, own) = self.entry(row);
            let is_same = if self.restart_of(row) == row { own == key } else { shared == key.len() && own.is_empty() };
            if !is_same {
                return None;
            }
        }
        Some(row)
    }
}
