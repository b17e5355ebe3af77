//! Applying entries that stand in another log: several commits as one step, at revisions that the log gives.
use super::read::{lookup, with_entry};
use super::write::{Commit, HalfDone, WriteState};
use super::{Db, Entry, Scan, Tree};
use crate::iter::Bounds;
use crate::options::KEY_BYTES_MAX;
use crate::sync::MutexGuard;
use crate::{Error, Result, Revision};
use kvarts_formats::batch::Batch;
use std::sync::atomic::Ordering;

/// Bytes that whoever applies entries may put in front of a user's key.
pub const KEY_PREFIX_BYTES_MAX: usize = 64;

/// One entry being applied, with the write lock held. What it has committed it sees itself; readers see it with the whole.
pub struct Applier<'a> {
    db: &'a Db,
    tree: &'a Tree,
    /// The last commit, and what poisons the store where no whole entry comes of it: dropped before the lock is free.
    begun: Option<(Commit, HalfDone<'a>)>,
    write: MutexGuard<'a, WriteState>,
}

impl Db {
    /// Applies one entry: `decide` reads and commits as often as it likes. Afterwards readers see all of it, and tables
    /// hold all of it or nothing. `bytes`: about how much it will write.
    ///
    /// `decide` must not call this store. Where it fails before its first commit nothing has happened; where it fails after
    /// that, the store is poisoned: half an entry must not get into tables.
    pub fn apply_entry<R, E: From<Error>>(
        &self,
        tree: &Tree,
        bytes: usize,
        decide: impl FnOnce(&mut Applier<'_>) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E> {
        let shared = &*self.shared;
        shared.relieve();
        let (answer, commit) = {
            let mut write = shared.write.lock();
            shared.check_writable()?;
            if tree.shared.dropped.load(Ordering::Acquire) {
                return Err(tree.shared.gone().into());
            }
            // Once, here: no memtable is sealed before the entry ends.
            shared.make_room(&mut write, bytes)?;
            let mut applier = Applier { db: self, tree, write, begun: None };
            let answer = decide(&mut applier)?;
            (answer, applier.end())
        };
        if let Some(commit) = commit {
            shared.finish(commit)?;
        }
        Ok(answer)
    }
}

impl<'a> Applier<'a> {
    /// Newest revision of the tree.
    pub fn last(&self) -> Revision {
        Revision(self.tree.shared.last.load(Ordering::Relaxed))
    }

    /// Calls `with` on the newest entry of `key` at the time `now_ms`, or on `None`.
    pub fn get_at<R>(&self, key: &[u8], now_ms: u64, with: impl FnOnce(Option<Entry<'_>>) -> R) -> Result<R> {
        let state = self.tree.shared.state.load();
        let row = lookup(&state, key, Revision::MAX)?;
        Ok(with_entry(row, || now_ms, with))
    }

    /// Starts a scan of the newest rows at the time `now_ms`. Commits made after it began may show in it or not.
    pub fn scan_at(&self, bounds: Bounds, now_ms: u64) -> Result<Scan> {
        let state = self.tree.shared.state.load_full();
        Scan::new(&self.db.shared, &state, bounds, false, Revision::MAX, now_ms)
    }

    /// Commits a batch at `revision`, which must exceed every earlier one of the tree.
    ///
    /// Errors: `InvalidArgument` where it does not, or where the batch names another tree or a key that cannot be.
    pub fn commit(&mut self, batch: &mut Batch, revision: Revision) -> Result<()> {
        check(self.tree, batch, revision, self.last())?;
        let shared = &*self.db.shared;
        let commit = shared.insert(&mut self.write, batch, revision)?;
        match &mut self.begun {
            Some((last, _)) => *last = commit,
            None => self.begun = Some((commit, HalfDone::of(shared, "an entry was applied by half"))),
        }
        Ok(())
    }

    fn end(mut self) -> Option<Commit> {
        let (commit, half_done) = self.begun.take()?;
        self.db.shared.show(commit.revision);
        half_done.done();
        Some(commit)
    }
}

fn check(tree: &Tree, batch: &Batch, revision: Revision, last: Revision) -> Result<()> {
    if revision <= last || revision == Revision::MAX {
        return Err(Error::invalid(
            format!("revision {} does not follow revision {} of the tree", revision.0, last.0),
            "apply entries in the order of the log",
        ));
    }
    for op in batch.ops() {
        if op.tree != tree.id() {
            return Err(Error::invalid(
                format!("the batch names tree {}, not tree {}", op.tree.0, tree.id().0),
                "apply one batch per tree",
            ));
        }
        if op.key.is_empty() || op.key.len() > KEY_BYTES_MAX + KEY_PREFIX_BYTES_MAX {
            return Err(Error::invalid(
                format!("a key of {} bytes", op.key.len()),
                "check keys before they are logged",
            ));
        }
    }
    Ok(())
}
