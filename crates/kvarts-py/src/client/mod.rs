//! Connections of a remote store in Python's hands: requests go in, answers come out as plain objects.
//!
//! A handle that finds itself in a forked child starts anew there and leaks what it had: its thread does not exist in the
//! child, and its sockets belong to the parent. The lock around it is held while attached only, so no fork finds it held.
mod answer;
mod gate;
mod page;
mod request;
mod rows;

pub use gate::Gate;
pub use page::Page;
pub use request::{Cursor, Request};
pub use rows::Rows;

use crate::fault::{Fault, Outcome};
use crate::handle::forks;
use kvarts_serve::client::{Client as Core, ClientOptions, Slot};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A waiting thread looks for signals this often.
const SIGNALS_INTERVAL: Duration = Duration::from_millis(100);

thread_local! {
    /// This thread's slot, while no call of it waits.
    static SLOT: RefCell<Option<Arc<Slot>>> = const { RefCell::new(None) };
}

/// Connections to a cluster.
#[pyclass(frozen, weakref, module = "kvarts._native")]
pub struct Client {
    hosts: Vec<String>,
    state: Mutex<State>,
}

/// `core` belongs to the process in which there were `forks`.
struct State {
    core: Option<Arc<Core>>,
    forks: u64,
    closed: bool,
}

impl Client {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connections, made anew after a fork. Errors: `ClosedError`, no thread left.
    pub fn core(&self) -> Outcome<Arc<Core>> {
        let mut state = self.state();
        if state.closed {
            return Err(kvarts_engine::Error::Closed.into());
        }
        if state.forks != forks() {
            mem::forget(state.core.take());
            state.forks = forks();
        }
        if let Some(core) = &state.core {
            return Ok(Arc::clone(core));
        }
        let options = ClientOptions { hosts: self.hosts.clone() };
        let core = Arc::new(Core::start(options).map_err(|error| PyOSError::new_err(error.to_string()))?);
        state.core = Some(Arc::clone(&core));
        Ok(core)
    }
}

#[pymethods]
impl Client {
    #[new]
    fn new(hosts: Vec<String>) -> Self {
        Self { hosts, state: Mutex::new(State { core: None, forks: forks(), closed: false }) }
    }

    /// Asks and waits for the answer.
    #[pyo3(signature = (request, timeout_ms, /))]
    fn call<'py>(&self, py: Python<'py>, request: &Request, timeout_ms: u64) -> Outcome<Bound<'py, PyAny>> {
        let core = self.core()?;
        let slot = SLOT.take().unwrap_or_default();
        core.call(request.request(), request.aim(), Duration::from_millis(timeout_ms), &slot);
        let outcome = loop {
            match py.detach(|| slot.wait(SIGNALS_INTERVAL)) {
                Some(outcome) => break outcome,
                // The slot of a call that is given up may still be filled: it is not used again.
                None => py.check_signals()?,
            }
        };
        SLOT.set(Some(slot));
        match outcome {
            Ok(answer) => Ok(answer::to_python(py, request.shape(), answer)?),
            Err(error) => Err(Fault::Remote(error)),
        }
    }

    /// Closes the connections; calls that wait end with ClosedError. Idempotent.
    fn close(&self, py: Python<'_>) {
        let mut state = self.state();
        state.closed = true;
        let core = state.core.take();
        if state.forks != forks() {
            return mem::forget(core);
        }
        drop(state);
        if let Some(core) = core {
            py.detach(|| core.close());
        }
    }

    #[getter]
    fn closed(&self) -> bool {
        self.state().closed
    }

    #[getter]
    fn hosts(&self) -> Vec<String> {
        self.hosts.clone()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let core = state.core.take();
        if state.forks != forks() {
            return mem::forget(core);
        }
        // The last holder closes, which waits for the thread: let other Python threads run.
        if let Some(core) = core {
            let mut core = Some(core);
            Python::try_attach(|py| py.detach(|| core.take()));
        }
    }
}
