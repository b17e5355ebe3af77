//! Checking of blocks: one pass over the keys, one over each column.
use super::{Block, HEAD_BYTES, KINDS_DIFFER, LAYOUT};
use crate::bytes::{read_varint, u32_at, u64_at};
use crate::compress::{BLOCK_BYTES_MAX, RawBlock};
use crate::ids::EXPIRY_BYTES;
use crate::{FormatError, Kind, Result};
use std::sync::OnceLock;

/// Fewest bytes of a key entry.
const ENTRY_BYTES_MIN: usize = 2;

/// The fields of the head that only parsing needs.
struct Head {
    rows: usize,
    key_bytes: usize,
    value_bytes: usize,
}

impl Block {
    /// Checks the columns of a raw block (already opened: tag checked, decompressed). Errors: `Corrupt`.
    pub fn parse(raw: impl Into<RawBlock>) -> Result<Self> {
        let (mut block, head) = Self::read_head(raw.into())?;
        block.check_values(&head)?;
        block.check_revisions(&head)?;
        block.entries = block.read_entries(&head)?;
        block.check_kinds()?;
        Ok(block)
    }

    /// Reads the head and lays the columns out; every column then lies inside `data`.
    fn read_head(raw: RawBlock) -> Result<(Self, Head)> {
        let data = &*raw;
        let not_one = |at| FormatError::corrupt(at, "the head of a block is not one");
        if data.len() < HEAD_BYTES || data.len() > BLOCK_BYTES_MAX || data[0] != LAYOUT || u32_at(data, 20) != 0 {
            return Err(not_one(0));
        }
        let kind = Kind::from_byte(data[1]);
        if kind.is_none() && data[1] != KINDS_DIFFER {
            return Err(not_one(1));
        }
        let (revision_width, offset_width) = (usize::from(data[2]), usize::from(data[3]));
        if !matches!(revision_width, 0 | 1 | 2 | 4 | 8) || !matches!(offset_width, 0 | 4) {
            return Err(not_one(2));
        }
        let [rows, restart_interval, key_bytes, value_bytes] = [4, 8, 12, 16].map(|at| u32_at(data, at) as usize);
        if rows == 0 || restart_interval == 0 || rows > key_bytes / ENTRY_BYTES_MIN || key_bytes > data.len() {
            return Err(not_one(4));
        }
        let columns = raw.range.start + HEAD_BYTES;
        let revisions = columns + if offset_width == 0 { 0 } else { 4 * (rows + 1) };
        let kinds = revisions + rows * revision_width;
        let keys = kinds + if kind.is_none() { rows } else { 0 };
        let values = keys + key_bytes;
        if values + value_bytes != raw.range.end {
            return Err(FormatError::corrupt(12, "the length of a block differs"));
        }
        let value_len = (offset_width == 0).then_some((value_bytes / rows) as u32);
        let head = Head { rows, key_bytes, value_bytes };
        let block = Self {
            revision_min: u64_at(data, 24),
            data: raw.bytes,
            columns: columns as u32,
            entries: Box::default(),
            tags: OnceLock::new(),
            values: values as u32,
            value_len,
            restart_interval: restart_interval as u32,
            revisions: revisions as u32,
            kinds: kinds as u32,
            revision_width: revision_width as u8,
            kind,
        };
        Ok((block, head))
    }

    fn check_values(&self, head: &Head) -> Result<()> {
        let is_whole = match self.value_len {
            Some(len) => len as usize * head.rows == head.value_bytes,
            None => {
                let (offsets, _) = self.data[self.columns as usize..self.revisions as usize].as_chunks::<4>();
                offsets.is_sorted_by_key(|bytes| u32::from_le_bytes(*bytes))
                    && self.value_offset(0) == 0
                    && self.value_offset(head.rows) == head.value_bytes
            }
        };
        if !is_whole {
            return Err(FormatError::corrupt(HEAD_BYTES, "the value offsets of a block are damaged"));
        }
        Ok(())
    }

    fn check_revisions(&self, head: &Head) -> Result<()> {
        let highest = if self.revision_width == 0 { 0 } else { u64::MAX >> (64 - 8 * u32::from(self.revision_width)) };
        let is_safe = self.revision_min.checked_add(highest).is_some();
        if !is_safe && (0..head.rows).any(|row| self.revision(row).0 < self.revision_min) {
            return Err(FormatError::corrupt(self.revisions as usize, "a revision of a block is too large"));
        }
        Ok(())
    }

    fn check_kinds(&self) -> Result<()> {
        let fits = |kind, len| match kind {
            Some(Kind::Delete) => len == 0,
            Some(Kind::Put) => true,
            Some(Kind::PutExpiring) => len >= EXPIRY_BYTES,
            None => false,
        };
        let length = |row| self.value_offset(row + 1) - self.value_offset(row);
        let is_fit = match (self.kind, self.value_len) {
            (Some(Kind::Put), _) => true,
            (Some(kind), Some(len)) => fits(Some(kind), len as usize),
            (Some(kind), None) => (0..self.rows()).all(|row| fits(Some(kind), length(row))),
            (None, _) => {
                (0..self.rows()).all(|row| fits(Kind::from_byte(self.data[self.kinds as usize + row]), length(row)))
            }
        };
        if !is_fit {
            return Err(FormatError::corrupt(
                self.kinds as usize,
                "a kind of a block is unknown or does not fit its value",
            ));
        }
        Ok(())
    }

    /// Walks the keys, checks their order and returns where each entry starts.
    fn read_entries(&self, head: &Head) -> Result<Box<[u32]>> {
        let keys_end = self.values as usize;
        let keys = &self.data[..keys_end];
        let mut entries = Vec::with_capacity(head.rows);
        let mut key: Vec<u8> = Vec::new();
        let mut at = keys_end - head.key_bytes;
        let mut until_restart = 0;
        for row in 0..head.rows {
            let damaged = || FormatError::corrupt(at, "a key of a block is damaged");
            entries.push(at as u32);
            let (shared, own_at) = read_varint(keys, at).ok_or_else(damaged)?;
            let (len, own_at) = read_varint(keys, own_at).ok_or_else(damaged)?;
            let own = keys[own_at..].get(..usize::try_from(len).map_err(|_| damaged())?).ok_or_else(damaged)?;
            let shared = usize::try_from(shared).map_err(|_| damaged())?;
            let is_restart = until_restart == 0;
            until_restart = if is_restart { self.restart_interval as usize } else { until_restart } - 1;
            let order = if is_restart { order_of_restart(&key, shared, own) } else { order_of(&key, shared, own) };
            match order {
                Order::After => {}
                Order::Equal if row > 0 && self.revision(row - 1) > self.revision(row) => {}
                Order::Equal if row == 0 => {}
                _ => return Err(FormatError::corrupt(at, "the rows of a block are not sorted")),
            }
            key.truncate(shared);
            key.extend_from_slice(own);
            at = own_at + own.len();
        }
        if at != keys_end {
            return Err(FormatError::corrupt(at, "bytes follow the last key of a block"));
        }
        Ok(entries.into_boxed_slice())
    }
}

/// How a key lies to the one before.
enum Order {
    After,
    Equal,
    Wrong,
}

/// The key is `shared` bytes of `last`, then `own`; `shared` must be all that both have in common.
#[inline]
fn order_of(last: &[u8], shared: usize, own: &[u8]) -> Order {
    match (last.get(shared), own.first()) {
        (Some(theirs), Some(ours)) if ours > theirs => Order::After,
        (None, Some(_)) if shared == last.len() => Order::After,
        (None, None) if shared == last.len() => Order::Equal,
        _ => Order::Wrong,
    }
}

#[inline]
fn order_of_restart(last: &[u8], shared: usize, own: &[u8]) -> Order {
    match own.cmp(last) {
        _ if shared != 0 => Order::Wrong,
        std::cmp::Ordering::Greater => Order::After,
        std::cmp::Ordering::Equal => Order::Equal,
        std::cmp::Ordering::Less => Order::Wrong,
    }
}
