//! Calls of one asyncio loop: each has a future; answers are handed to the futures many at a time.
use super::Client;
use super::answer::to_python;
use super::request::{Request, Shape};
use crate::fault::{Fault, Outcome};
use crate::handle::forks;
use kvarts_serve::client::Queue;
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a loop waits for. Used by the loop's thread only.
#[pyclass(frozen, module = "kvarts._native")]
pub struct Gate {
    client: Py<Client>,
    /// `loop.create_future`.
    create_future: Py<PyAny>,
    queue: Option<Arc<Queue>>,
    pending: Mutex<Pending>,
    forks: u64,
}

#[derive(Default)]
struct Pending {
    next: u64,
    calls: HashMap<u64, (Py<PyAny>, Shape)>,
}

impl Gate {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> Outcome<&Arc<Queue>> {
        match &self.queue {
            Some(queue) if self.forks == forks() => Ok(queue),
            _ => Err(Fault::Plain("Forked", "the event loop was started before a fork".to_owned())),
        }
    }
}

#[pymethods]
impl Gate {
    #[new]
    #[pyo3(signature = (client, create_future, /))]
    fn new(client: Py<Client>, create_future: Py<PyAny>) -> PyResult<Self> {
        let queue = Some(Queue::new().map_err(|error| PyOSError::new_err(error.to_string()))?);
        Ok(Self { client, create_future, queue, pending: Mutex::default(), forks: forks() })
    }

    /// Asks, and returns the future of the answer.
    #[pyo3(signature = (request, timeout_ms, /))]
    fn submit<'py>(&self, py: Python<'py>, request: &Request, timeout_ms: u64) -> Outcome<Bound<'py, PyAny>> {
        let queue = self.queue()?;
        let core = self.client.get().core()?;
        let future = self.create_future.bind(py).call0()?;
        let number = {
            let mut pending = self.pending();
            pending.next += 1;
            let number = pending.next;
            pending.calls.insert(number, (future.clone().unbind(), request.shape()));
            number
        };
        core.submit(request.request(), request.aim(), Duration::from_millis(timeout_ms), queue, number);
        Ok(future)
    }

    /// Hands the answers that are there to their futures: what the loop calls when the descriptor is readable.
    fn drain(&self, py: Python<'_>) -> Outcome<()> {
        for (number, outcome) in self.queue()?.drain() {
            let Some((future, shape)) = self.pending().calls.remove(&number) else { continue };
            let future = future.bind(py);
            // A task that was cancelled waits no more.
            if future.call_method0(intern!(py, "done"))?.is_truthy()? {
                continue;
            }
            match outcome {
                Ok(answer) => future.call_method1(intern!(py, "set_result"), (to_python(py, shape, answer)?,))?,
                Err(error) => {
                    let error = PyErr::from(Fault::Remote(error));
                    future.call_method1(intern!(py, "set_exception"), (error,))?
                }
            };
        }
        Ok(())
    }

    /// The descriptor that is readable while there are answers.
    fn fileno(&self) -> Outcome<i32> {
        Ok(self.queue()?.descriptor())
    }

    /// True in a child of the process that made it.
    #[getter]
    fn forked(&self) -> bool {
        self.forks != forks()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if self.forks != forks() {
            mem::forget(self.queue.take());
        }
    }
}
