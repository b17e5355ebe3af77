//! Pairs from whatever Python has them in.
use crate::fault::{Fault, Outcome};
use crate::scan::Scan;
use crate::tree::Tree;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyTuple};

/// Bytes that one step of `put_many` and `delete_many` does not exceed, but for one row that is larger by itself.
pub const CHUNK_BYTES: usize = 1 << 20;
/// At least what a step adds to the bytes of a row's key and value.
pub const ROW_OVERHEAD_BYTES: usize = 64;

/// Rows taken from Python between two looks at whether the user wants to stop: a list gives none itself.
pub const ROWS_PER_CHECK: usize = 4096;

type Each<'e, 'py> = dyn FnMut(&Bound<'py, PyAny>, &Bound<'py, PyAny>) -> Outcome<()> + 'e;

/// Calls `each` with the pairs of a dict, a store, anything with `keys()`, or an iterable of pairs, in their order.
pub fn for_each_pair<'py>(items: &Bound<'py, PyAny>, each: &mut Each<'_, 'py>) -> Outcome<()> {
    let py = items.py();
    if items.cast::<PyDict>().is_ok() || items.cast::<Tree>().is_ok() {
        return each_pair_of(&items.call_method0(intern!(py, "items"))?, each);
    }
    // A scan has keys() too, but is pairs.
    if items.cast::<Scan>().is_err() && items.hasattr(intern!(py, "keys"))? {
        for key in items.call_method0(intern!(py, "keys"))?.try_iter()? {
            let key = key?;
            each(&key, &items.get_item(&key)?)?;
        }
        return Ok(());
    }
    each_pair_of(items, each)
}

/// Iterates over an argument that must hold `what`. Errors: `WrongType`.
pub fn each_of<'py>(items: &Bound<'py, PyAny>, what: &str) -> Outcome<Bound<'py, PyIterator>> {
    items.try_iter().map_err(|error| {
        if error.is_instance_of::<PyTypeError>(items.py()) { Fault::wrong_type(what, items) } else { error.into() }
    })
}

fn each_pair_of<'py>(pairs: &Bound<'py, PyAny>, each: &mut Each<'_, 'py>) -> Outcome<()> {
    for (row, pair) in each_of(pairs, "a mapping or (key, value) pairs")?.enumerate() {
        let pair = pair?;
        if row % ROWS_PER_CHECK == 0 {
            pairs.py().check_signals()?;
        }
        let pair = pair_of(pair)?;
        each(&pair.get_item(0)?, &pair.get_item(1)?)?;
    }
    Ok(())
}

/// Returns a (key, value) pair of whatever has two parts. Errors: `WrongType`, `InvalidArgument`.
pub fn pair_of(item: Bound<'_, PyAny>) -> Outcome<Bound<'_, PyTuple>> {
    let pair = match item.cast_into::<PyTuple>() {
        Ok(pair) => pair,
        Err(error) => to_tuple(error.into_inner())?,
    };
    if pair.len() != 2 {
        return Err(Fault::invalid(format!("an item of length {} is no pair", pair.len()), "(key, value)"));
    }
    Ok(pair)
}

fn to_tuple(pair: Bound<'_, PyAny>) -> Outcome<Bound<'_, PyTuple>> {
    let Ok(parts) = pair.try_iter() else {
        return Err(Fault::wrong_type("a (key, value) pair", &pair));
    };
    let parts = parts.collect::<PyResult<Vec<_>>>()?;
    Ok(PyTuple::new(pair.py(), parts)?)
}
