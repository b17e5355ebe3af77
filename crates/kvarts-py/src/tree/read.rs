//! Point reads: attached while the answer is in memory, detached as soon as it may take a read from disk.
use super::Tree;
use crate::arguments::Threads;
use crate::codec::Raw;
use crate::fault::Outcome;
use crate::handle::Guarded;
use crate::range::Range;
use crate::rows::each_of;
use kvarts_engine::db::{Attempt, Entry, Gathered, ReadPoint, RowChunk};
use kvarts_engine::{Revision, db};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyType};

/// Rows counted per step of `len`, and steps between two looks at whether the user wants to stop.
const COUNT_ROWS: usize = 4096;
const STEPS_PER_CHECK: usize = 32;
/// Keys of `get_many` that are read detached between two such looks, and attached between two turns of other threads.
const KEYS_PER_CHECK: usize = 64 << 10;
const KEYS_PER_TURN: usize = 2048;

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

    /// Reads many values at one revision: attached what lies in memory, detached what takes reads or was to be parallel.
    pub(super) fn read_many<'py>(
        &self,
        keys: &Bound<'py, PyAny>,
        parallel: Option<Threads>,
    ) -> Outcome<Bound<'py, PyList>> {
        let py = keys.py();
        let db = self.live()?;
        let objects: Vec<Bound<'py, PyAny>> = each_of(keys, "keys")?.collect::<PyResult<_>>()?;
        let encoded = objects.iter().map(|key| self.encode_key(key)).collect::<Outcome<Vec<_>>>()?;
        let slices: Vec<&[u8]> = encoded.iter().map(|key| &**key).collect();
        let point = Guarded::new(&self.handle, db.read_point(&self.tree, self.at()?.as_ref())?);
        let mut values: Vec<Option<Raw<'py>>> = slices.iter().map(|_| None).collect();
        let mut left: Vec<usize> = match parallel {
            Some(Threads(2..)) => (0..slices.len()).collect(),
            _ => self.read_in_memory(py, &point, &slices, &mut values)?,
        };
        for part in left.chunks_mut(KEYS_PER_CHECK) {
            let point = self.still(py, &point)?;
            let gathered = py.detach(|| point.gather(&slices, part, parallel.map(|threads| threads.0)))?;
            for Gathered { bytes, spans } in gathered {
                for (position, start, end) in spans {
                    values[position] = Some(self.value.start(py, &bytes[start..end]));
                }
            }
        }
        // In the end, since a codec may run code of the user's.
        let finish = |raw: Option<Raw<'py>>| raw.map(|raw| self.value.finish(py, raw)).transpose();
        let values = values.into_iter().map(finish).collect::<Outcome<Vec<_>>>()?;
        Ok(PyList::new(py, values)?)
    }

    /// Makes the values that lie in memory and returns the positions of the other keys.
    fn read_in_memory<'py>(
        &self,
        py: Python<'py>,
        point: &Guarded<ReadPoint>,
        keys: &[&[u8]],
        values: &mut [Option<Raw<'py>>],
    ) -> Outcome<Vec<usize>> {
        let mut left = Vec::new();
        for (part, keys) in keys.chunks(KEYS_PER_TURN).enumerate() {
            let first = part * KEYS_PER_TURN;
            if part > 0 {
                // Lets other threads have a turn.
                py.detach(|| ());
            }
            self.still(py, point)?.try_find_many(keys, &mut |at, found| match found {
                Attempt::Done(entry) => values[first + at] = entry.map(|entry| self.value.start(py, entry.value)),
                Attempt::WouldBlock => left.push(first + at),
            })?;
        }
        Ok(left)
    }

    /// Returns what is read at, unless the user wants to stop, the store was closed, or we are in a forked child by now.
    fn still<'a>(&self, py: Python<'_>, point: &'a Guarded<ReadPoint>) -> Outcome<&'a ReadPoint> {
        py.check_signals()?;
        self.live()?;
        point.get().ok_or_else(|| kvarts_engine::Error::Closed.into())
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
