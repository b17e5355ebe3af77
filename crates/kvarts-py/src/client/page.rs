//! Rows in columns on their way between a cluster and a store on this machine, with their expiries: none becomes an object.
use super::request::{self, Request};
use crate::database::{Database, Snapshot};
use crate::fault::{Fault, Outcome};
use bytes::Bytes;
use kvarts_engine::db::{Db, RowChunk};
use kvarts_engine::iter::{Bounds, Limits, Wanted};
use kvarts_formats::batch::Batch;
use kvarts_serve::client::Span;
use kvarts_wire::v1;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

const COLUMNS: Wanted = Wanted { keys: true, values: true, revisions: false, expiries: true };
/// Bytes that are written to a store as one step, about.
const STEP_BYTES: usize = 1 << 20;

/// Some rows, in the order of their keys.
#[pyclass(frozen, module = "kvarts._native")]
pub struct Page {
    keys: Bytes,
    key_ends: Vec<usize>,
    values: Bytes,
    value_ends: Vec<usize>,
    /// Unix milliseconds from which each is absent; 0: it lasts.
    expiries: Vec<u64>,
    more: bool,
}

impl Page {
    /// Takes over what nodes sent. Errors: where the nodes know nothing of expiries.
    pub fn of(page: v1::ScanResponse) -> Outcome<Self> {
        let v1::ScanResponse { keys, key_ends, values, value_ends, expiries, more, .. } = page;
        if expiries.len() != key_ends.len() || value_ends.len() != key_ends.len() {
            return Err(Fault::invalid("a node does not tell when rows expire", "upgrade all nodes first"));
        }
        let wide = |ends: Vec<u32>| ends.into_iter().map(|end| end as usize).collect();
        Ok(Self { keys, key_ends: wide(key_ends), values, value_ends: wide(value_ends), expiries, more })
    }

    /// Calls `each` with key, value and expiry of the rows.
    fn each<E>(&self, mut each: impl FnMut(Bytes, Bytes, u64) -> Result<(), E>) -> Result<(), E> {
        let (mut key_start, mut value_start) = (0, 0);
        for ((&key_end, &value_end), &expiry_ms) in self.key_ends.iter().zip(&self.value_ends).zip(&self.expiries) {
            each(self.keys.slice(key_start..key_end), self.values.slice(value_start..value_end), expiry_ms)?;
            (key_start, value_start) = (key_end, value_end);
        }
        Ok(())
    }

    fn write(&self, db: &Db, tree: &str) -> Outcome<()> {
        let id = db.tree(tree)?.ok_or_else(|| Fault::invalid(format!("no keyspace {tree:?}"), "make it first"))?.id();
        let mut batch = Batch::new();
        self.each(|key, value, expiry_ms| {
            match expiry_ms {
                0 => batch.put(id, &key, &value),
                expiry_ms => batch.put_expiring(id, &key, expiry_ms, &value),
            }
            if batch.bytes_len() >= STEP_BYTES {
                db.write(&mut batch)?;
                batch.clear();
            }
            Ok::<(), Fault>(())
        })?;
        db.write(&mut batch)?;
        Ok(())
    }
}

#[pymethods]
impl Page {
    /// Rows of a store's keyspace behind `after` (all where it is None), as of a snapshot: about `rows` of them, or `bytes`.
    #[staticmethod]
    #[pyo3(signature = (database, tree, snapshot, after, rows, size, /))]
    fn read(
        py: Python<'_>,
        database: &Database,
        tree: &str,
        snapshot: &Snapshot,
        after: Option<&[u8]>,
        rows: usize,
        size: usize,
    ) -> Outcome<Self> {
        let (db, snapshot) = (database.handle().db()?, snapshot.share());
        let start = after.map(|after| (after.to_vec(), false));
        py.detach(|| {
            let found = db.tree(tree)?.ok_or_else(|| Fault::invalid(format!("no keyspace {tree:?}"), ""))?;
            let mut scan = db.scan(&found, Bounds { start, stop: None }, false, snapshot.as_ref())?;
            let mut chunk = RowChunk::default();
            let more = scan.fill_wanted(&mut chunk, Limits { rows_max: rows, bytes_max: size }, COLUMNS)?;
            let RowChunk { keys, key_ends, values, value_ends, expiries, .. } = chunk;
            Ok(Self { keys: keys.into(), key_ends, values: values.into(), value_ends, expiries, more })
        })
    }

    /// Writes the rows into a store's keyspace, as they are.
    #[pyo3(signature = (database, tree, /))]
    fn write_to(&self, py: Python<'_>, database: &Database, tree: &str) -> Outcome<()> {
        let db = database.handle().db()?;
        py.detach(|| self.write(db, tree))
    }

    /// The request that puts the rows into a cluster's keyspace, and how many they are: those that have expired at `now_ms` are
    /// left out, others live on as long as they would have. None where no row is left.
    #[pyo3(signature = (space, now_ms, /))]
    fn request(&self, py: Python<'_>, space: u32, now_ms: u64) -> (Option<Request>, usize) {
        let mut operations = Vec::with_capacity(self.key_ends.len());
        py.detach(|| {
            let _: Result<(), ()> = self.each(|key, value, expiry_ms| {
                if expiry_ms == 0 || expiry_ms > now_ms {
                    let ttl_ms = expiry_ms.saturating_sub(now_ms);
                    let put = v1::Put { keyspace: space, key, value, ttl_ms, ..v1::Put::default() };
                    operations.push(request::operation(v1::operation::Kind::Put(put)));
                }
                Ok(())
            });
        });
        let rows = operations.len();
        ((rows > 0).then(|| Request::command(operations, None, Span::Any)), rows)
    }

    /// The key of a row.
    #[pyo3(signature = (row, /))]
    fn key<'py>(&self, py: Python<'py>, row: usize) -> Outcome<Bound<'py, PyBytes>> {
        let end = *self.key_ends.get(row).ok_or_else(|| Fault::invalid(format!("no row {row}"), "len() tells"))?;
        let start = if row == 0 { 0 } else { self.key_ends[row - 1] };
        Ok(PyBytes::new(py, &self.keys[start..end]))
    }

    /// How many rows.
    fn __len__(&self) -> usize {
        self.key_ends.len()
    }

    /// Bytes of keys and values.
    #[getter]
    fn size(&self) -> usize {
        self.keys.len() + self.values.len()
    }

    /// How many of the rows expire some time.
    #[getter]
    fn expiring(&self) -> usize {
        self.expiries.iter().filter(|&&expiry_ms| expiry_ms > 0).count()
    }

    /// Whether there may be rows behind the last one.
    #[getter]
    fn more(&self) -> bool {
        self.more
    }

    /// The key of the last row, if there is one.
    #[getter]
    fn last<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let row = self.key_ends.len().checked_sub(1)?;
        self.key(py, row).ok()
    }
}
