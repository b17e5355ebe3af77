//! Rows in key order, taken from the engine in chunks (detached) and handed out one by one (attached).
use crate::arguments::Count;
use crate::codec::Codec;
use crate::fault::{Fault, Outcome, key_not_found};
use crate::handle::{Guarded, Handle};
use kvarts_engine::db::{self, RowChunk};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use std::sync::{Arc, Mutex};

/// Rows of the first chunk, so that a short scan pays for little; each later one has four times as many, up to `ROWS_MAX`.
const ROWS_FIRST: usize = 32;
const ROWS_MAX: usize = 4096;
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
    /// The next row in `chunk`.
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
            at: 0,
            rows_next: ROWS_FIRST,
            thread: this_thread(),
        }
    }

    /// Takes the next row.
    fn next_row<'py>(&mut self, py: Python<'py>) -> Outcome<Option<Bound<'py, PyAny>>> {
        if self.at == self.chunk.key_ends.len() && !self.refill(py)? {
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
        empty(chunk);
        self.at = 0;
        let rows_max = self.left.map_or(self.rows_next, |left| left.min(self.rows_next));
        let with_values = self.mode != Mode::Keys;
        let Some(engine) = scan.get_mut() else { return Ok(false) };
        let engine = engine.get_mut().expect("the mutex is never locked, so no panic poisons it");
        let more = rows_max > 0 && py.detach(|| engine.fill(chunk, rows_max, CHUNK_BYTES, with_values))?;
        let rows = chunk.key_ends.len();
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

    fn __repr__(&self) -> String {
        let rows = match self.mode {
            Mode::Items => "items",
            Mode::Keys => "keys",
            Mode::Values => "values",
        };
        let ended = self.scan.get().is_none() && self.at == self.chunk.key_ends.len();
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
        empty(&mut scan.chunk);
        scan.at = 0;
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
        _ => Err(Fault::Plain(
            "WrongThread",
            "a scan belongs to the thread that started it, one call at a time".to_owned(),
        )),
    }
}

/// A number for this thread, as long as it lives.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

fn start_of(ends: &[usize], at: usize) -> usize {
    if at == 0 { 0 } else { ends[at - 1] }
}

fn empty(chunk: &mut RowChunk) {
    chunk.keys.clear();
    chunk.key_ends.clear();
    chunk.values.clear();
    chunk.value_ends.clear();
    chunk.revisions.clear();
}
