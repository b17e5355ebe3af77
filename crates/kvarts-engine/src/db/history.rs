//! Reading at a revision and a time that the caller names, and what is kept so that this can be.
use super::read::{Lookup, find_in_tables, lookup, with_entry};
use super::state::Shared;
use super::trees::{TreeShared, TreeState};
use super::{Db, Entry, Scan, Snapshot, Tree};
use crate::iter::Bounds;
use crate::{Error, Result, Revision};
use arc_swap::Guard;
use kvarts_formats::hash::key_hash;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a read sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadAt {
    /// Rows as of this revision; `None`: the newest.
    pub revision: Option<Revision>,
    /// Unix milliseconds by which expiry is judged.
    pub now_ms: u64,
}

impl Db {
    /// Lets rows go that no read at `floor` or later can see; all others are kept. It only goes up.
    ///
    /// From here on reads may name any revision from `floor` on. A store that is opened again keeps this up only if it is
    /// opened with `keep_history` and told a floor that is no lower than any it was told before.
    pub fn set_retain_from(&self, floor: Revision) {
        let shared = &*self.shared;
        let old = shared.retain_from.load(Ordering::Acquire);
        if old == u64::MAX || old < floor.0 {
            // Under the lock: a job takes its retention before or after.
            let _registry = shared.snapshots.lock();
            shared.retain_from.store(floor.0, Ordering::Release);
        }
    }

    /// Looks up many keys as of `at`. `each` gets the position of the key in `keys` and its entry, in any order.
    /// Returns the revision read at. Errors: `Compacted`.
    pub fn get_many_at(
        &self,
        tree: &Tree,
        keys: &[&[u8]],
        at: ReadAt,
        each: &mut dyn FnMut(usize, Option<Entry<'_>>),
    ) -> Result<Revision> {
        let (state, revision) = self.shared.read_history(&tree.shared, at)?;
        // In key order: neighbours share blocks.
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_unstable_by_key(|&position| keys[position]);
        for position in order {
            let row = lookup(&state, keys[position], revision)?;
            with_entry(row, || at.now_ms, |entry| each(position, entry));
        }
        Ok(revision)
    }

    /// Starts a scan of `bounds` as of `at`, forward or in reverse. Errors: `Compacted`.
    pub fn scan_at(&self, tree: &Tree, bounds: Bounds, reverse: bool, at: ReadAt) -> Result<Scan> {
        let (state, revision) = self.shared.read_history(&tree.shared, at)?;
        Scan::new(&self.shared, &state, bounds, reverse, revision, at.now_ms)
    }

    /// Starts a scan of `bounds` at a snapshot's revision, forward; expiry is judged by `now_ms`, or by the snapshot's time
    /// where that is later. What the snapshot holds stays readable whatever the floor.
    pub fn scan_held(&self, tree: &Tree, bounds: Bounds, snapshot: &Snapshot, now_ms: u64) -> Result<Scan> {
        let (state, revision) = self.shared.read_at(&tree.shared, Some(snapshot))?;
        Scan::new(&self.shared, &state, bounds, false, revision, now_ms.max(snapshot.held.now_ms))
    }

    /// Newest revision of a tree whose rows are all in tables.
    pub fn flushed_revision(&self, tree: &Tree) -> Revision {
        tree.shared.state.load().version.flushed
    }

    /// Looks up keys in tables only, all in the same set of them: what there is after a crash without a log. Expired rows
    /// show. Returns the newest revision that those tables hold.
    pub fn get_many_flushed(
        &self,
        tree: &Tree,
        keys: &[&[u8]],
        each: &mut dyn FnMut(usize, Option<Entry<'_>>),
    ) -> Result<Revision> {
        let version = Arc::clone(&tree.shared.state.load().version);
        self.shared.check_readable(&tree.shared)?;
        for (position, key) in keys.iter().enumerate() {
            let row = match find_in_tables(&version, key, key_hash(key), Revision::MAX, true, &mut 0)? {
                Lookup::Found(row) => Some(row),
                Lookup::Absent | Lookup::NeedsRead => None,
            };
            with_entry(row, || 0, |entry| each(position, entry));
        }
        Ok(version.flushed)
    }
}

impl Shared {
    /// All rows above this revision are kept.
    pub(super) fn retain_from(&self) -> Revision {
        Revision(self.retain_from.load(Ordering::Acquire))
    }

    /// The state of a tree and the revision to read it at.
    fn read_history(&self, tree: &TreeShared, at: ReadAt) -> Result<(Guard<Arc<TreeState>>, Revision)> {
        let Some(revision) = at.revision else {
            return self.read_point(tree);
        };
        let state = tree.state.load();
        self.check_readable(tree)?;
        // After the state: a job that forgot more had been told so before its tables came in.
        let oldest = self.retain_from();
        let expired_ms = self.snapshots.lock().expired_ms;
        if revision < oldest || at.now_ms < expired_ms {
            return Err(Error::Compacted { oldest: oldest.min(self.visible()) });
        }
        Ok((state, revision))
    }
}
