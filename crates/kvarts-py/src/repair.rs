//! Repair from Python: what is whole of a damaged store goes into a new one.
use crate::database::damage_fields;
use crate::fault::Outcome;
use kvarts_engine::clock::OsClock;
use kvarts_engine::db;
use kvarts_engine::fs::{Fs, OsFs};
use kvarts_engine::options::Options;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;
use std::sync::Arc;

/// Salvages the store at `path` into a new one at `to`. Returns the fields of `kvarts.base.types.RepairReport`.
///
/// `one_keyspace` owns what nothing says to which keyspace it belongs. An error of `progress` ends it, and leaves nothing at `to`.
#[pyfunction]
#[pyo3(signature = (path, to, *, one_keyspace=None, progress=None))]
pub fn repair<'py>(
    py: Python<'py>,
    path: PathBuf,
    to: PathBuf,
    one_keyspace: Option<&str>,
    progress: Option<Py<PyAny>>,
) -> Outcome<Bound<'py, PyDict>> {
    let mut raised = None;
    let report = py.detach(|| {
        let fs: Arc<dyn Fs> = Arc::new(OsFs);
        let mut told = |done: u64, total: u64| {
            let Some(progress) = &progress else { return true };
            let outcome = Python::attach(|py| progress.call1(py, (done, total)).and_then(|_| py.check_signals()));
            raised = outcome.err();
            raised.is_none()
        };
        db::repair(&fs, &OsClock::default(), &path, &to, Options::default(), one_keyspace, &mut told)
    });
    if let Some(error) = raised {
        return Err(error.into());
    }
    let report = report?;
    let fields = PyDict::new(py);
    for (name, number) in [
        ("tables", report.tables),
        ("blocks", report.blocks),
        ("batches", report.batches),
        ("bytes", report.bytes),
        ("revision", report.revision.0),
    ] {
        fields.set_item(name, number)?;
    }
    fields.set_item("keyspaces", report.trees)?;
    let gone = report.gone.iter().map(|gone| gone_fields(py, gone)).collect::<PyResult<Vec<_>>>()?;
    fields.set_item("gone", gone)?;
    Ok(fields)
}

fn gone_fields<'py>(py: Python<'py>, gone: &db::Gone) -> PyResult<Bound<'py, PyDict>> {
    let fields = damage_fields(py, &gone.damage)?;
    fields.set_item("keyspace", &gone.tree)?;
    fields.set_item("rows_gone", gone.rows_gone)?;
    Ok(fields)
}
