//! The extension module `kvarts._native`: convert, detach from the interpreter, map errors; nothing else.
use pyo3::prelude::*;

/// The native part of kvarts.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
