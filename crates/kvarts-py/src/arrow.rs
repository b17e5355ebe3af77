//! Scans as streams of Arrow record batches.
use crate::arguments::{Count, Threads};
use crate::buffers::{ArrowArrayStream, Layout, Producer, open};
use crate::codec::Codec;
use crate::fault::{Fault, Outcome};
use crate::handle::{Handle, forks};
use kvarts_engine::db::{self, Batch, BatchOptions, Batches, Spares};
use kvarts_engine::iter::Wanted;
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of a batch, unless asked for otherwise.
pub const BATCH_ROWS: usize = 65_536;
/// A batch takes no more than this share of the store's memory,
const MEMORY_SHARE: usize = 16;
/// and no more than so many bytes, but at least so many.
const BATCH_BYTES: (usize, usize) = (256 << 10, 16 << 20);

/// What a stream of Arrow is made of.
pub struct Request {
    /// The scan, unless it has no rows; of which none was taken.
    pub scan: Option<db::Scan>,
    /// Rows in all, at most.
    pub limit: Option<usize>,
    /// Codecs of the columns that are wanted.
    pub columns: (Option<bool>, Option<bool>),
    /// A view's prefix, in front of each key.
    pub prefix: Vec<u8>,
    /// Whether there is a column of revisions.
    pub revisions: bool,
    /// Rows per batch.
    pub batch_rows: Count,
    /// Threads; `None` = by size.
    pub parallel: Option<Threads>,
}

/// A scan on its way to whoever reads Arrow: see docs/guide/arrow.md.
#[pyclass(frozen, module = "kvarts._native")]
pub struct ArrowScan {
    layout: Layout,
    /// Taken by the one reader.
    rows: Mutex<Option<Rows>>,
    handle: Arc<Handle>,
}

/// What fills the batches.
struct Rows {
    /// `None` where there are no rows, and once it was let go.
    batches: Option<Batches>,
    prefix_bytes: usize,
    /// Forks when it was made: in a child its threads do not exist and its locks may be held, so it is forgotten there.
    forks: u64,
}

impl Drop for Rows {
    fn drop(&mut self) {
        if forks() != self.forks {
            mem::forget(self.batches.take());
        }
    }
}

impl Producer for Rows {
    fn spares(&self) -> Option<&Arc<Spares>> {
        self.batches.as_ref().map(Batches::spares)
    }

    fn next(&mut self) -> Result<Option<Batch>, String> {
        if forks() != self.forks {
            return Err("ForkedHandle: the store was opened before a fork and belongs to the parent process".to_owned());
        }
        let Some(batches) = &mut self.batches else { return Ok(None) };
        let mut batch = batches.next_batch().map_err(|error| error.to_string())?;
        if let Some(batch) = batch.as_mut().filter(|batch| self.prefix_bytes > 0 && !batch.key_ends.is_empty()) {
            cut_prefixes(batch, self.prefix_bytes);
        }
        Ok(batch)
    }
}

/// Takes the first bytes of every key away.
fn cut_prefixes(batch: &mut Batch, bytes: usize) {
    let (mut from, mut to) = (0, 0);
    for end in &mut batch.key_ends[1..] {
        let stop = *end as usize;
        batch.keys.copy_within(from + bytes..stop, to);
        to += stop - from - bytes;
        from = stop;
        *end = to as i32;
    }
    batch.keys.truncate(to);
}

impl ArrowScan {
    /// Takes over a scan.
    pub fn new(py: Python<'_>, handle: &Arc<Handle>, request: Request) -> Outcome<Self> {
        let (key, value) = request.columns;
        let layout = Layout { key, value, revision: request.revisions };
        let wanted =
            Wanted { keys: key.is_some(), values: value.is_some(), revisions: request.revisions, expiries: false };
        let prefix_bytes = request.prefix.len();
        let batches = request.scan.map(|scan| {
            let options = BatchOptions {
                wanted,
                rows_max: request.batch_rows.0,
                bytes_max: (scan.memory_bytes() / MEMORY_SHARE).clamp(BATCH_BYTES.0, BATCH_BYTES.1),
                limit: request.limit,
                threads: request.parallel.map(|threads| threads.0),
            };
            py.detach(|| Batches::new(scan, options))
        });
        let rows = Mutex::new(Some(Rows { batches, prefix_bytes, forks: forks() }));
        Ok(Self { layout, rows, handle: Arc::clone(handle) })
    }

    /// Gives the stream away.
    pub fn stream(&self) -> Outcome<ArrowArrayStream> {
        self.handle.db()?;
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        let read = || Fault::invalid("a scan is read once, and this one was given to a reader", "start another scan");
        Ok(open(self.layout, rows.ok_or_else(read)?))
    }
}

#[pymethods]
impl ArrowScan {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> Outcome<Bound<'py, PyCapsule>> {
        // A producer may answer with its own schema; the reader casts.
        let _ = requested_schema;
        Ok(PyCapsule::new_with_value(py, self.stream()?, c"arrow_array_stream")?)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> Outcome<Bound<'py, PyCapsule>> {
        schema_capsule(py, self.layout)
    }

    fn __repr__(&self) -> String {
        let given = self.rows.try_lock().is_ok_and(|rows| rows.is_none());
        format!("<kvarts.ArrowScan {}>", if given { "given to a reader" } else { "new" })
    }
}

/// Returns the capsule of a schema.
pub fn schema_capsule(py: Python<'_>, layout: Layout) -> Outcome<Bound<'_, PyCapsule>> {
    Ok(PyCapsule::new_with_value(py, layout.schema(), c"arrow_schema")?)
}

/// Tells whether a codec's bytes are text to Arrow.
pub fn is_text(codec: &Codec) -> bool {
    matches!(codec, Codec::Str)
}

/// Returns a `pyarrow.Table` of a scan. Errors: `ImportError` where pyarrow is not installed.
pub fn table<'py>(py: Python<'py>, scan: ArrowScan) -> Outcome<Bound<'py, PyAny>> {
    let pyarrow = py.import("pyarrow").map_err(|error| {
        let hint = "to_arrow() needs pyarrow: pip install pyarrow; polars, pandas and DuckDB take the scan itself";
        if error.is_instance_of::<PyImportError>(py) {
            let missing = PyImportError::new_err(hint);
            missing.set_cause(py, Some(error));
            missing
        } else {
            error
        }
    })?;
    Ok(pyarrow.call_method1("table", (Bound::new(py, scan)?,))?)
}
