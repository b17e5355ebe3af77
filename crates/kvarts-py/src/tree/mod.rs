//! A keyspace, or a view of one: the hot verbs of `kvarts.Store`, with no Python frame in between.
//!
//! `kvarts.embedded.store.EmbeddedStore` derives from it. The contract of each verb is in `kvarts.base.api`.
mod bulk;
mod incr;
mod read;
mod step;
mod write;

use crate::arguments::{Addend, Count, Flag, Given, Threads};
use crate::codec::{Codec, Encoded};
use crate::condition::Condition;
use crate::database::{Database, Snapshot};
use crate::fault::{Fault, Outcome, key_not_found};
use crate::handle::{Guarded, Handle};
use crate::range::Range;
use crate::scan::{Mode, Scan};
use kvarts_engine::TreeId;
use kvarts_engine::db::{self, Db};
use kvarts_engine::options::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySlice};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Calls of `db[key]` between two looks at whether the user wants to stop.
const CALLS_PER_CHECK: u32 = 1024;

/// A keyspace, or a view of one.
#[pyclass(subclass, frozen, mapping, generic, module = "kvarts._native")]
pub struct Tree {
    handle: Arc<Handle>,
    tree: db::Tree,
    id: TreeId,
    key: Codec,
    value: Codec,
    /// In front of every key of a `prefixed` view.
    prefix: Vec<u8>,
    /// The revision a snapshot stays at; empty once released. `None` reads the newest.
    snapshot: Option<Mutex<Guarded<db::Snapshot>>>,
    released: AtomicBool,
}

impl Tree {
    /// The engine it belongs to.
    pub fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// The number of the engine's tree.
    pub fn id(&self) -> TreeId {
        self.id
    }

    /// How its keys and values become bytes.
    pub fn codecs(&self) -> (&Codec, &Codec) {
        (&self.key, &self.value)
    }

    /// Returns the engine. Errors: `ForkedHandle`, `ClosedError`.
    #[inline]
    fn live(&self) -> Outcome<&Db> {
        let db = self.handle.db()?;
        if self.released.load(Ordering::Relaxed) { Err(kvarts_engine::Error::Closed.into()) } else { Ok(db) }
    }

    /// Returns the engine for a write. Errors: also `ReadOnlyError`.
    #[inline]
    pub fn writable(&self) -> Outcome<&Db> {
        let db = self.live()?;
        if self.snapshot.is_some() { Err(read_only()) } else { Ok(db) }
    }

    /// Encodes a key, with the view's prefix in front.
    #[inline]
    fn encode_key<'a, 'py>(&self, key: &'a Bound<'py, PyAny>) -> Outcome<Encoded<'a, 'py>> {
        let encoded = self.key.encode(key)?;
        if self.prefix.is_empty() { Ok(encoded) } else { Ok(Encoded::Owned([&self.prefix[..], &encoded].concat())) }
    }

    /// Encodes the key of a write. Errors: also `LimitExceeded`.
    #[inline]
    pub fn encode_key_to_write<'a, 'py>(&self, key: &'a Bound<'py, PyAny>) -> Outcome<Encoded<'a, 'py>> {
        let encoded = self.encode_key(key)?;
        check_key_bytes(encoded.len())?;
        Ok(encoded)
    }

    /// Encodes the value of a write. Errors: also `LimitExceeded`.
    #[inline]
    pub fn encode_value<'a, 'py>(&self, value: &'a Bound<'py, PyAny>) -> Outcome<Encoded<'a, 'py>> {
        let encoded = self.value.encode(value)?;
        if encoded.len() > VALUE_BYTES_MAX {
            let what = format!("a value of {} bytes is over 256 MiB", encoded.len());
            return Err(Fault::Limit(what, "store it in parts under several keys"));
        }
        Ok(encoded)
    }

    /// The snapshot to read at, or `None` for the newest revision. Errors: `ClosedError` where the snapshot was let go, also
    /// by a codec or another thread since the call began: it must not read the newest revision then.
    fn at(&self) -> Outcome<Option<db::Snapshot>> {
        let Some(snapshot) = &self.snapshot else { return Ok(None) };
        let held = snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        held.get().cloned().map(Some).ok_or_else(|| kvarts_engine::Error::Closed.into())
    }

    fn start_scan(&self, py: Python<'_>, range: Range, mode: Mode) -> Outcome<Scan> {
        let db = self.live()?;
        let at = self.at()?;
        let Some((bounds, reverse)) = range.bounds(&self.key, &self.prefix) else {
            return Ok(Scan::empty(&self.handle, mode));
        };
        let scan = py.detach(|| db.scan(&self.tree, bounds, reverse, at.as_ref()))?;
        let codecs = (self.key.clone_ref(py), self.value.clone_ref(py));
        Ok(Scan::new(&self.handle, scan, codecs, self.prefix.clone(), range.limit, mode))
    }

    fn range_of(&self, slice: &Bound<'_, PySlice>) -> Outcome<Range> {
        Range::from_slice(&self.key, slice)
    }
}

#[pymethods]
impl Tree {
    #[new]
    fn new(
        database: &Bound<'_, Database>,
        name: &str,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        prefix: Vec<u8>,
        snapshot: Option<&Bound<'_, Snapshot>>,
    ) -> Outcome<Self> {
        let handle = Arc::clone(database.get().handle());
        let db = handle.db()?;
        let tree = db.tree(name)?.ok_or_else(|| Fault::invalid(format!("no keyspace {name:?}"), "make it first"))?;
        let id = db.tree_info(&tree).id;
        let snapshot = match snapshot {
            Some(snapshot) => {
                let shared = snapshot.get().share().ok_or(kvarts_engine::Error::Closed)?;
                Some(Mutex::new(Guarded::new(&handle, shared)))
            }
            None => None,
        };
        let (key, value) = (Codec::from_python(key)?, Codec::from_python(value)?);
        Ok(Self { handle, tree, id, key, value, prefix, snapshot, released: AtomicBool::new(false) })
    }

    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> Outcome<Option<Bound<'py, PyAny>>> {
        Ok(self.read_value(key)?.or(default))
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyAny>> {
        if let Ok(slice) = key.cast::<PySlice>() {
            let scan = self.start_scan(key.py(), self.range_of(slice)?, Mode::Items)?;
            return Ok(Bound::new(key.py(), scan)?.into_any());
        }
        stop_if_asked(key.py())?;
        self.read_value(key)?.ok_or_else(|| key_not_found(key))
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> Outcome<bool> {
        self.contains(key)
    }

    #[pyo3(signature = (key, /))]
    fn entry<'py>(&self, key: &Bound<'py, PyAny>) -> Outcome<Option<Bound<'py, PyAny>>> {
        self.read_entry(key)
    }

    #[pyo3(signature = (keys, /, *, parallel=None))]
    fn get_many<'py>(&self, keys: &Bound<'py, PyAny>, parallel: Option<Threads>) -> Outcome<Bound<'py, PyList>> {
        self.read_many(keys, parallel)
    }

    #[pyo3(
        signature = (key, value, *, ttl=None, if_=Given::Absent),
        text_signature = "($self, key, value, *, ttl=None, if_=...)"
    )]
    fn put(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: Option<&Bound<'_, PyAny>>,
        if_: Given<'_>,
    ) -> Outcome<u64> {
        let expiry_ms = ttl.map(|ttl| self.expiry_ms(ttl)).transpose()?;
        if let Given::Value(given) = if_
            && let Some(condition) = Condition::from_python(self, &given)?
        {
            return Ok(self.write_put_if(py, key, value, expiry_ms, &condition, &given)?.0);
        }
        match expiry_ms {
            None => Ok(self.write_put(py, key, value)?.0),
            Some(expiry_ms) => Ok(self.write_put_expiring(py, key, value, expiry_ms)?.0),
        }
    }

    fn __setitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> Outcome<()> {
        self.write_put(py, key, value).map(|_| ())
    }

    fn delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> Outcome<u64> {
        Ok(self.write_delete(py, key)?.0)
    }

    fn __delitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> Outcome<()> {
        match key.cast::<PySlice>() {
            Ok(slice) => self.delete_range(py, self.range_of(slice)?),
            Err(_) => self.take(key)?.map(|_| ()).ok_or_else(|| key_not_found(key)),
        }
    }

    #[pyo3(signature = (items, /))]
    fn put_many(&self, items: &Bound<'_, PyAny>) -> Outcome<u64> {
        Ok(self.write_many(items)?.0)
    }

    #[pyo3(signature = (keys, /))]
    fn delete_many(&self, keys: &Bound<'_, PyAny>) -> Outcome<u64> {
        Ok(self.write_delete_many(keys)?.0)
    }

    #[pyo3(signature = (key, by=Addend(1)), text_signature = "($self, key, by=1)")]
    fn incr<'py>(&self, key: &Bound<'py, PyAny>, by: Addend) -> Outcome<Bound<'py, PyAny>> {
        self.add(key, by.0)
    }

    #[pyo3(signature = (key, /, default=Given::Absent), text_signature = "($self, key, /, default=...)")]
    fn pop<'py>(&self, key: &Bound<'py, PyAny>, default: Given<'py>) -> Outcome<Bound<'py, PyAny>> {
        match (self.take_value(key)?, default) {
            (Some(value), _) => Ok(value),
            (None, Given::Value(default)) => Ok(default),
            (None, Given::Absent) => Err(key_not_found(key)),
        }
    }

    fn popitem<'py>(&self, py: Python<'py>) -> Outcome<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        self.take_first(py)
    }

    #[pyo3(signature = (key, default=None, /))]
    fn setdefault<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> Outcome<Bound<'py, PyAny>> {
        self.get_or_put(key, default.unwrap_or_else(|| key.py().None().into_bound(key.py())))
    }

    #[pyo3(signature = (other=Given::Absent, /, **more), text_signature = "($self, other=(), /, **more)")]
    fn update(&self, py: Python<'_>, other: Given<'_>, more: Option<&Bound<'_, PyDict>>) -> Outcome<()> {
        self.write_update(py, &other, more)
    }

    fn clear(&self, py: Python<'_>) -> Outcome<()> {
        self.delete_range(py, Range::default())
    }

    #[pyo3(
        signature = (
            start=None, stop=None, *, prefix=None, include_start=Flag(true), include_stop=Flag(false),
            reverse=Flag(false), limit=None
        ),
        text_signature = "($self, start=None, stop=None, *, prefix=None, include_start=True, include_stop=False, reverse=False, limit=None)"
    )]
    fn scan(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
        prefix: Option<&Bound<'_, PyAny>>,
        include_start: Flag,
        include_stop: Flag,
        reverse: Flag,
        limit: Option<Count>,
    ) -> Outcome<Scan> {
        let start = start.map(|start| (start, include_start.0));
        let stop = stop.map(|stop| (stop, include_stop.0));
        let range = Range::from_keys(&self.key, start, stop, prefix, reverse.0, limit.map(|limit| limit.0))?;
        self.start_scan(py, range, Mode::Items)
    }

    fn __iter__(&self, py: Python<'_>) -> Outcome<Scan> {
        self.start_scan(py, Range::default(), Mode::Keys)
    }

    fn __reversed__(&self, py: Python<'_>) -> Outcome<Scan> {
        self.start_scan(py, Range::whole_reversed(), Mode::Keys)
    }

    fn __len__(&self, py: Python<'_>) -> Outcome<usize> {
        self.count(py)
    }

    fn __bool__(&self, py: Python<'_>) -> Outcome<bool> {
        self.any(py)
    }

    /// The newest revision; of a snapshot the one it stays at.
    #[getter]
    fn revision(&self) -> Outcome<u64> {
        let db = self.live()?;
        Ok(self.at()?.map_or_else(|| db.revision(), |snapshot| snapshot.revision()).0)
    }

    /// Raises ForkedHandle or ClosedError where it cannot be used any more.
    fn check_open(&self) -> Outcome<()> {
        self.live()?;
        if self.handle.is_closed() { Err(kvarts_engine::Error::Closed.into()) } else { Ok(()) }
    }

    /// True for a snapshot, and for views of one.
    #[getter]
    fn is_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// "open", "closed" or "forked". Never raises.
    #[getter]
    fn state(&self) -> &'static str {
        if self.handle.is_forked() {
            "forked"
        } else if self.handle.is_closed() || self.released.load(Ordering::Relaxed) {
            "closed"
        } else {
            "open"
        }
    }

    /// Another hold on the snapshot this reads at, or None.
    fn snapshot_handle(&self) -> Outcome<Option<Snapshot>> {
        self.live()?;
        Ok(self.at()?.map(|snapshot| Snapshot::new(&self.handle, snapshot)))
    }

    /// Closes this view and lets its snapshot go; the database stays open. Idempotent.
    fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
        if let Some(snapshot) = &self.snapshot {
            snapshot.lock().unwrap_or_else(PoisonError::into_inner).release();
        }
    }
}

/// Lets a signal's handler run now and then: `dict(db)` asks for every key without a step of Python in between.
#[inline]
fn stop_if_asked(py: Python<'_>) -> PyResult<()> {
    // Loaded and stored: an increment that another thread's overwrites is no loss.
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let calls = CALLS.load(Ordering::Relaxed);
    CALLS.store(calls.wrapping_add(1), Ordering::Relaxed);
    if calls.is_multiple_of(CALLS_PER_CHECK) { py.check_signals() } else { Ok(()) }
}

#[cold]
fn read_only() -> Fault {
    Fault::Plain("ReadOnly", "a snapshot takes no writes".to_owned())
}

/// Errors: `LimitExceeded` for a length that no key has.
#[inline]
pub fn check_key_bytes(bytes: usize) -> Outcome<()> {
    if bytes == 0 || bytes > KEY_BYTES_MAX { Err(key_limit(bytes)) } else { Ok(()) }
}

#[cold]
fn key_limit(bytes: usize) -> Fault {
    let what =
        if bytes == 0 { "an empty key".to_owned() } else { format!("a key of {bytes} bytes, which is over 64 KiB") };
    Fault::Limit(what, "keys have 1 byte to 64 KiB")
}
