//! An open engine in Python's hands: what is done to the whole store, none of it hot.
use crate::fault::{Fault, Outcome};
use crate::handle::{Guarded, Handle};
use crate::keys::{keys_from, master_key};
use crate::settings::{self, ManualClock, options_from};
use kvarts_engine::clock::{Clock, OsClock};
use kvarts_engine::db::{self, Db, TreeInfo};
use kvarts_engine::fs::{Fs, MemFs, OsFs};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open engine.
#[pyclass(frozen, weakref, module = "kvarts._native")]
pub struct Database {
    handle: Arc<Handle>,
    path: OsString,
    in_memory: bool,
}

/// One revision held for reading. Clones of it may outlive it.
#[pyclass(frozen, module = "kvarts._native")]
pub struct Snapshot {
    held: Guarded<db::Snapshot>,
}

impl Snapshot {
    /// Returns a Python object that holds `snapshot`.
    pub fn new(handle: &Arc<Handle>, snapshot: db::Snapshot) -> Self {
        Self { held: Guarded::new(handle, snapshot) }
    }

    /// Returns another hold on the same revision.
    pub fn share(&self) -> Option<db::Snapshot> {
        self.held.get().cloned()
    }
}

impl Database {
    /// Returns the engine.
    pub fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }
}

/// A function that is told how far long work has come; the first error of it ends the telling.
struct Told {
    progress: Option<Py<PyAny>>,
    raised: Option<PyErr>,
}

impl Told {
    fn new(progress: Option<Py<PyAny>>) -> Self {
        Self { progress, raised: None }
    }

    fn tell(&mut self, done: u64, total: u64) {
        let Some(progress) = self.progress.as_ref().filter(|_| self.raised.is_none()) else { return };
        let told = Python::attach(|py| progress.call1(py, (done, total)).and_then(|_| py.check_signals()));
        self.raised = told.err();
    }

    fn raised(self) -> PyResult<()> {
        self.raised.map_or(Ok(()), Err)
    }
}

/// File, offset, and a revision or a number of bytes.
type Place = (String, u64, u64);

/// A tree: name, key codec, value codec, compressions of its own.
type TreeFields = (String, String, String, Option<Vec<String>>);

/// Batches replayed, end of the log after an unclean stop, torn tail, whether the store was made.
type OpenReport = (u64, Option<Place>, Option<Place>, bool);

/// What others than the owner may do to the store at a path: (path, what, cure, whether it is refused for it). With `mends`,
/// what is left of it once modes are set.
#[pyfunction]
#[pyo3(signature = (path, *, mends=false))]
pub fn permissions(py: Python<'_>, path: PathBuf, mends: bool) -> Outcome<Vec<(OsString, String, String, bool)>> {
    let fs: Arc<dyn Fs> = Arc::new(OsFs);
    let found = py.detach(|| db::permissions(&fs, &path, mends))?;
    Ok(found.into_iter().map(|one| (one.path.into_os_string(), one.what, one.cure, one.refused)).collect())
}

/// File, offset, what, smallest, largest: the fields of `kvarts.base.types.Damage`.
pub fn damage_fields<'py>(py: Python<'py>, damage: &db::Damage) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("file", damage.file.display().to_string())?;
    fields.set_item("offset", damage.offset)?;
    fields.set_item("what", &damage.what)?;
    fields.set_item("smallest", PyBytes::new(py, &damage.smallest))?;
    fields.set_item("largest", PyBytes::new(py, &damage.largest))?;
    Ok(fields)
}

fn tree_fields<'py>(py: Python<'py>, tree: &db::TreeStats) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("name", &tree.name)?;
    fields.set_item("table_rows", tree.table_rows)?;
    fields.set_item("memtable_rows", tree.memtable_rows)?;
    let levels: Vec<_> = tree.levels.iter().map(|&level| level.into_pyobject(py)).collect::<PyResult<_>>()?;
    fields.set_item("levels", pyo3::types::PyTuple::new(py, levels)?)?;
    Ok(fields)
}

fn stats_fields<'py>(py: Python<'py>, stats: &db::Stats) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    for (name, number) in [
        ("revision", stats.revision),
        ("table_bytes", stats.table_bytes),
        ("log_bytes", stats.log_bytes),
        ("memtable_bytes", stats.memtable_bytes),
        ("cache_bytes", stats.cache_bytes),
        ("index_bytes", stats.index_bytes),
        ("memory_bytes", stats.memory_bytes),
        ("cache_hits", stats.cache_hits),
        ("cache_misses", stats.cache_misses),
        ("user_bytes", stats.user_bytes),
        ("flush_bytes", stats.flush_bytes),
        ("compaction_bytes", stats.compaction_bytes),
        ("flushes", stats.flushes),
        ("compactions", stats.compactions),
        ("syncs", stats.syncs),
        ("stall_ns", stats.stall_ns),
        ("snapshots", stats.snapshots),
        ("scrubbed_bytes", stats.scrubbed_bytes),
        ("scrub_rounds", stats.scrub_rounds),
    ] {
        fields.set_item(name, number)?;
    }
    let damage: Vec<_> = stats.damage.iter().map(|damage| damage_fields(py, damage)).collect::<PyResult<_>>()?;
    fields.set_item("damage", damage)?;
    Ok(fields)
}

#[pymethods]
impl Database {
    #[new]
    #[pyo3(signature = (path, *, in_memory, holder, options, keys=Vec::new(), clock=None))]
    fn new(
        py: Python<'_>,
        path: OsString,
        in_memory: bool,
        holder: &str,
        options: &Bound<'_, PyDict>,
        keys: Vec<Bound<'_, PyByteArray>>,
        clock: Option<&Bound<'_, ManualClock>>,
    ) -> Outcome<Self> {
        let (options, keys) = (options_from(options)?, keys_from(&keys)?);
        let clock: Arc<dyn Clock> = match clock {
            Some(manual) => Arc::clone(&manual.get().clock) as Arc<dyn Clock>,
            None => Arc::new(OsClock::default()),
        };
        let fs: Arc<dyn Fs> = if in_memory { Arc::new(MemFs::volatile()) } else { Arc::new(OsFs) };
        let memory_bytes = options.memory_bytes;
        let db = py.detach(|| Db::open_with(fs, Arc::clone(&clock), keys, Path::new(&path), holder, options))?;
        Ok(Self { handle: Arc::new(Handle::new(db, clock, memory_bytes)), path, in_memory })
    }

    /// Where it lies.
    #[getter]
    fn path(&self) -> &OsStr {
        &self.path
    }

    /// True where nothing is on disk.
    #[getter]
    fn in_memory(&self) -> bool {
        self.in_memory
    }

    /// (batches replayed, (file, offset, newest revision) after an unclean stop or None, (file, offset, bytes) of a torn tail
    /// or None, whether the store was made by this open).
    fn open_report(&self) -> Outcome<OpenReport> {
        let report = self.handle.db()?.open_report();
        let torn = report.torn.as_ref().map(|(file, at, bytes)| (file.display().to_string(), *at, *bytes));
        let unclean = report.unclean.as_ref();
        let unclean = unclean.map(|(file, at, revision)| (file.display().to_string(), *at, revision.0));
        Ok((report.replayed, unclean, torn, report.created))
    }

    /// What everybody on this machine can read of it, and the cure; None where they cannot.
    fn exposed(&self) -> Outcome<Option<(String, String)>> {
        let exposed = self.handle.db()?.open_report().exposed.as_ref();
        Ok(exposed.map(|one| (format!("{} {}", one.path.display(), one.what), one.cure.clone())))
    }

    /// Names of the codecs of a tree, or None where there is no such tree.
    fn tree(&self, name: &str) -> Outcome<Option<(String, String)>> {
        let db = self.handle.db()?;
        let tree = db.tree(name)?;
        Ok(tree.map(|tree| db.tree_info(&tree)).map(|info| (info.key_codec, info.value_codec)))
    }

    /// Makes a tree and returns the names of its codecs: another's, where another thread was first.
    fn make_tree(&self, py: Python<'_>, name: &str, key: &str, value: &str) -> Outcome<(String, String)> {
        let db = self.handle.db()?;
        match py.detach(|| db.create_tree(name, key, value)) {
            Ok(_) => Ok((key.to_owned(), value.to_owned())),
            Err(error) => self.tree(name)?.ok_or(error.into()),
        }
    }

    /// Says how tables of a tree are compressed from now on; None: as the store's are.
    fn set_compression(&self, py: Python<'_>, tree: &str, compression: Option<Vec<String>>) -> Outcome<()> {
        let own = compression.map(|names| settings::compression(&names)).transpose()?;
        let db = self.handle.db()?;
        let tree = db.tree(tree)?.ok_or_else(|| Fault::invalid(format!("no keyspace {tree:?}"), "it was dropped"))?;
        Ok(py.detach(|| db.set_compression(&tree, own))?)
    }

    /// (name, key codec, value codec, compressions of its own) of every tree.
    fn trees(&self) -> Outcome<Vec<TreeFields>> {
        let infos = self.handle.db()?.trees()?;
        let fields = |info: TreeInfo| {
            let own = settings::names_of(info.compression.as_ref());
            (info.name, info.key_codec, info.value_codec, own)
        };
        Ok(infos.into_iter().map(fields).collect())
    }

    /// Takes a snapshot of the newest revision.
    fn snapshot(&self, py: Python<'_>) -> Outcome<Snapshot> {
        let db = self.handle.db()?;
        Ok(Snapshot::new(&self.handle, py.detach(|| db.snapshot())?))
    }

    /// Copies the store to a path that must not exist, and returns the revision copied.
    fn checkpoint(&self, py: Python<'_>, path: PathBuf) -> Outcome<u64> {
        let db = self.handle.db()?;
        Ok(py.detach(|| db.checkpoint(None, &path))?.0)
    }

    /// Writes all memtables into tables and waits for it.
    fn flush(&self, py: Python<'_>) -> Outcome<()> {
        let db = self.handle.db()?;
        Ok(py.detach(|| db.flush())?)
    }

    /// Rewrites a tree into its deepest level and waits.
    fn compact(&self, py: Python<'_>, tree: &str) -> Outcome<()> {
        let db = self.handle.db()?;
        Ok(py.detach(|| db.tree(tree).and_then(|tree| db.compact(tree.as_ref())))?)
    }

    /// Moves the store to another master key: (tables written anew, their bytes). An error of `progress` is raised at the end.
    #[pyo3(signature = (key, progress=None))]
    fn rotate_key(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyByteArray>,
        progress: Option<Py<PyAny>>,
    ) -> Outcome<(u64, u64)> {
        let (db, key) = (self.handle.db()?, master_key(key)?);
        let mut told = Told::new(progress);
        let done = py.detach(|| db.rotate_key(key, &mut |done, all| told.tell(done, all)));
        told.raised()?;
        done.map(|done| (done.tables, done.bytes)).map_err(Into::into)
    }

    /// Reads all and checks it: (files, blocks, bytes, fields of each damage). An error of `progress` is raised at the end.
    #[pyo3(signature = (progress=None))]
    fn verify<'py>(
        &self,
        py: Python<'py>,
        progress: Option<Py<PyAny>>,
    ) -> Outcome<(u64, u64, u64, Vec<Bound<'py, PyDict>>)> {
        let db = self.handle.db()?;
        let mut told = Told::new(progress);
        let report = py.detach(|| db.verify(&mut |done, total| told.tell(done, total)));
        told.raised()?;
        let report = report?;
        let damage = report.damage.iter().map(|damage| damage_fields(py, damage)).collect::<PyResult<_>>()?;
        Ok((report.files, report.blocks, report.bytes, damage))
    }

    /// (numbers of the store, numbers of each tree), by the names of `kvarts.base.types.Stats`.
    fn stats<'py>(&self, py: Python<'py>) -> Outcome<(Bound<'py, PyDict>, Vec<Bound<'py, PyDict>>)> {
        let db = self.handle.db()?;
        let stats = py.detach(|| db.stats());
        let trees = stats.trees.iter().map(|tree| tree_fields(py, tree)).collect::<PyResult<_>>()?;
        Ok((stats_fields(py, &stats)?, trees))
    }

    /// Closes it. Idempotent; does nothing in a forked child.
    fn close(&self, py: Python<'_>) -> Outcome<()> {
        py.detach(|| self.handle.close())
    }
}
