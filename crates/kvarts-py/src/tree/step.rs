//! Reads and writes in one step: pop, popitem, setdefault, ranges. What they decide is decided under the write lock, in Rust.
use super::Tree;
use crate::condition::Condition;
use crate::fault::{Fault, Outcome, key_not_found};
use crate::range::Range;
use kvarts_engine::iter::Bounds;
use pyo3::prelude::*;
use pyo3::types::PyString;

impl Tree {
    /// Deletes a key and returns its stored value.
    pub(super) fn take(&self, key: &Bound<'_, PyAny>) -> Outcome<Option<Vec<u8>>> {
        let db = self.writable()?;
        let encoded = self.encode_key(key)?;
        let bytes: &[u8] = &encoded;
        let (taken, _) = key.py().detach(|| {
            db.update(|view, batch| {
                let found = view.get(&self.tree, bytes, |entry| entry.map(|entry| entry.value.to_vec()))?;
                if found.is_some() {
                    batch.delete(self.id, bytes);
                }
                Ok::<_, Fault>(found)
            })
        })?;
        Ok(taken)
    }

    /// Deletes the first key and returns it with its value.
    pub(super) fn take_first<'py>(&self, py: Python<'py>) -> Outcome<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let db = self.writable()?;
        let empty = || key_not_found(&PyString::new(py, "popitem(): the store is empty").into_any());
        let Some((bounds, _)) = Range::default().bounds(&self.prefix) else { return Err(empty()) };
        let (taken, _) = py.detach(|| {
            db.update(|view, batch| {
                let found = view.edge(&self.tree, &bounds, false)?;
                if let Some((key, _)) = &found {
                    batch.delete(self.id, key);
                }
                Ok::<_, Fault>(found)
            })
        })?;
        let (key, value) = taken.ok_or_else(empty)?;
        Ok((self.key.decode(py, &key[self.prefix.len()..])?, self.value.decode(py, &value)?))
    }

    /// Returns the value of a key, after writing `default` where it is absent.
    pub(super) fn get_or_put<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Bound<'py, PyAny>,
    ) -> Outcome<Bound<'py, PyAny>> {
        self.writable()?;
        if let Some(found) = self.read_value(key)? {
            return Ok(found);
        }
        let py = key.py();
        let (encoded, value) = (self.encode_key_to_write(key)?, self.encode_value(&default)?);
        match self.put_bytes_if(py, &encoded, &value, None, &Condition::Absent) {
            Ok(_) => Ok(default),
            Err(Fault::Condition(Some((stored, _)))) => self.value.decode(py, &stored),
            Err(fault) => Err(fault),
        }
    }

    /// Deletes every key of a range, as one batch.
    pub(super) fn delete_range(&self, py: Python<'_>, range: Range) -> Outcome<()> {
        let db = self.writable()?;
        let Some((mut bounds, _)) = range.bounds(&self.prefix) else { return Ok(()) };
        py.detach(|| {
            db.update(|view, batch| {
                while let Some((key, _)) = view.edge(&self.tree, &bounds, false)? {
                    batch.delete(self.id, &key);
                    self.handle.check_batch(batch)?;
                    bounds = Bounds { start: Some((key, false)), stop: bounds.stop };
                }
                Ok::<_, Fault>(())
            })
        })?;
        Ok(())
    }
}
