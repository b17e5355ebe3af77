//! An open engine as Python objects share it: closed once, and never touched in a forked child.
use crate::fault::{Fault, Outcome};
use kvarts_engine::clock::Clock;
use kvarts_engine::db::Db;
use kvarts_formats::batch::Batch;
use kvarts_formats::record::PAYLOAD_BYTES_MAX;
use pyo3::prelude::*;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Forks since the program began. Bumped in the child, by the hook that the module registers.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Called in every forked child before it goes on.
#[pyfunction]
pub fn after_fork_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Forks between the start of the program and this process.
#[inline]
pub fn forks() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

/// An open engine.
///
/// In a forked child its threads do not exist and its locks may be held by them, so nothing of it may run, not even a
/// drop: what lives inside is forgotten there.
pub struct Handle {
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    /// `FORKS` when it was opened.
    forks: u64,
    closed: AtomicBool,
    batch_bytes_max: usize,
}

impl Handle {
    /// Takes over an engine with `memory_bytes` of memory.
    pub fn new(db: Arc<Db>, clock: Arc<dyn Clock>, memory_bytes: usize) -> Self {
        let forks = forks();
        let batch_bytes_max = (memory_bytes / 4).min(PAYLOAD_BYTES_MAX);
        Self { db, clock, forks, closed: AtomicBool::new(false), batch_bytes_max }
    }

    /// Returns the engine. Errors: `ForkedHandle`.
    #[inline]
    pub fn db(&self) -> Outcome<&Db> {
        if self.is_forked() { Err(forked()) } else { Ok(&self.db) }
    }

    /// Tells whether we are in a child of the process that opened it.
    #[inline]
    pub fn is_forked(&self) -> bool {
        forks() != self.forks
    }

    /// Tells whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Unix milliseconds, by the engine's clock.
    pub fn unix_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    /// Bytes of the largest batch: a quarter of memory, and no more than a record of the log holds.
    pub fn batch_bytes_max(&self) -> usize {
        self.batch_bytes_max
    }

    /// Refuses a batch over a quarter of memory.
    pub fn check_batch(&self, batch: &Batch) -> Outcome<()> {
        if batch.bytes_len() <= self.batch_bytes_max {
            return Ok(());
        }
        let (bytes, max) = (batch.bytes_len(), self.batch_bytes_max);
        let most = if max == PAYLOAD_BYTES_MAX { "what the log takes at once" } else { "a quarter of memory" };
        let what = format!("a write of {bytes} bytes is over {most} ({max} bytes)");
        Err(Fault::Limit(what, "split it, or open the store with a larger memory="))
    }

    /// Closes the engine; does nothing the second time, and in a forked child. Called detached.
    pub fn close(&self) -> Outcome<()> {
        if self.is_forked() {
            return Ok(());
        }
        self.closed.store(true, Ordering::Release);
        Ok(self.db.close()?)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.is_forked() {
            mem::forget(Arc::clone(&self.db));
        } else if !self.is_closed() {
            // Closing joins threads and syncs: let other Python threads run. Nobody is left to hear of an error.
            let closed = Python::try_attach(|py| py.detach(|| self.db.close()));
            if closed.is_none() {
                let _ = self.db.close();
            }
        }
    }
}

/// Holds a value of the engine that must not be dropped in a forked child.
pub struct Guarded<T> {
    value: Option<T>,
    handle: Arc<Handle>,
}

impl<T> Guarded<T> {
    /// Holds `value`, which belongs to the engine of `handle`.
    pub fn new(handle: &Arc<Handle>, value: T) -> Self {
        Self { value: Some(value), handle: Arc::clone(handle) }
    }

    /// Holds nothing.
    pub fn nothing(handle: &Arc<Handle>) -> Self {
        Self { value: None, handle: Arc::clone(handle) }
    }

    /// Returns the handle it belongs to.
    pub fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Returns the value, until it was let go.
    pub fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Returns the value, until it was let go.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.as_mut()
    }

    /// Takes the value out; `None` in a forked child.
    pub fn take(&mut self) -> Option<T> {
        let value = self.value.take();
        if self.handle.is_forked() {
            mem::forget(value);
            return None;
        }
        value
    }

    /// Lets the value go.
    pub fn release(&mut self) {
        let value = self.value.take();
        if self.handle.is_forked() {
            mem::forget(value);
        }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        self.release();
    }
}

/// The refusal of what belongs to the parent process.
#[cold]
pub fn forked() -> Fault {
    Fault::Plain("Forked", "the store was opened before a fork and belongs to the parent process".to_owned())
}
