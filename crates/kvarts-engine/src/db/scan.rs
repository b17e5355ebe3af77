//! Scans: all sources of a tree merged, seen at one revision, handed out in chunks.
use super::read::{lookup, with_entry};
use super::rest::{Counted, Rest};
use super::state::Shared;
use super::trees::TreeState;
use super::{Awake, Db, Entry, RowChunk, Scan, Snapshot, Tree};
use crate::iter::{Bounds, BoxCursor, MergeCursor, VisibleCursor};
use crate::table::level_cursor;
use crate::version::TableRef;
use crate::{Result, Revision};
use kvarts_formats::manifest::TableRecord;
use std::sync::Arc;

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
        let awake = Some(Awake::new(shared, state, bounds.clone(), reverse, at, now_ms)?);
        Ok(Self { awake, bounds, reverse, revision: at, now_ms, rest: None, counted: Counted::new(shared) })
    }

    /// What it reads, found again where it was let go. Errors: also `InvalidArgument` where the tree was dropped meanwhile.
    fn awake(&mut self) -> Result<&mut Awake> {
        if self.awake.is_none() {
            let rest = self.rest.as_ref().expect("only what can be found again is let go");
            let shared = &self.counted.shared;
            let (state, revision) = shared.read_at(&rest.tree, Some(&rest.held))?;
            self.awake = Some(Awake::new(shared, &state, self.bounds.clone(), self.reverse, revision, self.now_ms)?);
        }
        Ok(self.awake.as_mut().expect("made above"))
    }

    /// Lets go of what it reads, but for where it stands.
    fn rest(&mut self) {
        let Some(awake) = self.awake.as_ref().filter(|awake| self.rest.is_some() && awake.rows.valid()) else { return };
        let next = Some((awake.rows.key().to_vec(), true));
        if self.reverse {
            self.bounds.stop = next
        } else {
            self.bounds.start = next
        }
        self.awake = None;
    }

    /// Calls `with` on the entry of `key`, within the bounds or not, as the scan sees it.
    pub fn get<R>(&self, key: &[u8], with: impl FnOnce(Option<Entry<'_>>) -> R) -> Result<R> {
        let found_again;
        let state = match (&self.awake, &self.rest) {
            (Some(awake), _) => &awake.state,
            (None, Some(rest)) => {
                found_again = self.counted.shared.read_at(&rest.tree, Some(&rest.held))?.0;
                &*found_again
            }
            (None, None) => unreachable!("only what can be found again is let go"),
        };
        let row = lookup(state, key, self.revision)?;
        Ok(with_entry(row, || self.now_ms, with))
    }

    /// The revision it reads at.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The row it stands on.
    pub(super) fn row(&self) -> Option<(&[u8], &[u8])> {
        let rows = &self.awake.as_ref().expect("it has not rested yet").rows;
        rows.valid().then(|| (rows.key(), rows.value()))
    }

    /// Appends rows to `chunk` until it has `rows_max` rows or `bytes_max` bytes, or as many as the budget has left for it.
    /// Returns false once there are no more.
    ///
    /// A chunk that is not full when it comes gets at least one row, however large.
    pub fn fill(&mut self, chunk: &mut RowChunk, rows_max: usize, bytes_max: usize, with_values: bool) -> Result<bool> {
        let bytes_max = self.counted.grant(bytes_max.max(1));
        let rows = &mut self.awake()?.rows;
        while rows.valid() && chunk.key_ends.len() < rows_max && chunk.keys.len() + chunk.values.len() < bytes_max {
            chunk.keys.extend_from_slice(rows.key());
            chunk.key_ends.push(chunk.keys.len());
            if with_values {
                chunk.values.extend_from_slice(rows.value());
                chunk.value_ends.push(chunk.values.len());
            }
            chunk.revisions.push(rows.revision());
            rows.step()?;
        }
        let more = rows.valid();
        self.rest();
        Ok(more)
    }
}

impl Awake {
    fn new(
        shared: &Shared,
        state: &Arc<TreeState>,
        bounds: Bounds,
        reverse: bool,
        at: Revision,
        now_ms: u64,
    ) -> Result<Self> {
        let sources = sources(state, shared.options.read_only.then_some(&bounds));
        let rows = VisibleCursor::new(MergeCursor::new(sources), bounds, reverse, at, now_ms)?;
        Ok(Self { rows, state: Arc::clone(state) })
    }
}

impl Db {
    /// Starts a scan of `bounds` as of `at` (`None` = now), forward or in reverse.
    pub fn scan(&self, tree: &Tree, bounds: Bounds, reverse: bool, at: Option<&Snapshot>) -> Result<Scan> {
        let held =
            if self.shared.scans_rest() { Some(at.map_or_else(|| self.hold(), |at| Ok(at.clone()))?) } else { None };
        let at = held.as_ref().or(at);
        let (state, revision) = self.shared.read_at(&tree.shared, at)?;
        let mut scan = Scan::new(&self.shared, &state, bounds, reverse, revision, self.shared.now_ms(at))?;
        scan.rest = held.map(|held| Rest { tree: Arc::clone(&tree.shared), held });
        Ok(scan)
    }
}
