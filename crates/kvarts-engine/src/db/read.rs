//! Point reads: active memtable, sealed ones, then tables, newest first; the first row found wins.
use super::publish;
use super::state::Shared;
use super::trees::{TreeShared, TreeState};
use super::{Attempt, Db, Entry, Snapshot, Tree};
use crate::memtable::MemRow;
use crate::table::{BlockRef, TableAnswer};
use crate::version::Version;
use crate::{Error, Kind, Result, Revision};
use arc_swap::Guard;
use kvarts_formats::hash::key_hash;
use kvarts_formats::ids::EXPIRY_BYTES;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where a row was found.
pub(super) enum Row<'a> {
    /// In a memtable.
    Mem(MemRow<'a>),
    /// In a block of a table, at this row.
    Block(BlockRef, usize),
}

/// Outcome of a search.
pub(super) enum Lookup<'a> {
    /// The newest row of the key at or before the revision: perhaps a tombstone, perhaps expired.
    Found(Row<'a>),
    /// The key has no row.
    Absent,
    /// The answer takes a read from disk.
    NeedsRead,
}

/// Looks for the newest row of `key` at or before `at`. `may_read` lets it read from disk.
pub(super) fn find<'a>(state: &'a TreeState, key: &[u8], at: Revision, may_read: bool) -> Result<Lookup<'a>> {
    let hash = key_hash(key);
    for mem in state.mems() {
        if let Some(row) = mem.get(key, hash, at) {
            return Ok(Lookup::Found(Row::Mem(row)));
        }
    }
    let mut vain = 0;
    let found = find_in_tables(&state.version, key, hash, at, may_read, &mut vain)?;
    match found {
        Lookup::Found(_) => state.waste.add_probes(vain),
        // One table would have been asked anyhow.
        Lookup::Absent => state.waste.add_probes(vain.saturating_sub(1)),
        Lookup::NeedsRead => {}
    }
    Ok(found)
}

/// The same in tables only. `vain` counts those without the row.
pub(super) fn find_in_tables<'a>(
    version: &Version,
    key: &[u8],
    hash: u64,
    at: Revision,
    may_read: bool,
    vain: &mut u64,
) -> Result<Lookup<'a>> {
    for candidate in version.candidates(key) {
        let table = &candidate.table;
        let answer = if may_read { table.get(key, hash, at)? } else { table.try_get(key, hash, at) };
        match answer {
            TableAnswer::Found(block, row) => return Ok(Lookup::Found(Row::Block(block, row))),
            TableAnswer::Absent => *vain += 1,
            TableAnswer::NeedsRead => return Ok(Lookup::NeedsRead),
        }
    }
    Ok(Lookup::Absent)
}

/// Looks for the newest row of `key` at or before `at`, on disk too.
pub(super) fn lookup<'a>(state: &'a TreeState, key: &[u8], at: Revision) -> Result<Option<Row<'a>>> {
    match find(state, key, at, true)? {
        Lookup::Found(row) => Ok(Some(row)),
        Lookup::Absent => Ok(None),
        Lookup::NeedsRead => unreachable!("Table::get reads what it needs"),
    }
}

/// Calls `with` on what a row shows at the time `now_ms`, which is asked only where the row expires.
pub(super) fn with_entry<R>(
    row: Option<Row<'_>>,
    now_ms: impl FnOnce() -> u64,
    with: impl FnOnce(Option<Entry<'_>>) -> R,
) -> R {
    match &row {
        None => with(None),
        Some(Row::Mem(row)) => with(entry(row.revision, row.kind, row.value, now_ms)),
        Some(Row::Block(block, at)) => with(entry(block.revision(*at), block.kind(*at), block.value(*at), now_ms)),
    }
}

fn entry(revision: Revision, kind: Kind, stored: &[u8], now_ms: impl FnOnce() -> u64) -> Option<Entry<'_>> {
    match kind {
        Kind::Delete => None,
        Kind::Put => Some(Entry { value: stored, revision, expiry_ms: None }),
        Kind::PutExpiring => {
            let (expiry, value) = stored.split_first_chunk::<EXPIRY_BYTES>().expect("Batch puts the expiry in front");
            let expiry_ms = u64::from_le_bytes(*expiry);
            (now_ms() < expiry_ms).then_some(Entry { value, revision, expiry_ms: Some(expiry_ms) })
        }
    }
}

impl Shared {
    /// Returns the state of a tree and the newest visible revision, such that the state holds all of that revision.
    pub(super) fn read_point(&self, tree: &TreeShared) -> Result<(Guard<Arc<TreeState>>, Revision)> {
        let point = publish::read_point(&tree.generation, || tree.state.load(), &self.visible);
        self.check_readable(tree)?;
        Ok(point)
    }

    /// Called after a state was loaded: an empty state of a closed store or a dropped tree is not taken for its rows.
    pub(super) fn check_readable(&self, tree: &TreeShared) -> Result<()> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        if tree.dropped.load(Ordering::Acquire) {
            return Err(tree.gone());
        }
        Ok(())
    }

    /// The same at the revision of a snapshot, where one is given.
    pub(super) fn read_at(
        &self,
        tree: &TreeShared,
        at: Option<&Snapshot>,
    ) -> Result<(Guard<Arc<TreeState>>, Revision)> {
        let Some(snapshot) = at else {
            return self.read_point(tree);
        };
        let state = tree.state.load();
        self.check_readable(tree)?;
        Ok((state, snapshot.revision()))
    }

    /// The time by which expiry is judged.
    pub(super) fn now_ms(&self, at: Option<&Snapshot>) -> u64 {
        at.map_or_else(|| self.clock.unix_ms(), |snapshot| snapshot.held.now_ms)
    }
}

impl Db {
    /// Calls `with` on the newest entry of `key` (or `None`), from memory only and without waiting.
    /// `with` is not called when the outcome is `WouldBlock`.
    pub fn try_get<R>(&self, tree: &Tree, key: &[u8], with: impl FnOnce(Option<Entry<'_>>) -> R) -> Result<Attempt<R>> {
        let (state, visible) = self.shared.read_point(&tree.shared)?;
        let now_ms = || self.shared.clock.unix_ms();
        Ok(match find(&state, key, visible, false)? {
            Lookup::Found(row) => Attempt::Done(with_entry(Some(row), now_ms, with)),
            Lookup::Absent => Attempt::Done(with(None)),
            Lookup::NeedsRead => Attempt::WouldBlock,
        })
    }

    /// Calls `with` on the entry of `key` as of `at` (`None` = newest).
    pub fn get<R>(
        &self,
        tree: &Tree,
        key: &[u8],
        at: Option<&Snapshot>,
        with: impl FnOnce(Option<Entry<'_>>) -> R,
    ) -> Result<R> {
        let (state, revision) = self.shared.read_at(&tree.shared, at)?;
        let row = lookup(&state, key, revision)?;
        Ok(with_entry(row, || self.shared.now_ms(at), with))
    }
}
