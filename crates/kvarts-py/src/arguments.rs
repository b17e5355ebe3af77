//! Arguments whose wrong values are errors of ours, with our words, in place of Python's own.
use crate::fault::{Fault, Outcome};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyBool;

/// An argument that may be absent, where `None` is a value.
pub enum Given<'py> {
    /// It was not given.
    Absent,
    /// It was.
    Value(Bound<'py, PyAny>),
}

/// A bool, and nothing that is merely true.
pub struct Flag(pub bool);

/// A number of rows; one that no machine can count to is as good as the largest.
pub struct Count(pub usize);

/// A number of threads, at least one.
#[derive(Clone, Copy)]
pub struct Threads(pub usize);

/// Most threads that a call may ask for.
const THREADS_MAX: usize = 256;

/// What `incr` adds.
pub struct Addend(pub i128);

/// Returns the revision that `AtRevision` was given.
pub fn revision_of(given: &Bound<'_, PyAny>) -> Outcome<u64> {
    given.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyOverflowError>(given.py()) {
            return Fault::invalid("AtRevision(): no revision has this number", "0 to 2**64 - 1; put returns one");
        }
        Fault::wrong_type("AtRevision of a revision (int)", given)
    })
}

impl<'a, 'py> FromPyObject<'a, 'py> for Given<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self::Value(object.to_owned()))
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Flag {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        object.extract().map(Self).map_err(|_: PyErr| Fault::wrong_type("True or False", &object).into())
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Count {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match object.extract() {
            Ok(count) => Ok(Self(count)),
            Err(error) if PyErr::is_instance_of::<PyOverflowError>(&error, object.py()) => {
                if object.lt(0)? {
                    return Err(Fault::invalid("a number of rows below 0", "0 or more").into());
                }
                Ok(Self(usize::MAX))
            }
            Err(_) => Err(Fault::wrong_type("a number of rows (int)", &object).into()),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Threads {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let out_of_range =
            || Fault::invalid("parallel= is out of range", "1 to 256 threads, or None: as many as pay").into();
        if object.cast::<PyBool>().is_ok() {
            return Err(Fault::wrong_type("parallel= a number of threads (int) or None", &object).into());
        }
        match object.extract() {
            Ok(threads @ 1..=THREADS_MAX) => Ok(Self(threads)),
            Ok(_) => Err(out_of_range()),
            Err(error) if PyErr::is_instance_of::<PyOverflowError>(&error, object.py()) => Err(out_of_range()),
            Err(_) => Err(Fault::wrong_type("parallel= a number of threads (int) or None", &object).into()),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Addend {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        object.extract().map(Self).map_err(|error: PyErr| {
            if error.is_instance_of::<PyOverflowError>(object.py()) {
                return Fault::invalid("incr(): by= does not fit", "-2**64 to 2**64").into();
            }
            Fault::wrong_type("by= an int", &object).into()
        })
    }
}
