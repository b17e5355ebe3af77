//! Revisions held for reading, and what compaction may forget because of them.
use super::state::Shared;
use super::{Db, Snapshot};
use crate::compaction::Retention;
use crate::{Result, Revision};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Registered revisions: how many hold each, and the earliest time that one of them judges expiry by.
#[derive(Default)]
pub(super) struct Registry {
    held: BTreeMap<Revision, (usize, u64)>,
    /// How many of them are held for scans.
    scans: usize,
    /// The latest time by which rows were said to be expired. Invariant: no snapshot judges by an earlier one, also
    /// where the clock was set back.
    pub(super) expired_ms: u64,
}

impl Registry {
    fn add(&mut self, revision: Revision, now_ms: u64) {
        let (count, oldest_ms) = self.held.entry(revision).or_insert((0, now_ms));
        *count += 1;
        *oldest_ms = now_ms.min(*oldest_ms);
    }

    fn remove(&mut self, revision: Revision) {
        let (count, _) = self.held.get_mut(&revision).expect("a snapshot was registered when it was made");
        *count -= 1;
        if *count == 0 {
            self.held.remove(&revision);
        }
    }

    /// The oldest revision that is held, for snapshots and scans.
    fn oldest(&self) -> Option<Revision> {
        self.held.first_key_value().map(|(revision, _)| *revision)
    }

    /// Number of snapshots; those held for scans do not count.
    pub(super) fn count(&self) -> usize {
        self.held.values().map(|&(count, _)| count).sum::<usize>() - self.scans
    }
}

/// What the clones of a snapshot share.
pub(super) struct SnapshotShared {
    shared: Arc<Shared>,
    pub(super) revision: Revision,
    /// Unix milliseconds by which expiry is judged.
    pub(super) now_ms: u64,
    for_scan: bool,
}

impl Drop for SnapshotShared {
    fn drop(&mut self) {
        {
            let mut registry = self.shared.snapshots.lock();
            registry.remove(self.revision);
            registry.scans -= usize::from(self.for_scan);
        }
        // What it pinned may now go.
        if self.shared.options.background && !self.for_scan {
            self.shared.ask(|work| work.compact = true);
        }
    }
}

impl Snapshot {
    /// The revision it reads at.
    pub fn revision(&self) -> Revision {
        self.held.revision
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<Snapshot revision={}>", self.held.revision.0)
    }
}

impl Db {
    /// Takes a snapshot of the newest revision.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.register(false)
    }

    /// Holds the newest revision for a scan.
    pub(super) fn hold(&self) -> Result<Snapshot> {
        self.register(true)
    }

    fn register(&self, for_scan: bool) -> Result<Snapshot> {
        self.shared.check_open()?;
        let (revision, now_ms) = {
            let mut registry = self.shared.snapshots.lock();
            // Read under the lock: a retention made before knows an earlier revision and keeps all above it.
            let revision = self.shared.visible();
            let now_ms = self.shared.clock.unix_ms().max(registry.expired_ms);
            registry.add(revision, now_ms);
            registry.scans += usize::from(for_scan);
            (revision, now_ms)
        };
        let shared = Arc::clone(&self.shared);
        Ok(Snapshot { held: Arc::new(SnapshotShared { shared, revision, now_ms, for_scan }) })
    }

    /// Newest visible revision.
    pub fn revision(&self) -> Revision {
        self.shared.visible()
    }
}

impl Shared {
    /// What a job that starts now may forget.
    pub(super) fn retention(&self) -> Retention {
        let mut registry = self.snapshots.lock();
        // All rows above are kept, so revisions held above ask for nothing more.
        let visible = self.visible().min(self.retain_from());
        let now_ms = self.clock.unix_ms().max(registry.expired_ms);
        let expired_ms = registry.held.values().map(|&(_, oldest_ms)| oldest_ms).fold(now_ms, u64::min);
        registry.expired_ms = expired_ms;
        Retention::new(registry.held.range(..visible).map(|(&held, _)| held), visible, expired_ms)
    }

    /// The oldest revision that snapshots and scans read at.
    pub(super) fn oldest_held(&self) -> Option<Revision> {
        self.snapshots.lock().oldest()
    }
}
