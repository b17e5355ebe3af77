//! Rows in key order, taken from the engine in chunks (detached) and handed out one by one (attached).
use crate::arguments::{Count, Flag, Threads};
use crate::arrow::{self, ArrowScan, BATCH_ROWS, Request};
use crate::buffers::Layout;
use crate::codec::Codec;
use crate::fault::{Fault, Outcome, key_not_found};
use crate::handle::{Guarded, Handle};
use kvarts_engine::db::{self, RowChunk};
use kvarts_engine::iter::{Limits, Wanted};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyList, PyTuple};
use std::mem;
use std::sync::{Arc, Mutex};

/// Rows of the first chunk, so that a short scan pays for little; each later one has four times as many, up to `ROWS_MAX`.
const ROWS_FIRST: usize = 32;
const ROWS_MAX: usize = 4096;
/// A scan of no more rows has one chunk.
const ROWS_AT_ONCE: usize = 256;
/// Bytes of a chunk, about: it stays in the cache between its filling and its handing out.
const CHUNK_BYTES: usize = 256 << 10;

/// What a row is in Python.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// (key, value)
    Items,
    /// key
    Keys,
    /// value
    Values,
}

/// A scan: see `kvarts.base.api.Scan`.
#[pyclass(generic, mapping, module = "kvarts._native")]
pub struct Scan {
    /// The engine's part, until the end. The mutex is never locked: it makes the cursor shareable by type.
    scan: Guarded<Mutex<db::Scan>>,
    key: Codec,
    value: Codec,
    /// A view's prefix, in front of each key.
    prefix: Vec<u8>,
    mode: Mode,
    /// Whether `keys()` was called: then values can be looked up, so the engine's part stays beyond the end.
    look_ups: bool,
    /// Rows per list, after `chunks(n)`.
    list_rows: Option<usize>,
    started: bool,
    chunk: RowChunk,
    /// Rows in `chunk`.
    rows: usize,
    /// The next of them.
    at: usize,
    rows_next: usize,
    /// Rows still to take from the engine; `None` = all.
    left: Option<usize>,
    thread: usize,
}

impl Scan {
    /// Starts handing out `scan`.
    pub fn new(
        handle: &Arc<Handle>,
        scan: db::Scan,
        codecs: (Codec, Codec),
        prefix: Vec<u8>,
        limit: Option<usize>,
        mode: Mode,
    ) -> Self {
        Self {
            scan: Guarded::new(handle, Mutex::new(scan)),
            key: codecs.0,
            value: codecs.1,
            prefix,
            left: limit,
            mode,
            look_ups: false,
            list_rows: None,
            started: false,
            chunk: RowChunk::default(),
            rows: 0,
            at: 0,
            rows_next: ROWS_FIRST,
            thread: this_thread(),
        }
    }

    /// Returns a scan without rows.
    pub fn empty(handle: &Arc<Handle>, mode: Mode) -> Self {
        Self {
            scan: Guarded::nothing(handle),
            key: Codec::Bytes,
            value: Codec::Bytes,
            prefix: Vec::new(),
            left: None,
            mode,
            look_ups: false,
            list_rows: None,
            started: false,
            chunk: RowChunk::default(),
            rows: 0,
            at: 0,
            rows_next: ROWS_FIRST,
            thread: this_thread(),
        }
    }

    /// Takes the next row.
    #[inline]
    fn next_row<'py>(&mut self, py: Python<'py>) -> Outcome<Option<Bound<'py, PyAny>>> {
        if self.at == self.rows && !self.refill(py)? {
            return Ok(None);
        }
        let at = self.at;
        self.at += 1;
        let object = match self.mode {
            Mode::Keys => self.key_object(py, at)?,
            Mode::Values => self.value_object(py, at)?,
            Mode::Items => {
                let (key, value) = (self.key_object(py, at)?, self.value_object(py, at)?);
                PyTuple::new(py, [key, value])?.into_any()
            }
        };
        Ok(Some(object))
    }

    fn key_object<'py>(&self, py: Python<'py>, at: usize) -> Outcome<Bound<'py, PyAny>> {
        let key = &self.chunk.keys[start_of(&self.chunk.key_ends, at)..self.chunk.key_ends[at]];
        self.key.decode(py, &key[self.prefix.len()..])
    }

    fn value_object<'py>(&self, py: Python<'py>, at: usize) -> Outcome<Bound<'py, PyAny>> {
        let value = &self.chunk.values[start_of(&self.chunk.value_ends, at)..self.chunk.value_ends[at]];
        self.value.decode(py, value)
    }

    /// Gets the next chunk. Returns false at the end, where it lets the engine's part go.
    fn refill(&mut self, py: Python<'_>) -> Outcome<bool> {
        self.started = true;
        self.scan.handle().db()?;
        py.check_signals()?;
        let Self { scan, chunk, .. } = self;
        chunk.clear();
        (self.at, self.rows) = (0, 0);
        let rows_max = match self.left {
            Some(left) if left <= ROWS_AT_ONCE => left,
            Some(left) => left.min(self.rows_next),
            None => self.rows_next,
        };
        let wanted = Wanted {
            keys: self.mode != Mode::Values,
            values: self.mode != Mode::Keys,
            revisions: false,
            expiries: false,
        };
        let limits = Limits { rows_max, bytes_max: CHUNK_BYTES };
        let Some(engine) = scan.get_mut() else { return Ok(false) };
        let engine = engine.get_mut().expect("the mutex is never locked, so no panic poisons it");
        let (rows, more) =
            py.detach(|| engine.append(chunk, limits, wanted).map(|rows| (rows, !engine.is_at_end())))?;
        self.rows = rows;
        self.rows_next = (self.rows_next * 4).min(ROWS_MAX);
        self.left = self.left.map(|left| left - rows);
        if (!more || self.left == Some(0)) && !self.look_ups {
            scan.release();
        }
        Ok(rows > 0)
    }

    /// Takes the next list of rows.
    fn next_list<'py>(&mut self, py: Python<'py>, rows: usize) -> Outcome<Option<Bound<'py, PyAny>>> {
        let list = PyList::empty(py);
        while list.len() < rows {
            match self.next_row(py)? {
                Some(row) => list.append(row)?,
                None => break,
            }
        }
        Ok(if list.is_empty() { None } else { Some(list.into_any()) })
    }

    /// Looks a value up as of the scan's revision.
    fn look_up<'py>(&mut self, key: &Bound<'py, PyAny>) -> Outcome<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        self.scan.handle().db()?;
        py.check_signals()?;
        let Some(engine) = self.scan.get_mut() else { return Ok(None) };
        let engine = engine.get_mut().expect("the mutex is never locked, so no panic poisons it");
        let key = [&self.prefix, &*self.key.encode(key)?].concat();
        let stored = py.detach(move || engine.get(&key, |entry| entry.map(|entry| entry.value.to_vec())))?;
        stored.map(|stored| self.value.decode(py, &stored)).transpose()
    }

    /// Which columns there are to Arrow, and which of them are text.
    fn arrow_columns(&self) -> (Option<bool>, Option<bool>) {
        let key = (self.mode != Mode::Values).then(|| arrow::is_text(&self.key));
        let value = (self.mode != Mode::Keys).then(|| arrow::is_text(&self.value));
        (key, value)
    }

    fn check_fresh(&self, verb: &str, turned: bool) -> Outcome<()> {
        if self.started || turned {
            return Err(Fault::invalid(format!("{verb}() comes before the first row, once"), "start another scan"));
        }
        Ok(())
    }
}

#[pymethods]
impl Scan {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> Outcome<Option<Bound<'py, PyAny>>> {
        let mut scan = borrow(slf)?;
        scan.scan.handle().db()?;
        match scan.list_rows {
            None => scan.next_row(slf.py()),
            Some(rows) => scan.next_list(slf.py(), rows),
        }
    }

    fn keys<'py>(slf: Bound<'py, Self>) -> Outcome<Bound<'py, Self>> {
        let slf = turn(slf, "keys", Mode::Keys)?;
        borrow(&slf)?.look_ups = true;
        Ok(slf)
    }

    /// What `dict(scan)` calls for each of `keys()`.
    fn __getitem__<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyAny>> {
        let mut scan = borrow(slf)?;
        if !scan.look_ups {
            let what = "a scan is read row by row: next(scan), list(scan), dict(scan)";
            return Err(Fault::Plain("WrongType", what.to_owned()));
        }
        scan.look_up(key)?.ok_or_else(|| key_not_found(key))
    }

    fn values<'py>(slf: Bound<'py, Self>) -> Outcome<Bound<'py, Self>> {
        turn(slf, "values", Mode::Values)
    }

    #[pyo3(signature = (rows, /))]
    fn chunks(slf: Bound<'_, Self>, rows: Count) -> Outcome<Bound<'_, Self>> {
        let mut scan = borrow(&slf)?;
        scan.check_fresh("chunks", scan.list_rows.is_some())?;
        if rows.0 == 0 {
            return Err(Fault::invalid("chunks(0)", "1 or more rows"));
        }
        scan.list_rows = Some(rows.0);
        drop(scan);
        Ok(slf)
    }

    #[pyo3(
        signature = (*, revisions=Flag(false), batch_rows=Count(BATCH_ROWS), parallel=None),
        text_signature = "($self, *, revisions=False, batch_rows=65536, parallel=None)"
    )]
    fn arrow(
        slf: &Bound<'_, Self>,
        revisions: Flag,
        batch_rows: Count,
        parallel: Option<Threads>,
    ) -> Outcome<ArrowScan> {
        give(slf, revisions.0, batch_rows, parallel)
    }

    #[pyo3(
        signature = (*, revisions=Flag(false), parallel=None),
        text_signature = "($self, *, revisions=False, parallel=None)"
    )]
    fn to_arrow<'py>(slf: &Bound<'py, Self>, revisions: Flag, parallel: Option<Threads>) -> Outcome<Bound<'py, PyAny>> {
        arrow::table(slf.py(), give(slf, revisions.0, Count(BATCH_ROWS), parallel)?)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        slf: &Bound<'py, Self>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> Outcome<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let stream = give(slf, false, Count(BATCH_ROWS), None)?.stream()?;
        Ok(PyCapsule::new_with_value(slf.py(), stream, c"arrow_array_stream")?)
    }

    fn __arrow_c_schema__<'py>(slf: &Bound<'py, Self>) -> Outcome<Bound<'py, PyCapsule>> {
        let (key, value) = slf.try_borrow_mut().map_err(|_| wrong_thread())?.arrow_columns();
        arrow::schema_capsule(slf.py(), Layout { key, value, revision: false })
    }

    fn __repr__(&self) -> String {
        let rows = match self.mode {
            Mode::Items => "items",
            Mode::Keys => "keys",
            Mode::Values => "values",
        };
        let ended = self.scan.get().is_none() && self.at == self.rows;
        let state = match (self.started, ended) {
            (false, _) => "new",
            (true, false) => "begun",
            (true, true) => "ended",
        };
        format!("<kvarts.Scan of {rows} {state}>")
    }

    fn close(slf: &Bound<'_, Self>) -> Outcome<()> {
        let mut scan = borrow(slf)?;
        scan.scan.release();
        scan.chunk.clear();
        (scan.at, scan.rows) = (0, 0);
        scan.started = true;
        Ok(())
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (kind, error, trace, /))]
    fn __exit__(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
        trace: &Bound<'_, PyAny>,
    ) -> Outcome<()> {
        let _ = (kind, error, trace);
        Self::close(slf)
    }
}

/// Gives the rows of a scan, of which none was read, to a reader of Arrow. The scan is then at its end.
///
/// Any thread may take them: DuckDB asks from one of its own.
fn give(slf: &Bound<'_, Scan>, revisions: bool, batch_rows: Count, parallel: Option<Threads>) -> Outcome<ArrowScan> {
    let mut scan = slf.try_borrow_mut().map_err(|_| wrong_thread())?;
    scan.scan.handle().db()?;
    scan.check_fresh("arrow", scan.list_rows.is_some())?;
    if batch_rows.0 == 0 {
        return Err(Fault::invalid("batch_rows is 1 or more", "leave it out"));
    }
    scan.started = true;
    let engine = scan.scan.take();
    let request = Request {
        scan: engine.map(|scan| scan.into_inner().expect("the mutex is never locked, so no panic poisons it")),
        limit: scan.left,
        columns: scan.arrow_columns(),
        prefix: mem::take(&mut scan.prefix),
        revisions,
        batch_rows,
        parallel,
    };
    ArrowScan::new(slf.py(), scan.scan.handle(), request)
}

fn turn<'py>(slf: Bound<'py, Scan>, verb: &str, mode: Mode) -> Outcome<Bound<'py, Scan>> {
    let mut scan = borrow(&slf)?;
    scan.check_fresh(verb, scan.mode != Mode::Items)?;
    scan.mode = mode;
    drop(scan);
    Ok(slf)
}

/// Borrows a scan for the thread it belongs to.
fn borrow<'a>(scan: &'a Bound<'_, Scan>) -> Outcome<PyRefMut<'a, Scan>> {
    match scan.try_borrow_mut() {
        Ok(borrowed) if borrowed.thread == this_thread() => Ok(borrowed),
        _ => Err(wrong_thread()),
    }
}

#[cold]
fn wrong_thread() -> Fault {
    let what = "a scan belongs to the thread that started it, one call at a time";
    Fault::Plain("WrongThread", what.to_owned())
}

/// A number for this thread, as long as it lives.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

fn start_of(ends: &[usize], at: usize) -> usize {
    if at == 0 { 0 } else { ends[at - 1] }
}
