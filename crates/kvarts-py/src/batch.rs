//! Writes gathered for one commit: see `kvarts.base.api.Batch`.
use crate::fault::{Fault, Outcome};
use crate::handle::Handle;
use crate::tree::Tree;
use kvarts_formats::batch;
use pyo3::exceptions::PyResourceWarning;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A face of a batch: the tree it writes to, and what all faces share.
#[pyclass(frozen, generic, module = "kvarts._native")]
pub struct Batch {
    tree: Py<Tree>,
    shared: Arc<Shared>,
    /// True for the face that commits; those of other keyspaces only gather.
    root: bool,
}

struct Shared {
    handle: Arc<Handle>,
    /// Locked for moments, never while Python code runs.
    state: Mutex<State>,
    /// Whether its `with` block has begun.
    entered: AtomicBool,
}

enum State {
    /// Gathering.
    Open(batch::Batch),
    /// Committed with this revision, or discarded.
    Done(Option<u64>),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, add: impl FnOnce(&mut batch::Batch)) -> Outcome<()> {
        self.handle.db()?;
        match &mut *self.state() {
            State::Open(batch) => {
                let end = batch.end();
                add(batch);
                self.handle.check_batch(batch).inspect_err(|_| batch.cut(end))
            }
            State::Done(_) => Err(ended()),
        }
    }
}

impl Drop for Shared {
    /// Says that writes were gathered and never committed, as Python says it of files that nobody closed.
    fn drop(&mut self) {
        let writes = match self.state.get_mut().unwrap_or_else(PoisonError::into_inner) {
            State::Open(batch) => batch.len(),
            State::Done(_) => 0,
        };
        if writes > 0 && !self.handle.is_forked() {
            // Where the interpreter ends nobody is left to tell.
            Python::try_attach(|py| {
                if let Err(raised) = warn_unwritten(py, u64::from(writes)) {
                    raised.write_unraisable(py, None);
                }
            });
        }
    }
}

#[cold]
fn warn_unwritten(py: Python<'_>, writes: u64) -> PyResult<()> {
    let what = format!("a batch of {writes} writes was dropped and nothing of it written: use it in a with block");
    PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &CString::new(what)?, 1)
}

impl Batch {
    fn add_put(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, expiry_ms: Option<u64>) -> Outcome<()> {
        let tree = self.tree.get();
        let (key, value) = (tree.encode_key_to_write(key)?, tree.encode_value(value)?);
        self.shared.add(|batch| tree.add_put(batch, &key, &value, expiry_ms))
    }
}

#[pymethods]
impl Batch {
    #[new]
    #[pyo3(signature = (tree, /))]
    fn new(tree: Py<Tree>) -> Outcome<Self> {
        tree.get().writable()?;
        let handle = Arc::clone(tree.get().handle());
        let state = Mutex::new(State::Open(batch::Batch::new()));
        let shared = Shared { handle, state, entered: AtomicBool::new(false) };
        Ok(Self { tree, shared: Arc::new(shared), root: true })
    }

    #[pyo3(signature = (key, value, *, ttl=None))]
    fn put(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, ttl: Option<&Bound<'_, PyAny>>) -> Outcome<()> {
        let expiry_ms = ttl.map(|ttl| self.tree.get().expiry_ms(ttl)).transpose()?;
        self.add_put(key, value, expiry_ms)
    }

    fn delete(&self, key: &Bound<'_, PyAny>) -> Outcome<()> {
        let tree = self.tree.get();
        let key = tree.encode_key_to_write(key)?;
        self.shared.add(|batch| batch.delete(tree.id(), &key))
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> Outcome<()> {
        self.add_put(key, value, None)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> Outcome<()> {
        self.delete(key)
    }

    fn __len__(&self) -> usize {
        match &*self.shared.state() {
            State::Open(batch) => batch.len() as usize,
            State::Done(_) => 0,
        }
    }

    /// True, however few writes it holds: it is no collection.
    fn __bool__(&self) -> bool {
        true
    }

    #[pyo3(signature = (name, **options))]
    fn keyspace(&self, py: Python<'_>, name: &Bound<'_, PyAny>, options: Option<&Bound<'_, PyDict>>) -> Outcome<Self> {
        let tree = self.tree.bind(py).call_method(intern!(py, "keyspace"), (name,), options)?;
        let tree = tree.cast_into::<Tree>().map_err(PyErr::from)?.unbind();
        Ok(Self { tree, shared: Arc::clone(&self.shared), root: false })
    }

    /// The revision of the commit; None before, and where there was nothing to write.
    #[getter]
    fn revision(&self) -> Option<u64> {
        match &*self.shared.state() {
            State::Open(_) => None,
            State::Done(revision) => *revision,
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> Outcome<Bound<'_, Self>> {
        let batch = slf.get();
        if batch.root {
            if matches!(*batch.shared.state(), State::Done(_)) {
                return Err(ended());
            }
            if batch.shared.entered.swap(true, Ordering::Relaxed) {
                let what = "this batch is in its with block already";
                return Err(Fault::invalid(what, "one block commits it; db.batch() begins another"));
            }
        }
        Ok(slf)
    }

    #[pyo3(signature = (kind, error, trace, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
        trace: &Bound<'_, PyAny>,
    ) -> Outcome<()> {
        let _ = (error, trace);
        if !self.root {
            return Ok(());
        }
        let State::Open(mut batch) = std::mem::replace(&mut *self.shared.state(), State::Done(None)) else {
            return Err(ended());
        };
        if !kind.is_none() || batch.is_empty() {
            return Ok(());
        }
        let db = self.tree.get().writable()?;
        let revision = py.detach(|| db.write(&mut batch))?;
        *self.shared.state() = State::Done(Some(revision.0));
        Ok(())
    }

    fn __repr__(&self) -> String {
        match &*self.shared.state() {
            State::Open(batch) => format!("<kvarts.Batch open writes={} bytes={}>", batch.len(), batch.bytes_len()),
            State::Done(Some(revision)) => format!("<kvarts.Batch committed revision={revision}>"),
            State::Done(None) => "<kvarts.Batch discarded>".to_owned(),
        }
    }
}

#[cold]
fn ended() -> Fault {
    Fault::invalid("this batch has ended", "db.batch() begins another")
}
