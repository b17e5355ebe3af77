//! Scans: all sources of a tree merged, seen at one revision, handed out in chunks.
use super::read::{lookup, with_entry};
use super::state::Shared;
use super::trees::TreeState;
use super::{Db, Entry, RowChunk, Scan, Snapshot, Tree};
use crate::iter::{Bounds, BoxCursor, MergeCursor, VisibleCursor};
use crate::table::level_cursor;
use crate::version::TableRef;
use crate::{Result, Revision};
use kvarts_formats::manifest::TableRecord;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Counts a live scan until dropped.
pub(super) struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.scans.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Cursors over all sources of a tree, newest first.
///
/// Where `only` is given, tables outside of these bounds are left out: one that is damaged is not even looked at then.
fn sources(state: &TreeState, only: Option<&Bounds>) -> Vec<BoxCursor> {
    let mut sources: Vec<BoxCursor> =
        state.mems().filter(|mem| !mem.table.is_empty()).map(|mem| mem.table.cursor()).collect();
    let counts = |table: &&TableRef| only.is_none_or(|bounds| overlaps(bounds, &table.record));
    let mut levels = state.version.levels.iter();
    for table in levels.next().into_iter().flatten().filter(counts) {
        sources.push(table.table.cursor(true));
    }
    for level in levels {
        let tables: Vec<_> = level.iter().filter(counts).map(|table| Arc::clone(&table.table)).collect();
        if !tables.is_empty() {
            sources.push(level_cursor(tables, true));
        }
    }
    sources
}

fn overlaps(bounds: &Bounds, table: &TableRecord) -> bool {
    bounds.start.as_ref().is_none_or(|(start, _)| *start <= table.largest)
        && bounds.stop.as_ref().is_none_or(|(stop, _)| *stop >= table.smallest)
}

impl Scan {
    /// Starts a scan of `state`. Its cursors keep memtables and tables alive: nothing is registered for it.
    pub(super) fn new(
        shared: &Arc<Shared>,
        state: &Arc<TreeState>,
        bounds: Bounds,
        reverse: bool,
        at: Revision,
        now_ms: u64,
    ) -> Result<Self> {
        let sources = sources(state, shared.options.read_only.then_some(&bounds));
        let rows = VisibleCursor::new(MergeCursor::new(sources), bounds, reverse, at, now_ms)?;
        shared.scans.fetch_add(1, Ordering::Relaxed);
        Ok(Self { rows, revision: at, now_ms, state: Arc::clone(state), _counted: Counted(Arc::clone(shared)) })
    }

    /// Calls `with` on the entry of `key`, within the bounds or not, as the scan sees it.
    pub fn get<R>(&self, key: &[u8], with: impl FnOnce(Option<Entry<'_>>) -> R) -> Result<R> {
        let row = lookup(&self.state, key, self.revision)?;
        Ok(with_entry(row, || self.now_ms, with))
    }

    /// The revision it reads at.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The row it stands on.
    pub(super) fn row(&self) -> Option<(&[u8], &[u8])> {
        self.rows.valid().then(|| (self.rows.key(), self.rows.value()))
    }

    /// Appends rows to `chunk` until it has `rows_max` rows or `bytes_max` bytes. Returns false once there are no more.
    ///
    /// A chunk that is not full when it comes gets at least one row, however large.
    pub fn fill(&mut self, chunk: &mut RowChunk, rows_max: usize, bytes_max: usize, with_values: bool) -> Result<bool> {
        while self.rows.valid()
            && chunk.key_ends.len() < rows_max
            && chunk.keys.len() + chunk.values.len() < bytes_max.max(1)
        {
            chunk.keys.extend_from_slice(self.rows.key());
            chunk.key_ends.push(chunk.keys.len());
            if with_values {
                chunk.values.extend_from_slice(self.rows.value());
                chunk.value_ends.push(chunk.values.len());
            }
            chunk.revisions.push(self.rows.revision());
            self.rows.step()?;
        }
        Ok(self.rows.valid())
    }
}

impl Db {
    /// Starts a scan of `bounds` as of `at` (`None` = now), forward or in reverse.
    pub fn scan(&self, tree: &Tree, bounds: Bounds, reverse: bool, at: Option<&Snapshot>) -> Result<Scan> {
        let (state, revision) = self.shared.read_at(&tree.shared, at)?;
        Scan::new(&self.shared, &state, bounds, reverse, revision, self.shared.now_ms(at))
    }
}
