//! Many writes per call.
use super::Tree;
use crate::arguments::Given;
use crate::fault::Outcome;
use crate::rows::{CHUNK_BYTES, ROW_OVERHEAD_BYTES, ROWS_PER_CHECK, each_of, for_each_pair};
use kvarts_engine::Revision;
use kvarts_formats::batch::Batch;
use pyo3::prelude::*;
use pyo3::types::PyDict;

impl Tree {
    /// Writes pairs, or a mapping, in chunks.
    pub(super) fn write_many(&self, items: &Bound<'_, PyAny>) -> Outcome<Revision> {
        self.writable()?;
        let py = items.py();
        let mut batch = Batch::new();
        let mut last = None;
        for_each_pair(items, &mut |key, value| {
            let (key, value) = (self.encode_key_to_write(key)?, self.encode_value(value)?);
            if !self.fits(&batch, key.len() + value.len()) {
                last = Some(self.commit(py, &mut batch)?);
                batch.clear();
            }
            batch.put(self.id, &key, &value);
            Ok(())
        })?;
        self.commit_rest(py, batch, last)
    }

    /// Deletes keys in chunks.
    pub(super) fn write_delete_many(&self, keys: &Bound<'_, PyAny>) -> Outcome<Revision> {
        self.writable()?;
        let py = keys.py();
        let mut batch = Batch::new();
        let mut last = None;
        for (row, key) in each_of(keys, "keys")?.enumerate() {
            let key = key?;
            if row % ROWS_PER_CHECK == 0 {
                py.check_signals()?;
            }
            let key = self.encode_key_to_write(&key)?;
            if !self.fits(&batch, key.len()) {
                last = Some(self.commit(py, &mut batch)?);
                batch.clear();
            }
            batch.delete(self.id, &key);
        }
        self.commit_rest(py, batch, last)
    }

    /// Writes a mapping, or pairs, and keyword arguments as one batch.
    pub(super) fn write_update(
        &self,
        py: Python<'_>,
        other: &Given<'_>,
        more: Option<&Bound<'_, PyDict>>,
    ) -> Outcome<()> {
        self.writable()?;
        let mut batch = Batch::new();
        let other = if let Given::Value(items) = other { Some(items) } else { None };
        for items in other.into_iter().chain(more.map(|more| more.as_any())) {
            for_each_pair(items, &mut |key, value| {
                batch.put(self.id, &self.encode_key_to_write(key)?, &self.encode_value(value)?);
                self.handle.check_batch(&batch)
            })?;
        }
        self.commit_rest(py, batch, None).map(|_| ())
    }

    /// Whether a row of so many bytes still fits into a chunk. An empty chunk takes any; the limit is checked at commit.
    fn fits(&self, batch: &Batch, row_bytes: usize) -> bool {
        let chunk_bytes = CHUNK_BYTES.min(self.handle.batch_bytes_max());
        batch.is_empty() || batch.bytes_len() + row_bytes + ROW_OVERHEAD_BYTES <= chunk_bytes
    }

    fn commit_rest(&self, py: Python<'_>, mut batch: Batch, last: Option<Revision>) -> Outcome<Revision> {
        match last {
            Some(last) if batch.is_empty() => Ok(last),
            _ => self.commit(py, &mut batch),
        }
    }

    fn commit(&self, py: Python<'_>, batch: &mut Batch) -> Outcome<Revision> {
        let db = self.writable()?;
        self.handle.check_batch(batch)?;
        Ok(py.detach(|| db.write(batch))?)
    }
}
