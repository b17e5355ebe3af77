//! Rows in columns: what a scan is copied into.
use crate::Revision;
use kvarts_formats::block::Block;

/// Where a key or a value ends, in bytes from the first.
pub trait End: Copy {
    /// Panics where it is too large for this type.
    fn from_bytes(bytes: usize) -> Self;
    /// The same as a number of bytes.
    fn bytes(self) -> usize;
}

impl End for usize {
    #[inline]
    fn from_bytes(bytes: usize) -> Self {
        bytes
    }

    #[inline]
    fn bytes(self) -> usize {
        self
    }
}

impl End for i32 {
    #[inline]
    fn from_bytes(bytes: usize) -> Self {
        Self::try_from(bytes).expect("whoever asked for 32 bits keeps columns below 2 GiB")
    }

    #[inline]
    fn bytes(self) -> usize {
        self as usize
    }
}

/// Rows in columns. A column that was not wanted stays as it is.
#[derive(Clone, Debug)]
pub struct Columns<E> {
    /// Key bytes, one after the other.
    pub keys: Vec<u8>,
    /// End of each key in `keys`.
    pub key_ends: Vec<E>,
    /// Value bytes, one after the other.
    pub values: Vec<u8>,
    /// End of each value in `values`.
    pub value_ends: Vec<E>,
    /// Revision of each row.
    pub revisions: Vec<Revision>,
    /// Unix milliseconds from which each row is absent; 0: it lasts.
    pub expiries: Vec<u64>,
}

impl<E> Default for Columns<E> {
    fn default() -> Self {
        let (key_ends, value_ends) = (Vec::new(), Vec::new());
        let (keys, values) = (Vec::new(), Vec::new());
        Self { keys, key_ends, values, value_ends, revisions: Vec::new(), expiries: Vec::new() }
    }
}

/// How much is taken from a scan at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows.
    pub rows_max: usize,
    /// Bytes of keys and values: no row is added once there are as many. One row comes in any case.
    pub bytes_max: usize,
}

/// Which columns are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Keys.
    pub keys: bool,
    /// Values.
    pub values: bool,
    /// Revisions.
    pub revisions: bool,
    /// Expiries.
    pub expiries: bool,
}

impl<E: End> Columns<E> {
    /// Bytes of keys and values.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.keys.len() + self.values.len()
    }

    /// Empties all columns and keeps their memory.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.key_ends.clear();
        self.values.clear();
        self.value_ends.clear();
        self.revisions.clear();
        self.expiries.clear();
    }

    /// Adds one row, with its expiry or 0.
    #[inline]
    pub(super) fn push(&mut self, (key, value, revision, expiry_ms): (&[u8], &[u8], Revision, u64), wanted: Wanted) {
        if wanted.keys {
            self.keys.extend_from_slice(key);
            self.key_ends.push(E::from_bytes(self.keys.len()));
        }
        if wanted.values {
            self.values.extend_from_slice(value);
            self.value_ends.push(E::from_bytes(self.values.len()));
        }
        if wanted.revisions {
            self.revisions.push(revision);
        }
        if wanted.expiries {
            self.expiries.push(expiry_ms);
        }
    }

    /// Adds live rows of `block` from `row` on, whose key is `key`, up to a repeated key or one at or after `until`.
    ///
    /// Returns how many, and leaves the last one's key in `key`.
    pub(super) fn push_run(
        &mut self,
        block: &Block,
        row: usize,
        key: &mut Vec<u8>,
        until: Option<&[u8]>,
        limits: Limits,
        wanted: Wanted,
    ) -> usize {
        let mut stop = row + limits.rows_max;
        if wanted.values {
            stop = block.values_until(row..stop, limits.bytes_max);
        }
        let (base, base_ends) = (self.keys.len(), self.key_ends.len());
        let Self { keys, key_ends, .. } = self;
        key_ends.reserve(stop - row);
        let mut rows =
            block.append_keys(row..stop, key, limits.bytes_max, keys, |end| key_ends.push(E::from_bytes(end)));
        let added = &self.key_ends[base_ends..];
        let key_of = |i: usize| &self.keys[if i == 0 { base } else { added[i - 1].bytes() }..added[i].bytes()];
        if until.is_some_and(|until| key_of(rows - 1) >= until) {
            rows = partition(rows, |i| until.is_some_and(|until| key_of(i) < until));
        }
        let value_bytes =
            |i: usize| if wanted.values { block.value_offset(row + i) - block.value_offset(row) } else { 0 };
        let bytes_before = |i: usize| added[i - 1].bytes() - base + value_bytes(i);
        if rows > 1 && bytes_before(rows - 1) >= limits.bytes_max {
            // A row is taken while there are too few bytes before it.
            rows = 1 + partition(rows - 1, |i| bytes_before(i + 1) < limits.bytes_max);
        }
        if rows > 0 {
            key.clear();
            key.extend_from_slice(key_of(rows - 1));
        }
        let end = if rows == 0 { base } else { added[rows - 1].bytes() };
        let keep = if wanted.keys { (end, base_ends + rows) } else { (base, base_ends) };
        self.keys.truncate(keep.0);
        self.key_ends.truncate(keep.1);
        if wanted.values {
            let before = self.values.len();
            self.values.extend_from_slice(block.value_run(row, row + rows));
            self.value_ends.reserve(rows);
            block.value_ends(row..row + rows, |end| self.value_ends.push(E::from_bytes(before + end)));
        }
        if wanted.revisions {
            self.revisions.reserve(rows);
            block.revisions(row..row + rows, |revision| self.revisions.push(revision));
        }
        if wanted.expiries {
            // Rows that expire are none of a run.
            self.expiries.resize(self.expiries.len() + rows, 0);
        }
        rows
    }
}

/// Returns the first of `0..len` for which `holds` does not, where it holds for none after that.
fn partition(len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
