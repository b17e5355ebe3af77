//! The extension module `kvarts._native`: convert, detach from the interpreter, map errors; nothing else.
//!
//! Threads: what may read from disk or wait runs detached; an answer in memory is given attached, since dropping the
//! interpreter lock costs more than the answer. No lock of the engine is held across a call into Python.
//! A panic is a bug of ours: PyO3 raises it as `PanicException`, with Rust's text.
mod arguments;
mod arrow;
mod batch;
#[allow(unsafe_code)]
mod buffers;
mod client;
mod codec;
mod condition;
mod database;
mod fault;
mod handle;
mod keys;
mod muscle;
mod range;
mod repair;
mod rows;
mod scan;
mod settings;
mod state_machine;
mod tree;
mod tuple;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Refuses a second interpreter of this process: what the module keeps for good, classes of errors and interned names, is of
/// the first one. PyO3 does not check it of modules that initialize in phases.
fn check_interpreter(py: Python<'_>) -> PyResult<()> {
    static HOME: AtomicUsize = AtomicUsize::new(0);
    // Each interpreter has a module `builtins` of its own, which lives as long as it does.
    let here = py.import("builtins")?.as_ptr() as usize;
    match HOME.compare_exchange(0, here, Ordering::SeqCst, Ordering::SeqCst) {
        Err(home) if home != here => Err(PyImportError::new_err(
            "kvarts is used by another interpreter of this process already; open stores in the main interpreter, \
             not in a subinterpreter",
        )),
        _ => Ok(()),
    }
}

/// The native part of kvarts.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    check_interpreter(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("MANIFEST", "MANIFEST")?;
    module.add_class::<database::Database>()?;
    module.add_class::<database::Snapshot>()?;
    module.add_function(wrap_pyfunction!(database::permissions, module)?)?;
    module.add_class::<muscle::Muscle>()?;
    module.add_class::<settings::ManualClock>()?;
    module.add_class::<tree::Tree>()?;
    module.add_class::<scan::Scan>()?;
    module.add_class::<arrow::ArrowScan>()?;
    module.add_class::<batch::Batch>()?;
    module.add_class::<client::Client>()?;
    module.add_class::<client::Gate>()?;
    module.add_class::<client::Request>()?;
    module.add_class::<client::Cursor>()?;
    module.add_class::<client::Page>()?;
    module.add_class::<client::Rows>()?;
    module.add_class::<state_machine::StateMachine>()?;
    module.add_function(wrap_pyfunction!(keys::aead_open, module)?)?;
    module.add_function(wrap_pyfunction!(tuple::tuple_pack, module)?)?;
    module.add_function(wrap_pyfunction!(tuple::tuple_unpack, module)?)?;
    module.add_function(wrap_pyfunction!(repair::repair, module)?)?;
    let hooks = PyDict::new(module.py());
    hooks.set_item("after_in_child", wrap_pyfunction!(handle::after_fork_in_child, module)?)?;
    module.py().import("os")?.call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}
