//! Point reads: attached while the answer is in memory, detached as soon as it may take a read from disk.
use super::Tree;
use crate::codec::Raw;
use crate::fault::Outcome;
use crate::range::Range;
use crate::rows::each_of;
use kvarts_engine::db::{Attempt, Entry, RowChunk};
use kvarts_engine::{Revision, db};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyType};

/// Rows counted per step of `len`, and steps between two looks at whether the user wants to stop.
const COUNT_ROWS: usize = 4096;
const STEPS_PER_CHECK: usize = 32;
/// Keys of `get_many` between two such looks.
const KEYS_PER_CHECK: usize = 16 << 10;

impl Tree {
    /// Reads a value.
    #[inline]
    pub(super) fn read_value<'py>(&self, key: &Bound<'py, PyAny>) -> Outcome<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let make = |entry: Option<Entry<'_>>| entry.map(|entry| self.value.start(py, entry.value));
        match self.look_up(key, make, |entry| entry.value.to_vec())? {
            Found::Now(raw) => raw.map(|raw| self.value.finish(py, raw)).transpose(),
            Found::Copied(stored) => stored.map(|stored| self.value.decode(py, &stored)).transpose(),
        }
    }

    /// Tells whether a key is there.
    #[inline]
    pub(super) fn contains(&self, key: &Bound<'_, PyAny>) -> Outcome<bool> {
        match self.look_up(key, |entry| entry.is_some(), |_| ())? {
            Found::Now(there) => Ok(there),
            Found::Copied(there) => Ok(there.is_some()),
        }
    }

    /// Reads a value with its revision.
    pub(super) fn read_entry<'py>(&self, key: &Bound<'py, PyAny>) -> Outcome<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let make = |entry: Option<Entry<'_>>| entry.map(|entry| (self.value.start(py, entry.value), entry.revision));
        match self.look_up(key, make, |entry| (entry.value.to_vec(), entry.revision))? {
            Found::Now(found) => found.map(|(raw, revision)| self.entry_object(py, raw, revision)).transpose(),
            Found::Copied(found) => found
                .map(|(stored, revision)| self.entry_object(py, self.value.start(py, &stored), revision))
                .transpose(),
        }
    }

    /// Makes a `kvarts.base.types.Entry`.
    pub(super) fn entry_object<'py>(
        &self,
        py: Python<'py>,
        raw: Raw<'py>,
        revision: Revision,
    ) -> Outcome<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let class = CLASS.import(py, "kvarts.base.types", "Entry")?;
        Ok(class.call1((self.value.finish(py, raw)?, revision.0))?)
    }

    /// Looks a key up: by `now` while attached, or by `copy` while detached.
    #[inline]
    fn look_up<R, C: Send>(
        &self,
        key: &Bound<'_, PyAny>,
        now: impl FnOnce(Option<Entry<'_>>) -> R,
        copy: impl FnOnce(Entry<'_>) -> C + Send,
    ) -> Outcome<Found<R, C>> {
        let db = self.live()?;
        let encoded = self.encode_key(key)?;
        if self.snapshot.is_none()
            && let Attempt::Done(answer) = db.try_get(&self.tree, &encoded, now)?
        {
            return Ok(Found::Now(answer));
        }
        let bytes: &[u8] = &encoded;
        let at = self.at()?;
        let copied = key.py().detach(|| db.get(&self.tree, bytes, at.as_ref(), |entry| entry.map(copy)))?;
        Ok(Found::Copied(copied))
    }

    /// Reads many values at one revision, detached for many at a time.
    pub(super) fn read_many<'py>(&self, keys: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyList>> {
        let py = keys.py();
        let db = self.live()?;
        let objects: Vec<Bound<'py, PyAny>> = each_of(keys, "keys")?.collect::<PyResult<_>>()?;
        let encoded = objects.iter().map(|key| self.encode_key(key)).collect::<Outcome<Vec<_>>>()?;
        let slices: Vec<&[u8]> = encoded.iter().map(|key| &**key).collect();
        let mut at = self.at()?;
        if at.is_none() && slices.len() > KEYS_PER_CHECK {
            at = Some(py.detach(|| db.snapshot())?);
        }
        let values = PyList::empty(py);
        for part in slices.chunks(KEYS_PER_CHECK) {
            py.check_signals()?;
            let (bytes, spans) = py.detach(|| gather(db, &self.tree, part, at.as_ref()))?;
            for span in spans {
                match span {
                    Some((start, end)) => values.append(self.value.decode(py, &bytes[start..end])?)?,
                    None => values.append(py.None())?,
                }
            }
        }
        Ok(values)
    }

    /// Counts the keys.
    pub(super) fn count(&self, py: Python<'_>) -> Outcome<usize> {
        self.fill_from_start(py, usize::MAX)
    }

    /// Tells whether there is a key.
    pub(super) fn any(&self, py: Python<'_>) -> Outcome<bool> {
        Ok(self.fill_from_start(py, 1)? > 0)
    }

    /// Counts the keys, up to about `rows_max`.
    fn fill_from_start(&self, py: Python<'_>, rows_max: usize) -> Outcome<usize> {
        let db = self.live()?;
        let at = self.at()?;
        let Some((bounds, reverse)) = Range::default().bounds(&self.key, &self.prefix) else { return Ok(0) };
        let mut scan = py.detach(|| db.scan(&self.tree, bounds, reverse, at.as_ref()))?;
        let mut rows = 0;
        loop {
            let (counted, more) = py.detach(|| count_some(&mut scan, rows_max - rows))?;
            rows += counted;
            if !more || rows >= rows_max {
                return Ok(rows);
            }
            py.check_signals()?;
        }
    }
}

/// Counts rows, up to about `rows_max`, and tells whether there are more.
fn count_some(scan: &mut db::Scan, rows_max: usize) -> kvarts_engine::Result<(usize, bool)> {
    let (mut chunk, mut rows) = (RowChunk::default(), 0);
    for _ in 0..STEPS_PER_CHECK {
        let more = scan.fill(&mut chunk, COUNT_ROWS.min(rows_max - rows), usize::MAX, false)?;
        rows += chunk.key_ends.len();
        if !more || rows >= rows_max {
            return Ok((rows, more));
        }
        chunk.keys.clear();
        chunk.key_ends.clear();
        chunk.revisions.clear();
    }
    Ok((rows, true))
}

/// What a look-up gives: made at once, or copied for later where the key is there.
enum Found<R, C> {
    Now(R),
    Copied(Option<C>),
}

type Gathered = (Vec<u8>, Vec<Option<(usize, usize)>>);

/// Reads many keys into one buffer: where the value of each lies, or `None`.
fn gather(db: &db::Db, tree: &db::Tree, keys: &[&[u8]], at: Option<&db::Snapshot>) -> kvarts_engine::Result<Gathered> {
    let mut bytes = Vec::new();
    let mut spans = vec![None; keys.len()];
    db.get_many(tree, keys, at, &mut |position, entry| {
        if let Some(entry) = entry {
            let start = bytes.len();
            bytes.extend_from_slice(entry.value);
            spans[position] = Some((start, bytes.len()));
        }
    })?;
    Ok((bytes, spans))
}
