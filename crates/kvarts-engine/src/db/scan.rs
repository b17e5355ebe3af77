//! Scans: all sources of a tree merged, seen at one revision, handed out in chunks.
use super::read::{lookup, with_entry};
use super::rest::{Counted, Rest};
use super::spares::Spares;
use super::state::Shared;
use super::trees::TreeState;
use super::{Awake, Db, Entry, RowChunk, Scan, Snapshot, Tree};
use crate::iter::{Bounds, Columns, Cursor, End, Limits, MergeCursor, VisibleCursor, Wanted};
use crate::memtable::MemtableCursor;
use crate::table::{LevelCursor, LevelTables, Table, TableCursor};
use crate::version::{TableRef, Version};
use crate::{Kind, Result, Revision};
use kvarts_formats::block::Block;
use std::ops::Range;
use std::sync::Arc;

/// So many places where it could be parted are looked at per piece.
const PARTS_PER_PIECE: u64 = 4;

/// So many keys of each table are looked at for the middle.
const MIDDLE_PARTS: u64 = 256;

/// Tables of one level that a scan may need.
pub(super) struct LevelPart {
    version: Arc<Version>,
    level: usize,
    tables: Range<usize>,
}

impl LevelTables for LevelPart {
    fn count(&self) -> usize {
        self.tables.len()
    }

    fn table(&self, i: usize) -> &Arc<Table> {
        &self.version.levels[self.level][self.tables.start + i].table
    }
}

/// What a scan merges.
pub(super) enum Source {
    Mem(MemtableCursor),
    Table(TableCursor),
    Level(LevelCursor<LevelPart>),
}

/// Calls a method of whatever cursor it is.
macro_rules! each {
    ($source:ident, $cursor:ident => $call:expr) => {
        match $source {
            Source::Mem($cursor) => $call,
            Source::Table($cursor) => $call,
            Source::Level($cursor) => $call,
        }
    };
}

impl Cursor for Source {
    fn seek_first(&mut self) -> Result<()> {
        each!(self, cursor => cursor.seek_first())
    }

    fn seek_last(&mut self) -> Result<()> {
        each!(self, cursor => cursor.seek_last())
    }

    fn seek(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        each!(self, cursor => cursor.seek(key, revision))
    }

    fn seek_before(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        each!(self, cursor => cursor.seek_before(key, revision))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        each!(self, cursor => cursor.next())
    }

    fn prev(&mut self) -> Result<()> {
        each!(self, cursor => cursor.prev())
    }

    #[inline]
    fn valid(&self) -> bool {
        each!(self, cursor => cursor.valid())
    }

    #[inline]
    fn key(&self) -> &[u8] {
        each!(self, cursor => cursor.key())
    }

    #[inline]
    fn revision(&self) -> Revision {
        each!(self, cursor => cursor.revision())
    }

    #[inline]
    fn kind(&self) -> Kind {
        each!(self, cursor => cursor.kind())
    }

    #[inline]
    fn value(&self) -> &[u8] {
        each!(self, cursor => cursor.value())
    }

    #[inline]
    fn block(&self) -> Option<(&Block, usize)> {
        each!(self, cursor => cursor.block())
    }

    fn skip_in_block(&mut self, row: usize, before: &[u8]) -> Result<()> {
        each!(self, cursor => cursor.skip_in_block(row, before))
    }
}

/// Cursors over all sources of a tree within `bounds`, newest first. A table outside is not even looked at.
fn sources(state: &TreeState, bounds: &Bounds) -> Vec<Source> {
    let mems = state.mems().filter(|mem| !mem.table.is_empty());
    let mut sources: Vec<_> = mems.map(|mem| Source::Mem(MemtableCursor::new(Arc::clone(&mem.table)))).collect();
    let starts = |table: &TableRef| bounds.stop.as_ref().is_none_or(|(stop, _)| *stop >= table.record.smallest);
    let ends = |table: &TableRef| bounds.start.as_ref().is_some_and(|(start, _)| *start > table.record.largest);
    let mut levels = state.version.levels.iter().enumerate();
    for table in levels.next().into_iter().flat_map(|(_, tables)| tables).filter(|table| starts(table) && !ends(table))
    {
        sources.push(Source::Table(TableCursor::new(Arc::clone(&table.table), true)));
    }
    for (level, tables) in levels.filter(|(_, tables)| !tables.is_empty()) {
        let first = tables.partition_point(ends);
        let tables = first..first + tables[first..].partition_point(starts);
        if let [table] = &state.version.levels[level][tables.clone()] {
            sources.push(Source::Table(TableCursor::new(Arc::clone(&table.table), true)));
        } else if !tables.is_empty() {
            let part = LevelPart { version: Arc::clone(&state.version), level, tables };
            sources.push(Source::Level(LevelCursor::new(part, true)));
        }
    }
    sources
}

/// One moment of a tree, from which scans are made.
pub(super) struct Parts {
    shared: Arc<Shared>,
    state: Arc<TreeState>,
    revision: Revision,
    now_ms: u64,
}

impl Parts {
    /// Starts a scan of a part, forward.
    pub(super) fn scan(&self, bounds: Bounds) -> Result<Scan> {
        Scan::new(&self.shared, &self.state, bounds, false, self.revision, self.now_ms)
    }
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
        let awake = Some(Awake::new(state, bounds.clone(), reverse, at, now_ms)?);
        Ok(Self { awake, bounds, reverse, revision: at, now_ms, rest: None, counted: Counted::new(shared) })
    }

    /// What it reads, found again where it was let go. Errors: also `InvalidArgument` where the tree was dropped meanwhile.
    fn awake(&mut self) -> Result<&mut Awake> {
        if self.awake.is_none() {
            let rest = self.rest.as_ref().expect("only what can be found again is let go");
            let shared = &self.counted.shared;
            let (state, revision) = shared.read_at(&rest.tree, Some(&rest.held))?;
            self.awake = Some(Awake::new(&state, self.bounds.clone(), self.reverse, revision, self.now_ms)?);
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

    /// Appends rows to `chunk` until it has `rows_max` rows or `bytes_max` bytes. Returns false once there are no more. For who
    /// is done with the scan soon: the budget has no say in it, and the scan does not rest.
    ///
    /// A chunk that is not full when it comes gets at least one row, however large.
    pub fn fill(&mut self, chunk: &mut RowChunk, rows_max: usize, bytes_max: usize, with_values: bool) -> Result<bool> {
        let wanted = Wanted { keys: true, values: with_values, revisions: true, expiries: false };
        self.fill_wanted(chunk, Limits { rows_max, bytes_max }, wanted)
    }

    /// The same with the columns that are wanted, keys among them. The limits are of the whole chunk.
    pub fn fill_wanted(&mut self, chunk: &mut RowChunk, limits: Limits, wanted: Wanted) -> Result<bool> {
        let rows_max = limits.rows_max.saturating_sub(chunk.key_ends.len());
        let bytes_max = limits.bytes_max.max(1).saturating_sub(chunk.bytes());
        if rows_max > 0 && bytes_max > 0 {
            self.append_batch(chunk, Limits { rows_max, bytes_max }, wanted)?;
        }
        Ok(!self.is_at_end())
    }

    /// Appends rows to `out`, as far as the limits and the budget say. Returns how many.
    pub fn append<E: End>(&mut self, out: &mut Columns<E>, limits: Limits, wanted: Wanted) -> Result<usize> {
        let bytes_max = self.counted.grant(limits.bytes_max);
        let rows = self.append_batch(out, Limits { bytes_max, ..limits }, wanted)?;
        self.rest();
        Ok(rows)
    }

    /// The same for rows that are handed on at once: the budget has no say, and the scan does not rest.
    pub(super) fn append_batch<E: End>(
        &mut self,
        out: &mut Columns<E>,
        limits: Limits,
        wanted: Wanted,
    ) -> Result<usize> {
        self.awake()?.rows.append(out, limits, wanted)
    }

    /// Tells whether it goes from the last key to the first.
    pub fn is_reverse(&self) -> bool {
        self.reverse
    }

    /// Bytes of memory that the store was given.
    pub fn memory_bytes(&self) -> usize {
        self.counted.shared.options.memory_bytes
    }

    /// Parts its range into pieces of about `rows_each` rows, in key order, and says how many rows there are about.
    pub(super) fn parted(&self, rows_each: u64) -> (Vec<Bounds>, u64) {
        let awake = self.first_awake();
        let (start, stop) = awake.rows.bounds();
        let (mut keys, mut rows) = (Vec::new(), 0);
        let overlaps = |table: &TableRef| {
            *table.record.largest >= *start && stop.is_none_or(|stop| *table.record.smallest < *stop)
        };
        for (_, table) in awake.state.version.tables().filter(|(_, table)| overlaps(table)) {
            rows += table.table.part_at(start, stop, rows_each / PARTS_PER_PIECE, &mut keys);
        }
        rows += keys.iter().map(|(_, rows)| rows).sum::<u64>();
        keys.sort_unstable();
        let (mut pieces, mut from, mut gathered) = (Vec::new(), (start.to_vec(), true), 0);
        for (key, rows) in keys {
            gathered += rows;
            if gathered >= rows_each && key >= from.0 && stop.is_none_or(|stop| key.as_slice() < stop) {
                let until = (key.clone(), true);
                pieces.push(Bounds { start: Some(std::mem::replace(&mut from, (key, false))), stop: Some(until) });
                gathered = 0;
            }
        }
        pieces.push(Bounds { start: Some(from), stop: stop.map(|stop| (stop.to_vec(), false)) });
        (pieces, rows)
    }

    /// Returns the key that has about half of the bytes of its range in front of it, and about how many those bytes are, by the
    /// tables' indexes alone. `None` where they cannot part it.
    fn middle(&self) -> (Option<Vec<u8>>, u64) {
        let awake = self.first_awake();
        let (start, stop) = awake.rows.bounds();
        let (mut keys, mut weights, mut total) = (Vec::new(), Vec::new(), 0);
        for (_, table) in awake.state.version.tables() {
            let record = &table.record;
            let rows_each = (record.rows / MIDDLE_PARTS).max(1);
            let rest = table.table.part_at(start, stop, rows_each, &mut keys);
            let row_bytes = (record.bytes / record.rows.max(1)).max(1);
            total += rest * row_bytes;
            weights.resize(keys.len(), row_bytes);
        }
        let mut parts: Vec<_> = keys.into_iter().zip(weights).map(|((key, rows), each)| (key, rows * each)).collect();
        total += parts.iter().map(|(_, bytes)| bytes).sum::<u64>();
        parts.retain(|(key, _)| key.as_slice() > start && stop.is_none_or(|stop| key.as_slice() < stop));
        parts.sort_unstable();
        let half = total / 2;
        let mut before = 0;
        let middle = parts.into_iter().find(|(_, bytes)| {
            before += bytes;
            before >= half
        });
        (middle.map(|(key, _)| key), total)
    }

    /// Memory of columns that is free to use.
    pub(super) fn spares(&self) -> Arc<Spares> {
        Arc::clone(&self.counted.shared.spares)
    }

    /// What scans of parts of its range are made of.
    pub(super) fn parts(&self) -> Parts {
        let (state, shared) = (Arc::clone(&self.first_awake().state), Arc::clone(&self.counted.shared));
        Parts { shared, state, revision: self.revision, now_ms: self.now_ms }
    }

    fn first_awake(&self) -> &Awake {
        self.awake.as_ref().expect("it has not rested yet")
    }

    /// Tells whether there are no more rows.
    pub fn is_at_end(&self) -> bool {
        // It rests on a row.
        self.awake.as_ref().is_some_and(|awake| !awake.rows.valid())
    }
}

impl Awake {
    fn new(state: &Arc<TreeState>, bounds: Bounds, reverse: bool, at: Revision, now_ms: u64) -> Result<Self> {
        let sources = sources(state, &bounds);
        let rows = VisibleCursor::new(MergeCursor::new(sources), bounds, reverse, at, now_ms)?;
        Ok(Self { rows, state: Arc::clone(state) })
    }
}

impl Db {
    /// Returns a key before which about half of the bytes of `bounds` lie, and about how many there are, old versions too.
    /// Looks at tables only, and at no row of them: `None` where they are too small to tell.
    pub fn middle(&self, tree: &Tree, bounds: Bounds) -> Result<(Option<Vec<u8>>, u64)> {
        Ok(self.scan(tree, bounds, false, None)?.middle())
    }

    /// Starts a scan of `bounds` as of `at` (`None` = now), forward or in reverse.
    pub fn scan(&self, tree: &Tree, bounds: Bounds, reverse: bool, at: Option<&Snapshot>) -> Result<Scan> {
        let held =
            if self.shared.scans_rest() { Some(at.map_or_else(|| self.hold(), |at| Ok(at.clone()))?) } else { None };
        let at = held.as_ref().or(at);
        let (state, revision) = self.shared.read_at(&tree.shared, at)?;
        state.waste.add_seeks(state.version.sources().saturating_sub(1));
        let mut scan = Scan::new(&self.shared, &state, bounds, reverse, revision, self.shared.now_ms(at))?;
        scan.rest = held.map(|held| Rest { tree: Arc::clone(&tree.shared), held });
        Ok(scan)
    }
}
