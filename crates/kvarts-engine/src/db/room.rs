//! Room for writes: sealing full memtables, and waiting where flush or compaction is behind.
use super::state::Shared;
use super::trees::{Mem, TreeState};
use super::write::WriteState;
use crate::sync::MutexGuard;
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Sealed memtables beyond which a writer that needs another one waits.
const SEALED_MAX: usize = 3;
/// Tables in level 0 from which writers are slowed.
pub(super) const LEVEL0_SLOW: usize = 12;
/// Tables in level 0 from which writers wait.
const LEVEL0_STOP: usize = 20;
/// Bytes between two short waits while writers are slowed.
const PACE_BYTES: usize = 64 << 10;
/// Length of a short wait, per table in level 0 above the slow mark.
const PACE_WAIT: Duration = Duration::from_micros(500);

impl Shared {
    /// Tells whether the next write has to seal a memtable or to wait.
    pub(super) fn wants_room(&self, write: &WriteState) -> bool {
        write.active_bytes >= self.options.memtable_bytes
            || (self.level0_tables.load(Ordering::Relaxed) >= LEVEL0_SLOW && self.must_pace(write))
    }

    fn must_pace(&self, write: &WriteState) -> bool {
        self.options.background
            && (write.paced_bytes >= PACE_BYTES || self.level0_tables.load(Ordering::Relaxed) >= LEVEL0_STOP)
    }

    /// Makes room for a batch of `len` bytes; waits where flush or compaction is behind.
    ///
    /// Waiting with the write lock held is meant: no writer could go on. Flush, compaction and close do not take it
    /// to get on with what is waited for. Errors: `StorageFull`, `Closed`, `Poisoned`.
    pub(super) fn make_room(&self, write: &mut MutexGuard<'_, WriteState>, len: usize) -> Result<()> {
        if self.level0_tables.load(Ordering::Relaxed) >= LEVEL0_SLOW && self.must_pace(write) {
            self.pace()?;
            write.paced_bytes = 0;
        }
        if write.active_bytes >= self.options.memtable_bytes {
            self.wait_until(|| self.sealed.load(Ordering::Acquire) < SEALED_MAX)?;
            self.seal_largest(write);
        }
        let budget = self.options.memory_bytes / 4;
        let fits = || self.sealed_bytes.load(Ordering::Acquire) + write.active_bytes + len <= budget;
        self.wait_until(|| fits() || self.sealed.load(Ordering::Acquire) == 0)
    }

    /// Waits a little where level 0 fills, and until it is emptied where it is full.
    fn pace(&self) -> Result<()> {
        let start_ns = self.clock.monotonic_ns();
        let tables = self.level0_tables.load(Ordering::Acquire);
        if tables < LEVEL0_STOP {
            let wait = PACE_WAIT * u32::try_from(tables + 1 - LEVEL0_SLOW).expect("less than LEVEL0_STOP");
            let mut progress = self.signals.progress.lock();
            self.signals.progressed.wait_for(&mut progress, wait);
        }
        self.count_stall(start_ns);
        self.wait_until(|| self.level0_tables.load(Ordering::Acquire) < LEVEL0_STOP)
    }

    /// Waits until `ready`. Errors: the store is closed or poisoned, or flush and compaction cannot go on.
    fn wait_until(&self, ready: impl Fn() -> bool) -> Result<()> {
        if ready() {
            return Ok(());
        }
        let start_ns = self.clock.monotonic_ns();
        let mut progress = self.signals.progress.lock();
        let outcome = loop {
            if ready() {
                break Ok(());
            }
            if let Err(error) = self.check_writable() {
                break Err(error);
            }
            if let Some(failure) = self.failure() {
                break Err(failure);
            }
            if !self.options.background {
                break Err(Error::StorageFull(self.dir.clone()));
            }
            self.signals.progressed.wait(&mut progress);
        };
        drop(progress);
        self.count_stall(start_ns);
        outcome
    }

    fn count_stall(&self, start_ns: u64) {
        let waited_ns = self.clock.monotonic_ns().saturating_sub(start_ns);
        self.counters.stall_ns.fetch_add(waited_ns, Ordering::Relaxed);
    }

    /// Seals the largest active memtable, if any has rows.
    pub(super) fn seal_largest(&self, write: &mut WriteState) {
        let filled = (0..write.trees.len()).filter(|&at| !write.trees[at].active.table.is_empty());
        if let Some(at) = filled.max_by_key(|&at| write.trees[at].active.filled()) {
            self.seal(write, at);
        }
    }

    /// Seals every active memtable that has rows.
    pub(super) fn seal_all(&self, write: &mut WriteState) {
        for at in 0..write.trees.len() {
            if !write.trees[at].active.table.is_empty() {
                self.seal(write, at);
            }
        }
    }

    /// Puts an empty memtable in the place of the active one of a tree, and asks for the flush of the full one.
    fn seal(&self, write: &mut WriteState, at: usize) {
        let fresh = Mem::new(&self.chunks);
        let tree = &mut write.trees[at];
        let full = std::mem::replace(&mut tree.active, Arc::clone(&fresh));
        write.active_bytes -= full.filled();
        self.sealed_came(&full);
        tree.shared.change(|state| TreeState {
            active: fresh,
            sealed: std::iter::once(Arc::clone(&full)).chain(state.sealed.iter().cloned()).collect(),
            version: Arc::clone(&state.version),
        });
        if self.options.background {
            self.ask(|work| work.flush = true);
        }
    }
}
