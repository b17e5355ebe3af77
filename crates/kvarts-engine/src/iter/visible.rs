//! The view of one revision.
use super::columns::{Columns, End, Limits, Wanted};
use super::{Bounds, BoxCursor, Cursor, MergeCursor};
use crate::{Kind, Result, Revision};
use kvarts_formats::ids::EXPIRY_BYTES;

/// After so many hidden rows of one key the rest are skipped by a seek.
const HIDDEN_MAX: usize = 8;

/// Fewer rows in a row are taken one by one.
const RUN_ROWS_MIN: usize = 2;

/// What one revision of a tree shows: per key the newest row at or before `at`, less tombstones and expired rows.
///
/// Goes in one direction, chosen at the start. `key`, `revision`, `expiry_ms` and `value` may be called only while `valid`;
/// after an error it is not valid and cannot go on.
pub struct VisibleCursor<C = BoxCursor> {
    rows: MergeCursor<C>,
    at: Revision,
    now_ms: u64,
    reverse: bool,
    /// First key, included; empty = from the first key.
    start: Vec<u8>,
    /// First key past the end, if there is one.
    stop: Option<Vec<u8>>,
    valid: bool,
    /// The key it stands on or has dealt with last.
    key: Vec<u8>,
    /// Whether `key` is one: false before the first row.
    begun: bool,
    revision: Revision,
    expiry_ms: Option<u64>,
    /// In reverse, the value of the row, expiry included: the cursor below has moved past it. Unused forward.
    held: Vec<u8>,
}

impl<C: Cursor> VisibleCursor<C> {
    /// Returns the view of `rows` at `at` and `now_ms` within `bounds`, standing on its first row in the direction.
    ///
    /// Bounds that are empty or inverted give an empty view.
    pub fn new(mut rows: MergeCursor<C>, bounds: Bounds, reverse: bool, at: Revision, now_ms: u64) -> Result<Self> {
        let start = bounds.start.map_or_else(Vec::new, |(key, included)| if included { key } else { after(key) });
        let stop = bounds.stop.map(|(key, included)| if included { after(key) } else { key });
        let empty = stop.as_ref().is_some_and(|stop| *stop <= start);
        match (&stop, reverse) {
            _ if empty => {}
            (_, false) => rows.seek(&start, Revision::MAX)?,
            (Some(stop), true) => rows.seek_before(stop, Revision::MAX)?,
            (None, true) => rows.seek_last()?,
        }
        let mut view = Self {
            rows,
            at,
            now_ms,
            reverse,
            start,
            stop,
            valid: false,
            key: Vec::new(),
            begun: false,
            revision: Revision::ZERO,
            expiry_ms: None,
            held: Vec::new(),
        };
        if !empty {
            view.settle()?;
        }
        Ok(view)
    }

    /// First key, included, and first key past the end.
    pub fn bounds(&self) -> (&[u8], Option<&[u8]>) {
        (&self.start, self.stop.as_deref())
    }

    /// Tells whether it stands on a row.
    #[inline]
    pub fn valid(&self) -> bool {
        self.valid
    }

    /// Key of the row.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Revision of the row.
    #[inline]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Unix milliseconds from which the row is absent, if it expires.
    #[inline]
    pub fn expiry_ms(&self) -> Option<u64> {
        self.expiry_ms
    }

    /// The user's value (expiry removed).
    #[inline]
    pub fn value(&self) -> &[u8] {
        let stored = if self.reverse { &self.held } else { self.rows.value() };
        if self.expiry_ms.is_some() { &stored[EXPIRY_BYTES..] } else { stored }
    }

    /// Moves on in its direction.
    #[inline]
    pub fn step(&mut self) -> Result<()> {
        if !self.reverse {
            // Not valid unless the move succeeds.
            self.valid = false;
            self.rows.next()?;
        }
        self.settle()
    }

    /// Appends rows to `out` and moves behind them. Returns how many: fewer than the limits say only at the end.
    ///
    /// After an error `out` may hold rows that were not counted.
    pub fn append<E: End>(&mut self, out: &mut Columns<E>, limits: Limits, wanted: Wanted) -> Result<usize> {
        let (mut rows, bytes) = (0, out.bytes());
        while self.valid && rows < limits.rows_max {
            let taken = out.bytes() - bytes;
            if rows > 0 && taken >= limits.bytes_max {
                break;
            }
            let left = Limits { rows_max: limits.rows_max - rows, bytes_max: limits.bytes_max.saturating_sub(taken) };
            let run = self.append_run(out, left, wanted)?;
            if run == 0 {
                out.push((self.key(), self.value(), self.revision, self.expiry_ms.unwrap_or(0)), wanted);
                self.step()?;
            }
            rows += run.max(1);
        }
        Ok(rows)
    }

    /// Appends rows that lie in one block, ahead of all other sources. Returns how many; 0: take the row alone.
    fn append_run<E: End>(&mut self, out: &mut Columns<E>, limits: Limits, wanted: Wanted) -> Result<usize> {
        let Some(run) = self.rows.run().filter(|_| !self.reverse && self.expiry_ms.is_none()) else { return Ok(0) };
        let rows_max = limits.rows_max.min(run.rows_max).min(run.block.rows() - run.row);
        let until = match (&self.stop, run.until) {
            (Some(stop), Some(until)) => Some(until.min(stop)),
            (stop, until) => until.or(stop.as_deref()),
        };
        let live = run.block.live_until(run.row..run.row + rows_max, self.at);
        if live - run.row < RUN_ROWS_MIN {
            return Ok(0);
        }
        let limits = Limits { rows_max: live - run.row, ..limits };
        let rows = out.push_run(run.block, run.row, &mut self.key, until, limits, wanted);
        let next = run.row + rows;
        if rows > 0 {
            self.valid = false;
            self.rows.skip_in_block(next, &self.key, rows)?;
            self.settle()?;
        }
        Ok(rows)
    }

    #[inline]
    fn settle(&mut self) -> Result<()> {
        self.valid = false;
        self.valid = if self.reverse { self.settle_backward()? } else { self.settle_forward()? };
        Ok(())
    }

    /// Goes forward from the current row, which may be of the key dealt with, to the next row that shows.
    fn settle_forward(&mut self) -> Result<bool> {
        let (mut hidden, mut found) = (0, self.begun);
        while self.rows.valid() {
            if !self.begun || self.rows.key() != self.key {
                if self.stop.as_ref().is_some_and(|stop| self.rows.key() >= stop.as_slice()) {
                    return Ok(false);
                }
                self.key.clear();
                self.key.extend_from_slice(self.rows.key());
                (self.begun, found, hidden) = (true, false, 0);
            }
            if !found && self.rows.revision() <= self.at {
                found = true;
                if self.read_row() {
                    return Ok(true);
                }
            }
            hidden += 1;
            if hidden <= HIDDEN_MAX {
                self.rows.next()?;
            } else if found {
                self.key.push(0);
                let skipped = self.rows.skip_to(&self.key, Revision::MAX);
                self.key.pop();
                skipped?;
            } else {
                self.rows.skip_to(&self.key, self.at)?;
            }
        }
        Ok(false)
    }

    /// Takes revision and expiry of the current row. Tells whether it shows.
    #[inline]
    fn read_row(&mut self) -> bool {
        self.revision = self.rows.revision();
        self.expiry_ms = None;
        match self.rows.kind() {
            Kind::Delete => false,
            Kind::Put => true,
            Kind::PutExpiring => {
                let expiry = self.rows.value().first_chunk().expect("whoever wrote the row put its expiry in front");
                let expiry = u64::from_le_bytes(*expiry);
                self.expiry_ms = Some(expiry);
                self.now_ms < expiry
            }
        }
    }

    /// Goes backward from the current row, the oldest of its key, to the next key that shows, and past all its rows.
    fn settle_backward(&mut self) -> Result<bool> {
        while self.rows.valid() && self.rows.key() >= self.start.as_slice() {
            self.key.clear();
            self.key.extend_from_slice(self.rows.key());
            let shows = self.newest_backward()?;
            let mut hidden = 0;
            while self.rows.valid() && self.rows.key() == self.key {
                hidden += 1;
                if hidden > HIDDEN_MAX {
                    self.rows.seek_before(&self.key, Revision::MAX)?;
                    break;
                }
                self.rows.prev()?;
            }
            if shows {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Holds the newest row of `key` at or before `at`, walking from its oldest. Tells whether it shows.
    fn newest_backward(&mut self) -> Result<bool> {
        let (mut shows, mut seen) = (false, 0);
        while self.rows.valid() && self.rows.revision() <= self.at && self.rows.key() == self.key {
            seen += 1;
            if seen > HIDDEN_MAX {
                // Many rows: find the newest by a seek instead of copying them one after the other.
                self.rows.seek(&self.key, self.at)?;
                shows = self.hold();
                self.rows.seek_before(&self.key, Revision::MAX)?;
                break;
            }
            shows = self.hold();
            self.rows.prev()?;
        }
        Ok(shows)
    }

    fn hold(&mut self) -> bool {
        let shows = self.read_row();
        self.held.clear();
        if shows {
            self.held.extend_from_slice(self.rows.value());
        }
        shows
    }
}

/// Returns the key right after `key`.
fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}
