//! Room for writes: sealing full memtables, and waiting where flush or compaction is behind.
use super::pace::{self, Pace};
use super::state::Shared;
use super::trees::{Mem, TreeState};
use super::write::WriteState;
use crate::compaction::Debt;
use crate::sync::MutexGuard;
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Sealed memtables beyond which a writer that needs another one waits.
const SEALED_MAX: usize = 3;
/// What a writer owes before it waits: less would be lost in going to sleep.
const OWED_NS_MIN: u64 = 250_000;
/// What a writer that overslept may write without a wait.
const OVERPAID_NS_MAX: u64 = 5_000_000;
/// Pressure of compaction is kept in millionths.
const WHOLE: f64 = 1e6;

impl Shared {
    /// Tells whether the next write has to seal a memtable or to wait.
    pub(super) fn wants_room(&self, write: &WriteState) -> bool {
        write.active_bytes >= self.options.memtable_bytes || self.owed_ns(write) >= OWED_NS_MIN || self.is_stopped()
    }

    /// Makes room for a batch of `len` bytes; waits where flush or compaction is behind.
    ///
    /// Waiting with the write lock held is meant: no writer could go on. Flush, compaction and close do not take it
    /// to get on with what is waited for. Errors: `StorageFull`, `Closed`, `Poisoned`.
    pub(super) fn make_room(&self, write: &mut MutexGuard<'_, WriteState>, len: usize) -> Result<()> {
        if self.owed_ns(write) >= OWED_NS_MIN {
            self.pay(write);
        }
        if self.is_stopped() {
            self.wait_until(|| !self.is_stopped())?;
        }
        if write.active_bytes >= self.options.memtable_bytes {
            self.wait_until(|| self.sealed.load(Ordering::Acquire) < SEALED_MAX)?;
            self.seal_largest(write);
        }
        let budget = self.options.memory_bytes / 4;
        let fits = || self.sealed_bytes.load(Ordering::Acquire) + write.active_bytes + len <= budget;
        self.wait_until(|| fits() || self.sealed.load(Ordering::Acquire) == 0)
    }

    /// Takes note of what compaction has still to do.
    pub(super) fn set_debt(&self, debt: Debt) {
        let pressure = Pace::new(&self.options).of_compaction(debt).min(1.0);
        self.level0_runs.store(debt.runs, Ordering::Release);
        self.pressure.store((pressure * WHOLE) as u32, Ordering::Release);
    }

    /// Tells whether compaction is so far behind that writers wait for it.
    fn is_stopped(&self) -> bool {
        self.options.background && self.pressure.load(Ordering::Acquire) >= WHOLE as u32
    }

    /// How near writers are to having to stop, 0 to 1.
    pub(super) fn pressure(&self, active_bytes: usize) -> f64 {
        let room = self.options.memtable_bytes * (SEALED_MAX + 1);
        let filled = self.sealed_bytes.load(Ordering::Relaxed) + active_bytes;
        let of_compaction = f64::from(self.pressure.load(Ordering::Relaxed)) / WHOLE;
        pace::of_flush(filled as f64 / room as f64).max(of_compaction)
    }

    /// Charges writers for `len` bytes that one of them wrote.
    pub(super) fn charge(&self, write: &mut WriteState, len: usize) {
        let presses = self.options.background && self.pressure(write.active_bytes) > 0.0;
        write.unpaid_bytes = if presses { write.unpaid_bytes + len } else { 0 };
    }

    /// What writers have still to wait, as things are now.
    fn owed_ns(&self, write: &WriteState) -> u64 {
        if write.unpaid_bytes == 0 {
            return 0;
        }
        pace::wait_ns(write.unpaid_bytes, self.pressure(write.active_bytes)).saturating_sub(write.overpaid_ns)
    }

    /// Waits for what is owed: less, where what presses is done with meanwhile.
    fn pay(&self, write: &mut WriteState) {
        let start_ns = self.clock.monotonic_ns();
        let waited_ns = || self.clock.monotonic_ns().saturating_sub(start_ns);
        let mut progress = self.signals.progress.lock();
        while self.check_writable().is_ok() {
            let left = self.owed_ns(write).saturating_sub(waited_ns());
            if left == 0 || self.signals.progressed.wait_for(&mut progress, Duration::from_nanos(left)) {
                break;
            }
        }
        drop(progress);
        write.overpaid_ns = waited_ns().saturating_sub(self.owed_ns(write)).min(OVERPAID_NS_MAX);
        write.unpaid_bytes = 0;
        self.count_stall(start_ns);
    }

    /// Waits until `ready`. Errors: the store is closed or poisoned, or flush and compaction cannot go on.
    fn wait_until(&self, ready: impl Fn() -> bool) -> Result<()> {
        if ready() {
            return Ok(());
        }
        let start_ns = self.clock.monotonic_ns();
        if !self.options.background {
            // Nobody else does it. How it fails is found below.
            let _ = self.attempt(Self::flush_all);
        }
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
            waste: Arc::clone(&state.waste),
        });
        if self.options.background {
            self.ask(|work| work.flush = true);
        }
    }
}
