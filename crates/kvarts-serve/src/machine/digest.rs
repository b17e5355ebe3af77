//! A digest of all rows of a shard as of one entry: equal on replicas that are, whenever they flush, compact or forget.
//!
//! It goes over rows as reads see them: key, value, revision and expiry, by the revision of the entry and the log's time
//! there. So versions that were overwritten, rows that have expired but still lie in tables, and rows that a split took away
//! count on no replica. The rows of the system count: sessions, results, locks, members, and what Python keeps.
use super::held::Held;
use super::range::Range;
use super::rows::{Position, USER};
use super::{Machine, Result};
use aws_lc_rs::digest::{Context, SHA256};
use kvarts_engine::db::{RowChunk, Snapshot};
use kvarts_engine::iter::{Bounds, Limits, Wanted};
use std::sync::Arc;

const COLUMNS: Wanted = Wanted { keys: true, values: true, revisions: true, expiries: true };

/// A digest on its way. What it reads stays as it was, however long it takes; memtables may be flushed meanwhile.
pub struct Digest {
    held: Arc<Held>,
    snapshot: Snapshot,
    position: Position,
    range: Option<Arc<Range>>,
    /// The last key that counts already.
    last: Option<Vec<u8>>,
    sum: Context,
    rows: u64,
    bytes: u64,
}

/// What came of a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The entry that it is of.
    pub position: Position,
    /// How many rows were counted, and their bytes.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// SHA-256 of them.
    pub digest: [u8; 32],
}

impl Machine {
    /// Begins a digest of what has been applied. To be called where nothing is applied meanwhile.
    pub fn digest(&self) -> Result<Digest> {
        let _applying = self.shared().applying.lock();
        let held = self.shared().held()?;
        let (snapshot, position, range) = (held.db.snapshot()?, held.position(), held.range());
        Ok(Digest { held, snapshot, position, range, last: None, sum: Context::new(&SHA256), rows: 0, bytes: 0 })
    }
}

impl Digest {
    /// Counts about `bytes_max` bytes of rows more. Returns false once there are no more.
    ///
    /// Errors: also where a leader's snapshot has taken the place of the rows.
    pub fn step(&mut self, bytes_max: usize) -> Result<bool> {
        let start = self.last.as_ref().map(|last| (last.clone(), false));
        let bounds = Bounds { start, stop: None };
        let mut scan =
            self.held.db.scan_held(&self.held.tree, bounds, &self.snapshot, self.position.stamp_us / 1000)?;
        let mut chunk = RowChunk::default();
        let more = scan.fill_wanted(&mut chunk, Limits { rows_max: usize::MAX, bytes_max }, COLUMNS)?;
        self.count(&chunk);
        Ok(more)
    }

    /// Bytes counted so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends a digest that has counted all.
    pub fn finish(self) -> Sum {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.sum.finish().as_ref());
        Sum { position: self.position, rows: self.rows, bytes: self.bytes, digest }
    }

    fn count(&mut self, chunk: &RowChunk) {
        let mut framed = Vec::with_capacity(chunk.bytes() + 24 * chunk.key_ends.len());
        let (mut key_start, mut value_start) = (0, 0);
        for (at, (&key_end, &value_end)) in chunk.key_ends.iter().zip(&chunk.value_ends).enumerate() {
            let (key, value) = (&chunk.keys[key_start..key_end], &chunk.values[value_start..value_end]);
            (key_start, value_start) = (key_end, value_end);
            let elsewhere = self.range.as_ref().is_some_and(|range| key[0] == USER && !range.owns_row(key));
            if elsewhere {
                continue;
            }
            // Lengths first: no two sequences of rows are the same bytes.
            framed.extend_from_slice(&(key.len() as u64).to_le_bytes());
            framed.extend_from_slice(&(value.len() as u64).to_le_bytes());
            framed.extend_from_slice(&chunk.revisions[at].0.to_le_bytes());
            framed.extend_from_slice(&chunk.expiries[at].to_le_bytes());
            framed.extend_from_slice(key);
            framed.extend_from_slice(value);
            self.rows += 1;
            self.bytes += (key.len() + value.len()) as u64;
        }
        self.sum.update(&framed);
        if let Some(&end) = chunk.key_ends.last() {
            let start = chunk.key_ends.iter().rev().nth(1).copied().unwrap_or(0);
            self.last = Some(chunk.keys[start..end].to_vec());
        }
    }
}
