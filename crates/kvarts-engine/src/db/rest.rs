//! What scans hold between two calls: little, however many there are.
//!
//! Rows that a scan has handed out in advance count under `memory`, and where there are more scans than a few, one that is
//! not being called holds no memtable, no table and no block: it notes the row it stands on, and looks it up again. Its
//! revision is registered like a snapshot's from its start on, so that nothing that it has still to show is forgotten.
use super::Snapshot;
use super::state::Shared;
use super::trees::TreeShared;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Scans that hold what they read while they are not called: each keeps one memtable of 1/16 of `memory` at most.
const AWAKE_MAX: usize = 8;
/// What scans may hold of rows handed out in advance, as a part of `memory`.
const ROWS_PART: usize = 32;
/// Bytes of rows that each scan may ask for in any case.
const ROWS_BYTES_MIN: usize = 4 << 10;

/// Counts a live scan, and the rows that it has handed out in advance, until dropped.
pub(super) struct Counted {
    pub(super) shared: Arc<Shared>,
    /// Bytes of the largest chunk it was granted.
    bytes: usize,
}

impl Counted {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.scans.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared), bytes: 0 }
    }

    /// Returns how many bytes of the `wanted` the next chunk may have.
    pub(super) fn grant(&mut self, wanted: usize) -> usize {
        let budget = self.shared.options.memory_bytes / ROWS_PART;
        let others = self.shared.memory.scan_bytes.load(Ordering::Relaxed) - self.bytes;
        let granted = wanted.min(budget.saturating_sub(others).max(ROWS_BYTES_MIN));
        if granted > self.bytes {
            self.shared.memory.scan_bytes.fetch_add(granted - self.bytes, Ordering::Relaxed);
            self.bytes = granted;
        }
        granted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.scans.fetch_sub(1, Ordering::Relaxed);
        self.shared.memory.scan_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How a scan finds its rows again.
pub(super) struct Rest {
    pub(super) tree: Arc<TreeShared>,
    /// Keeps them.
    pub(super) held: Snapshot,
}

impl Shared {
    /// Tells whether a scan that begins now is to let go of what it reads between two calls.
    pub(super) fn scans_rest(&self) -> bool {
        self.scans.load(Ordering::Relaxed) >= AWAKE_MAX
    }
}
