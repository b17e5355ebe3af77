//! Encoding of blocks.
use super::{HEAD_BYTES, KINDS_DIFFER, LAYOUT};
use crate::bytes::{common_prefix, push_varint};
use crate::compress::BLOCK_BYTES_MAX;
use crate::ids::EXPIRY_BYTES;
use crate::{Kind, Revision};

/// Collects sorted rows and encodes them as one block.
#[derive(Debug)]
pub struct BlockBuilder {
    restart_interval: usize,
    keys: Vec<u8>,
    last_key: Vec<u8>,
    revisions: Vec<u64>,
    kinds: Vec<u8>,
    /// Where each value starts, and where the last one ends.
    value_offsets: Vec<u32>,
    values: Vec<u8>,
    /// What decides whether columns are elided.
    revision_min: u64,
    revision_max: u64,
    kinds_differ: bool,
    lengths_differ: bool,
}

impl BlockBuilder {
    /// Returns an empty builder with a full key every `restart_interval` rows.
    pub fn new(restart_interval: usize) -> Self {
        assert!((1..=u32::MAX as usize).contains(&restart_interval), "a restart interval of {restart_interval}");
        Self {
            restart_interval,
            keys: Vec::new(),
            last_key: Vec::new(),
            revisions: Vec::new(),
            kinds: Vec::new(),
            value_offsets: vec![0],
            values: Vec::new(),
            revision_min: u64::MAX,
            revision_max: 0,
            kinds_differ: false,
            lengths_differ: false,
        }
    }

    /// Adds a row; rows must come sorted. `value` is as stored (with expiry for `PutExpiring`).
    ///
    /// Panics where the rows together exceed [`BLOCK_BYTES_MAX`].
    pub fn add(&mut self, key: &[u8], revision: Revision, kind: Kind, value: &[u8]) {
        debug_assert!(self.comes_next(key, revision), "rows must come sorted");
        debug_assert!(kind != Kind::Delete || value.is_empty());
        debug_assert!(kind != Kind::PutExpiring || value.len() >= EXPIRY_BYTES);
        let is_restart = self.rows().is_multiple_of(self.restart_interval);
        let shared = if is_restart { 0 } else { common_prefix(&self.last_key, key) };
        push_varint(&mut self.keys, shared as u64);
        push_varint(&mut self.keys, (key.len() - shared) as u64);
        self.keys.extend_from_slice(&key[shared..]);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);

        self.kinds_differ |= self.kinds.last().is_some_and(|&last| last != kind as u8);
        self.lengths_differ |= self.rows() > 0 && value.len() != self.value_offsets[1] as usize;
        self.revision_min = self.revision_min.min(revision.0);
        self.revision_max = self.revision_max.max(revision.0);
        self.revisions.push(revision.0);
        self.kinds.push(kind as u8);
        self.values.extend_from_slice(value);
        assert!(self.keys.len() + self.values.len() <= BLOCK_BYTES_MAX, "the rows of a block are too large");
        self.value_offsets.push(self.values.len() as u32);
    }

    fn comes_next(&self, key: &[u8], revision: Revision) -> bool {
        match self.revisions.last() {
            None => true,
            Some(&last) => self.last_key[..] < *key || (self.last_key[..] == *key && last > revision.0),
        }
    }

    /// Number of rows so far.
    #[inline]
    pub fn rows(&self) -> usize {
        self.revisions.len()
    }

    /// Bytes that `finish` would write.
    #[inline]
    pub fn bytes_estimate(&self) -> usize {
        let row = self.revision_width() + usize::from(self.kinds_differ);
        let offsets = if self.lengths_differ { 4 * self.value_offsets.len() } else { 0 };
        HEAD_BYTES + offsets + row * self.rows() + self.keys.len() + self.values.len()
    }

    /// The last key added; empty before the first.
    pub fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Encodes the block (raw: before compression and tag) and empties the builder. There must be rows.
    pub fn finish(&mut self) -> Vec<u8> {
        debug_assert!(self.rows() > 0, "a block has rows");
        let mut out = Vec::with_capacity(self.bytes_estimate());
        let width = self.revision_width();
        let kind = if self.kinds_differ { KINDS_DIFFER } else { self.kinds.first().copied().unwrap_or_default() };
        out.extend_from_slice(&[LAYOUT, kind, width as u8, if self.lengths_differ { 4 } else { 0 }]);
        let counts = [self.rows(), self.restart_interval, self.keys.len(), self.values.len(), 0];
        counts.iter().for_each(|&count| out.extend_from_slice(&(count as u32).to_le_bytes()));
        out.extend_from_slice(&self.revision_min.to_le_bytes());
        if self.lengths_differ {
            self.value_offsets.iter().for_each(|offset| out.extend_from_slice(&offset.to_le_bytes()));
        }
        for revision in &self.revisions {
            out.extend_from_slice(&(revision - self.revision_min).to_le_bytes()[..width]);
        }
        if self.kinds_differ {
            out.extend_from_slice(&self.kinds);
        }
        out.extend_from_slice(&self.keys);
        out.extend_from_slice(&self.values);
        self.clear();
        out
    }

    /// Bytes of a revision above the smallest one.
    fn revision_width(&self) -> usize {
        match self.revision_max.saturating_sub(self.revision_min) {
            0 => 0,
            1..0x100 => 1,
            0x100..0x1_0000 => 2,
            0x1_0000..0x1_0000_0000 => 4,
            _ => 8,
        }
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.last_key.clear();
        self.revisions.clear();
        self.kinds.clear();
        self.value_offsets.truncate(1);
        self.values.clear();
        (self.revision_min, self.revision_max) = (u64::MAX, 0);
        (self.kinds_differ, self.lengths_differ) = (false, false);
    }
}
