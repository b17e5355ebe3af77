//! Why a call fails, before it is an exception: made without the interpreter, turned into `kvarts.base.errors` at the end.
use crate::codec::type_name;
use kvarts_engine::{Error, Revision};
use kvarts_wire::v1;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule, PyType};

/// Characters of a key or value that a message shows.
const SHOWN_CHARS_MAX: usize = 80;

/// Result of a call that may fail.
pub type Outcome<T> = Result<T, Fault>;

/// Why a call fails.
pub enum Fault {
    /// The engine says so.
    Engine(Error),
    /// A key, value or batch is too small or too large; what to do instead.
    Limit(String, &'static str),
    /// A codec failed; what it raised.
    Codec(String, Option<PyErr>),
    /// `if_=` did not hold: the value found and its revision.
    Condition(Option<(Vec<u8>, Revision)>),
    /// An error of the tree in `kvarts.base.errors` that takes a message only, by its name for `from_engine`.
    Plain(&'static str, String),
    /// The same with what to do instead.
    Advised(&'static str, String, &'static str),
    /// A node, or the client, says so: the error's kind names the class in `kvarts.base.errors`.
    Remote(Box<v1::Error>),
    /// An exception as it is.
    Python(PyErr),
}

impl Fault {
    /// An argument that cannot be.
    pub fn invalid(what: impl Into<String>, hint: &str) -> Self {
        Self::Engine(Error::invalid(what, hint))
    }

    /// An argument of another type than the call takes.
    pub fn wrong_type(expected: &str, given: &Bound<'_, PyAny>) -> Self {
        Self::Plain("WrongType", format!("expected {expected}, got {}", type_name(given)))
    }

    /// A key or value that the codec does not take: said with the way to others.
    pub fn not_of_codec(expected: &str, given: &Bound<'_, PyAny>) -> Self {
        Self::Plain("NotOfCodec", format!("expected {expected}, got {}", type_name(given)))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<Fault> for PyErr {
    #[cold]
    fn from(fault: Fault) -> Self {
        Python::attach(|py| to_exception(py, fault).unwrap_or_else(|error| error))
    }
}

/// The exception for a key that is absent.
#[cold]
pub fn key_not_found(key: &Bound<'_, PyAny>) -> Fault {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match CLASS.import(key.py(), "kvarts.base.errors", "KeyNotFound") {
        Ok(class) => Fault::Python(PyErr::from_type(class.clone(), (key.clone().unbind(),))),
        Err(error) => Fault::Python(error),
    }
}

/// The exception for a condition that did not hold; `entry` is an `Entry` or `None`.
#[cold]
pub fn condition_failed(key: &Bound<'_, PyAny>, condition: &Bound<'_, PyAny>, entry: Bound<'_, PyAny>) -> Fault {
    let py = key.py();
    let raised = || {
        let found = if entry.is_none() {
            "the key is absent".to_owned()
        } else {
            format!("the key has {}, of revision {}", shown(&entry.get_item(0)?)?, entry.get_item(1)?)
        };
        let message = format!("put({}, if_={}): {found}", shown(key)?, shown(condition)?);
        let fields = PyDict::new(py);
        fields.set_item(intern!(py, "entry"), entry)?;
        raise(py, "ConditionFailed", &message, &fields)
    };
    Fault::Python(raised().unwrap_or_else(|error| error))
}

/// The `repr` of an object, cut short.
fn shown(object: &Bound<'_, PyAny>) -> PyResult<String> {
    let whole = object.repr()?.to_string();
    let cut: String = whole.chars().take(SHOWN_CHARS_MAX).collect();
    Ok(if cut.len() < whole.len() { cut + "..." } else { cut })
}

/// The same, or its type where it has no `repr`: Python gives none to ints of thousands of digits.
pub fn shown_or_type(object: &Bound<'_, PyAny>) -> String {
    shown(object).unwrap_or_else(|_| format!("<{}>", type_name(object)))
}

fn to_exception(py: Python<'_>, fault: Fault) -> PyResult<PyErr> {
    let fields = PyDict::new(py);
    match fault {
        Fault::Python(error) => Ok(error),
        Fault::Engine(error) => from_engine(py, &error),
        Fault::Plain(kind, message) => raise(py, kind, &message, &fields),
        Fault::Advised(kind, message, hint) => {
            fields.set_item("hint", hint)?;
            raise(py, kind, &message, &fields)
        }
        Fault::Limit(message, hint) => {
            fields.set_item("hint", hint)?;
            raise(py, "LimitExceeded", &message, &fields)
        }
        Fault::Condition(_) => raise(py, "InvalidArgument", "a condition failed", &fields),
        Fault::Remote(error) => from_wire(py, &error),
        Fault::Codec(message, cause) => {
            let error = raise(py, "CodecError", &message, &fields)?;
            error.set_cause(py, cause);
            Ok(error)
        }
    }
}

fn from_engine(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let fields = PyDict::new(py);
    let kind = match error {
        Error::InvalidArgument { hint, .. } => {
            fields.set_item("hint", hint)?;
            "InvalidArgument"
        }
        Error::Closed => "Closed",
        Error::ReadOnly(_) => "OpenedToRead",
        Error::Locked { holder, path } => {
            fields.set_item("holder", holder)?;
            fields.set_item("path", path.display().to_string())?;
            "Locked"
        }
        Error::NotFound(path) => {
            fields.set_item("path", path.as_os_str())?;
            "NotFound"
        }
        Error::Corruption { file, offset, .. } => {
            fields.set_item("file", file.display().to_string())?;
            fields.set_item("offset", offset)?;
            "Corruption"
        }
        Error::NewerFormat { found, supported, .. } => {
            fields.set_item("found", found)?;
            fields.set_item("supported", supported)?;
            "NewerFormat"
        }
        Error::KeyMissing { path, needed } => {
            fields.set_item("path", path.display().to_string())?;
            fields.set_item("needed", format!("{needed:016x}"))?;
            "KeyMissing"
        }
        Error::WrongKey { path, needed, given } => {
            fields.set_item("path", path.display().to_string())?;
            fields.set_item("needed", format!("{needed:016x}"))?;
            fields.set_item("given", format!("{given:016x}"))?;
            "WrongKey"
        }
        Error::NotEncrypted(path) => {
            fields.set_item("path", path.display().to_string())?;
            "NotEncrypted"
        }
        Error::StorageFull(path) => {
            fields.set_item("path", path.as_os_str())?;
            "StorageFull"
        }
        Error::Poisoned(_) => "Poisoned",
        Error::Unsafe { path, hint, .. } => {
            fields.set_item("path", path.as_os_str())?;
            fields.set_item("hint", hint)?;
            "Unsafe"
        }
        Error::Io { path, source, .. } => {
            fields.set_item("path", path.as_os_str())?;
            fields.set_item("errno", source.raw_os_error())?;
            "Io"
        }
        _ => "Unknown",
    };
    raise(py, kind, &error.to_string(), &fields)
}

/// Asks `kvarts.base.errors.from_wire` for the exception.
fn from_wire(py: Python<'_>, error: &v1::Error) -> PyResult<PyErr> {
    let errors = PyModule::import(py, intern!(py, "kvarts.base.errors"))?;
    let fields = (&error.kind, &error.message, &error.hint, error.maybe_applied, &error.leader_address);
    Ok(PyErr::from_value(errors.call_method1(intern!(py, "from_wire"), fields)?))
}

/// Asks `kvarts.base.errors.from_engine` for the exception.
fn raise(py: Python<'_>, kind: &str, message: &str, fields: &Bound<'_, PyDict>) -> PyResult<PyErr> {
    let errors = PyModule::import(py, intern!(py, "kvarts.base.errors"))?;
    let error = errors.call_method1(intern!(py, "from_engine"), (kind, message, fields))?;
    Ok(PyErr::from_value(error))
}
