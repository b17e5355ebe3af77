//! Single writes: attached while the engine can take them without a wait, detached otherwise.
use super::Tree;
use crate::condition::Condition;
use crate::fault::{Fault, Outcome, condition_failed, shown_or_type};
use kvarts_engine::Revision;
use kvarts_engine::db::Attempt;
use kvarts_formats::batch::Batch;
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use std::cell::RefCell;

/// Values above this take no thread's buffer (which so stays small) and are copied and written detached: copying them takes longer than letting other threads run.
const ATTACHED_BYTES_MAX: usize = 64 << 10;
/// Longest time to live: about three thousand years.
const TTL_SECONDS_MAX: f64 = 1e11;
const TTL_RANGE: &str = "seconds above 0, at most 1e11";

thread_local! {
    /// The buffer of this thread's single writes. Never borrowed while Python code runs.
    static BUFFER: RefCell<Batch> = RefCell::new(Batch::new());
}

impl Tree {
    /// Writes a value.
    #[inline]
    pub(super) fn write_put(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> Outcome<Revision> {
        self.writable()?;
        let (key, value) = (self.encode_key_to_write(key)?, self.encode_value(value)?);
        let (key, value): (&[u8], &[u8]) = (&key, &value);
        self.commit_one(py, value.len(), |batch| batch.put(self.id, key, value))
    }

    /// Writes a value that expires.
    pub(super) fn write_put_expiring(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        expiry_ms: u64,
    ) -> Outcome<Revision> {
        self.writable()?;
        let (key, value) = (self.encode_key_to_write(key)?, self.encode_value(value)?);
        let (key, value): (&[u8], &[u8]) = (&key, &value);
        self.commit_one(py, value.len(), |batch| batch.put_expiring(self.id, key, expiry_ms, value))
    }

    /// Deletes a key, without a look whether it is there.
    #[inline]
    pub(super) fn write_delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> Outcome<Revision> {
        self.writable()?;
        let key = self.encode_key_to_write(key)?;
        let key: &[u8] = &key;
        self.commit_one(py, 0, |batch| batch.delete(self.id, key))
    }

    /// Writes a value where the key is in the state that `condition` asks for.
    pub(super) fn write_put_if(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        expiry_ms: Option<u64>,
        condition: &Condition,
        given: &Bound<'_, PyAny>,
    ) -> Outcome<Revision> {
        let done = {
            let (key, value) = (self.encode_key_to_write(key)?, self.encode_value(value)?);
            self.put_bytes_if(py, &key, &value, expiry_ms, condition)
        };
        match done {
            Err(Fault::Condition(found)) => {
                let entry = match found {
                    Some((stored, revision)) => self.entry_object(py, self.value.start(py, &stored), revision)?,
                    None => py.None().into_bound(py),
                };
                Err(condition_failed(key, given, entry))
            }
            done => done,
        }
    }

    /// The same for encoded bytes. Errors: `Fault::Condition`.
    pub(super) fn put_bytes_if(
        &self,
        py: Python<'_>,
        key: &[u8],
        value: &[u8],
        expiry_ms: Option<u64>,
        condition: &Condition,
    ) -> Outcome<Revision> {
        let db = self.writable()?;
        let decided = py.detach(|| {
            db.update(|view, batch| {
                view.get(&self.tree, key, |entry| condition.check(entry))??;
                self.add_put(batch, key, value, expiry_ms);
                self.handle.check_batch(batch)
            })
        });
        decided.map(|((), revision)| revision)
    }

    /// Adds a write to a batch.
    pub fn add_put(&self, batch: &mut Batch, key: &[u8], value: &[u8], expiry_ms: Option<u64>) {
        match expiry_ms {
            None => batch.put(self.id, key, value),
            Some(expiry_ms) => batch.put_expiring(self.id, key, expiry_ms, value),
        }
    }

    /// Returns the Unix milliseconds at which a time to live (seconds, or a timedelta) that starts now is over.
    pub fn expiry_ms(&self, ttl: &Bound<'_, PyAny>) -> Outcome<u64> {
        let seconds = if ttl.hasattr("total_seconds")? {
            ttl.call_method0("total_seconds")?.extract::<f64>()?
        } else {
            ttl.extract::<f64>().map_err(|error| {
                if error.is_instance_of::<PyOverflowError>(ttl.py()) {
                    return Fault::invalid(format!("ttl={} is out of range", shown_or_type(ttl)), TTL_RANGE);
                }
                Fault::wrong_type("ttl in seconds, or a timedelta", ttl)
            })?
        };
        if !(seconds > 0.0 && seconds <= TTL_SECONDS_MAX) {
            return Err(Fault::invalid(format!("ttl={seconds} is out of range"), TTL_RANGE));
        }
        Ok(self.handle.unix_ms() + (seconds * 1000.0).ceil() as u64)
    }

    /// Commits one operation that `fill` adds, through this thread's buffer.
    #[inline]
    fn commit_one(&self, py: Python<'_>, bytes: usize, fill: impl FnOnce(&mut Batch) + Send) -> Outcome<Revision> {
        let db = self.handle.db()?;
        if bytes > ATTACHED_BYTES_MAX {
            return py.detach(|| {
                let mut batch = Batch::new();
                fill(&mut batch);
                self.handle.check_batch(&batch)?;
                Ok(db.write(&mut batch)?)
            });
        }
        BUFFER.with_borrow_mut(|batch| {
            batch.clear();
            fill(batch);
            self.handle.check_batch(batch)?;
            match db.try_write(batch)? {
                Attempt::Done(revision) => Ok(revision),
                Attempt::WouldBlock => Ok(py.detach(|| db.write(batch))?),
            }
        })
    }
}
