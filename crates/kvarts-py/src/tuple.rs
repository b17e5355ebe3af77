//! Tuples of Python to the bytes of `kvarts_formats::tuple` and back. `kvarts.base.tuples` says the same in Python.
use crate::codec::type_name;
use crate::fault::{Fault, Outcome};
use kvarts_formats::tuple::{Item, Reader, Refusal, VERSIONSTAMP_BYTES, Writer};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};

/// Bits of a whole number, at most.
const INT_BITS_MAX: usize = 8 * kvarts_formats::tuple::INT_BYTES_MAX;
/// Bytes of a transaction in a versionstamp; the user's two follow.
const TRANSACTION_BYTES: usize = VERSIONSTAMP_BYTES - 2;

/// Encodes a tuple.
#[pyfunction]
#[pyo3(signature = (value, /))]
pub fn tuple_pack<'py>(value: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(value.py(), &encode(value)?))
}

/// Decodes a tuple.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn tuple_unpack<'py>(py: Python<'py>, data: &[u8]) -> Outcome<Bound<'py, PyAny>> {
    decode(py, data)
}

/// Returns the bytes of a tuple. Errors: `WrongType`, `CodecError`.
pub fn encode(object: &Bound<'_, PyAny>) -> Outcome<Vec<u8>> {
    let Ok(tuple) = object.cast::<PyTuple>() else {
        let what = format!("expected tuple, got {}", type_name(object));
        return Err(Fault::Advised("WrongType", what, "a tuple of one item is written (item,)"));
    };
    let mut writer = Writer::new();
    for item in tuple.iter_borrowed() {
        push(&mut writer, &item)?;
    }
    Ok(writer.finish())
}

/// Returns the tuple of stored bytes. Errors: `CodecError`.
pub fn decode<'py>(py: Python<'py>, stored: &[u8]) -> Outcome<Bound<'py, PyAny>> {
    read_tuple(py, &mut Reader::new(stored)).map(Bound::into_any)
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Advised("CodecError", refusal.to_string(), refusal.hint())
    }
}

/// Writes an item; the writer bounds how deep this goes.
fn push(writer: &mut Writer, object: &Bound<'_, PyAny>) -> Outcome<()> {
    if let Ok(text) = object.cast::<PyString>() {
        writer.text(text.to_str().map_err(|error| Fault::Codec("the text has no UTF-8 form".to_owned(), Some(error)))?);
    } else if object.is_none() {
        writer.null();
    } else if let Ok(flag) = object.cast::<PyBool>() {
        writer.bool(flag.is_true());
    } else if let Ok(number) = object.cast::<PyInt>() {
        push_int(writer, number)?;
    } else if let Ok(bytes) = object.cast::<PyBytes>() {
        writer.bytes(bytes.as_bytes());
    } else if let Ok(number) = object.cast::<PyFloat>() {
        writer.double(number.value().to_bits());
    } else if let Ok(tuple) = object.cast::<PyTuple>() {
        writer.begin()?;
        for item in tuple.iter_borrowed() {
            push(writer, &item)?;
        }
        writer.end();
    } else if let Ok(list) = object.cast::<PyList>() {
        writer.begin()?;
        for item in list.iter() {
            push(writer, &item)?;
        }
        writer.end();
    } else {
        push_rare(writer, object)?;
    }
    Ok(())
}

fn push_int(writer: &mut Writer, number: &Bound<'_, PyInt>) -> Outcome<()> {
    if let Ok(small) = number.extract::<i64>() {
        writer.int(small < 0, small.unsigned_abs());
        return Ok(());
    }
    // Asked of `int` itself: a class that derives from it may answer otherwise.
    let py = number.py();
    let int = py.get_type::<PyInt>();
    let negative = int.call_method1(intern!(py, "__lt__"), (number, 0))?.is_truthy()?;
    let magnitude = int.call_method1(intern!(py, "__abs__"), (number,))?;
    let bits: usize = magnitude.call_method0(intern!(py, "bit_length"))?.extract()?;
    if bits > INT_BITS_MAX {
        return Err(Refusal::Large.into());
    }
    let bytes = magnitude.call_method1(intern!(py, "to_bytes"), (bits.div_ceil(8), "big"))?;
    Ok(writer.long(negative, bytes.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes())?)
}

/// Writes what is no object of the language.
fn push_rare(writer: &mut Writer, object: &Bound<'_, PyAny>) -> Outcome<()> {
    let py = object.py();
    if object.is_instance(uuid_class(py)?)? {
        writer.uuid(&object.getattr(intern!(py, "bytes"))?.extract()?);
    } else if object.is_instance(single_class(py)?)? {
        writer.single(object.getattr(intern!(py, "bits"))?.extract()?);
    } else if object.is_instance(versionstamp_class(py)?)? {
        let transaction: [u8; TRANSACTION_BYTES] = object.getattr(intern!(py, "tr_version"))?.extract()?;
        let user: u16 = object.getattr(intern!(py, "user_version"))?.extract()?;
        let mut bytes = [0; VERSIONSTAMP_BYTES];
        bytes[..TRANSACTION_BYTES].copy_from_slice(&transaction);
        bytes[TRANSACTION_BYTES..].copy_from_slice(&user.to_be_bytes());
        writer.versionstamp(&bytes)?;
    } else {
        let what = format!("a tuple holds no {}", type_name(object));
        let hint = "None, bytes, str, int, float, bool, UUID, tuples and lists of them, \
                    kvarts.codecs.SingleFloat and Versionstamp";
        return Err(Fault::Advised("WrongType", what, hint));
    }
    Ok(())
}

/// Reads up to the end of this tuple; the reader bounds how deep this goes.
fn read_tuple<'py>(py: Python<'py>, reader: &mut Reader<'_>) -> Outcome<Bound<'py, PyTuple>> {
    let mut items = Vec::new();
    loop {
        let next = reader.next().map_err(|error| {
            Fault::Advised("CodecError", format!("stored bytes are no tuple: {error}"), "open it with kvarts.Bytes")
        })?;
        match next {
            None | Some(Item::End) => return Ok(PyTuple::new(py, items)?),
            Some(Item::Begin) => items.push(read_tuple(py, reader)?.into_any()),
            Some(item) => items.push(plain_object(py, &item)?),
        }
    }
}

fn plain_object<'py>(py: Python<'py>, item: &Item<'_>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match item {
        Item::Null | Item::Begin | Item::End => py.None().into_bound(py),
        Item::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Item::Text(text) => PyString::new(py, text).into_any(),
        Item::Int { negative: false, magnitude } => PyInt::new(py, *magnitude).into_any(),
        Item::Int { negative: true, magnitude } => match 0i64.checked_sub_unsigned(*magnitude) {
            Some(number) => PyInt::new(py, number).into_any(),
            None => long_object(py, true, &magnitude.to_be_bytes())?,
        },
        Item::Long { negative, magnitude } => long_object(py, *negative, magnitude)?,
        Item::Single(bits) => single_class(py)?.call_method1(intern!(py, "from_bits"), (*bits,))?,
        Item::Double(bits) => PyFloat::new(py, f64::from_bits(*bits)).into_any(),
        Item::Bool(flag) => PyBool::new(py, *flag).to_owned().into_any(),
        Item::Uuid(bytes) => uuid_class(py)?.call1((py.None(), PyBytes::new(py, bytes)))?,
        Item::Versionstamp(bytes) => {
            let (transaction, user) = bytes.split_at(TRANSACTION_BYTES);
            let user = u16::from_be_bytes(user.try_into().expect("the two bytes that are left"));
            versionstamp_class(py)?.call1((PyBytes::new(py, transaction), user))?
        }
    })
}

fn long_object<'py>(py: Python<'py>, negative: bool, magnitude: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let int = py.get_type::<PyInt>();
    let number = int.call_method1(intern!(py, "from_bytes"), (PyBytes::new(py, magnitude), "big"))?;
    if negative { number.neg() } else { Ok(number) }
}

fn uuid_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "uuid", "UUID")
}

fn single_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "kvarts.base.tuples", "SingleFloat")
}

fn versionstamp_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "kvarts.base.tuples", "Versionstamp")
}
