//! Reads and writes in one step: pop, popitem, setdefault, ranges. What they decide is decided under the write lock, in Rust.
use super::Tree;
use crate::codec::Codec;
use crate::condition::Condition;
use crate::fault::{Fault, Outcome, key_not_found};
use crate::range::Range;
use kvarts_engine::Revision;
use kvarts_engine::db::{Entry, RowChunk};
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

    /// Deletes a key and returns its value. A value that cannot be decoded stays: it is decoded before it is deleted, and
    /// only the revision that was decoded is deleted.
    pub(super) fn take_value<'py>(&self, key: &Bound<'py, PyAny>) -> Outcome<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        if let Codec::Bytes = self.value {
            return self.take(key)?.map(|stored| self.value.decode(py, &stored)).transpose();
        }
        let db = self.writable()?;
        let encoded = self.encode_key(key)?;
        let bytes: &[u8] = &encoded;
        loop {
            let copy = |entry: Option<Entry<'_>>| entry.map(|entry| (entry.value.to_vec(), entry.revision));
            let Some((stored, revision)) = py.detach(|| db.get(&self.tree, bytes, None, copy))? else {
                return Ok(None);
            };
            let value = self.value.decode(py, &stored)?;
            if self.delete_at(py, bytes, revision, None)? {
                return Ok(Some(value));
            }
            py.check_signals()?;
        }
    }

    /// Deletes the first key and returns it with its value, or leaves both where they cannot be decoded.
    pub(super) fn take_first<'py>(&self, py: Python<'py>) -> Outcome<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let db = self.writable()?;
        let empty = || key_not_found(&PyString::new(py, "popitem(): the store is empty").into_any());
        let Some((bounds, _)) = Range::default().bounds(&self.key, &self.prefix) else { return Err(empty()) };
        loop {
            let mut first = RowChunk::default();
            py.detach(|| db.scan(&self.tree, bounds.clone(), false, None)?.fill(&mut first, 1, usize::MAX, true))?;
            let Some(&revision) = first.revisions.first() else { return Err(empty()) };
            let key = self.key.decode(py, &first.keys[self.prefix.len()..])?;
            let value = self.value.decode(py, &first.values)?;
            if self.delete_at(py, &first.keys, revision, Some(&bounds))? {
                return Ok((key, value));
            }
            py.check_signals()?;
        }
    }

    /// Deletes a key if its entry is still of `revision`, and still the first of `first_of` where that is given. Returns
    /// whether it was.
    fn delete_at(&self, py: Python<'_>, key: &[u8], revision: Revision, first_of: Option<&Bounds>) -> Outcome<bool> {
        let db = self.writable()?;
        let (deleted, _) = py.detach(|| {
            db.update(|view, batch| {
                let same = view.get(&self.tree, key, |entry| entry.is_some_and(|entry| entry.revision == revision))?;
                let first = match first_of {
                    Some(bounds) => view.edge(&self.tree, bounds, false)?.is_some_and(|(first, _)| first == key),
                    None => true,
                };
                if same && first {
                    batch.delete(self.id, key);
                }
                Ok::<_, Fault>(same && first)
            })
        })?;
        Ok(deleted)
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
        let Some((mut bounds, _)) = range.bounds(&self.key, &self.prefix) else { return Ok(()) };
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
