//! Keys and values to bytes and back. Bytes, Str, U64 and Tuple are done here; any other codec is two Python functions.
use crate::fault::{Fault, Outcome};
use crate::tuple;
use pyo3::exceptions::{PyException, PyOverflowError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyInt, PyMemoryView, PyString, PyTuple};
use std::ops::Deref;

/// How keys or values of a tree become bytes.
pub enum Codec {
    /// Bytes as they are.
    Bytes,
    /// UTF-8.
    Str,
    /// 8 bytes, big-endian.
    U64,
    /// Tuples, in bytes that sort as they do.
    Tuple,
    /// A codec in Python.
    Custom {
        /// Value to bytes.
        encode: Py<PyAny>,
        /// Bytes to value.
        decode: Py<PyAny>,
    },
}

/// Encoded bytes, borrowed from the Python object where they can be.
pub enum Encoded<'a, 'py> {
    /// Of an immutable object that the caller holds.
    Borrowed(&'a [u8]),
    /// A number.
    Word([u8; 8]),
    /// What a codec in Python returned.
    Object(Bound<'py, PyBytes>),
    /// A copy.
    Owned(Vec<u8>),
}

impl Deref for Encoded<'_, '_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Word(word) => word,
            Self::Object(object) => object.as_bytes(),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// A stored value on its way to Python: made while the engine's row is borrowed, finished after.
pub struct Raw<'py>(Outcome<Bound<'py, PyAny>>);

impl Codec {
    /// Takes the codec from "bytes", "str", "u64", "tuple" or a pair of functions (encode, decode).
    pub fn from_python(given: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(pair) = given.cast::<PyTuple>() {
            let (encode, decode) = pair.extract()?;
            return Ok(Self::Custom { encode, decode });
        }
        match given.extract::<&str>()? {
            "bytes" => Ok(Self::Bytes),
            "str" => Ok(Self::Str),
            "u64" => Ok(Self::U64),
            "tuple" => Ok(Self::Tuple),
            other => Err(Fault::invalid(format!("no native codec {other:?}"), "bytes, str, u64 or tuple").into()),
        }
    }

    /// Returns the same codec.
    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Bytes => Self::Bytes,
            Self::Str => Self::Str,
            Self::U64 => Self::U64,
            Self::Tuple => Self::Tuple,
            Self::Custom { encode, decode } => {
                Self::Custom { encode: encode.clone_ref(py), decode: decode.clone_ref(py) }
            }
        }
    }

    /// Encodes an object. Errors: `WrongType`, `CodecError`.
    #[inline]
    pub fn encode<'a, 'py>(&self, object: &'a Bound<'py, PyAny>) -> Outcome<Encoded<'a, 'py>> {
        match self {
            Self::Bytes => match object.cast::<PyBytes>() {
                Ok(bytes) => Ok(Encoded::Borrowed(bytes.as_bytes())),
                Err(_) => copy_buffer(object),
            },
            Self::Str => match object.cast::<PyString>() {
                Ok(text) => match text.to_str() {
                    Ok(text) => Ok(Encoded::Borrowed(text.as_bytes())),
                    Err(error) => Err(Fault::Codec("the text has no UTF-8 form".to_owned(), Some(error))),
                },
                Err(_) => Err(Fault::not_of_codec("str", object)),
            },
            Self::U64 => encode_u64(object),
            Self::Tuple => tuple::encode(object).map(Encoded::Owned),
            Self::Custom { encode, .. } => encode_custom(encode, object),
        }
    }

    /// Makes the object of stored bytes, except that a codec in Python is not called yet, nor a tuple made: either may
    /// run code of the user's, and the engine's row is borrowed.
    #[inline]
    pub fn start<'py>(&self, py: Python<'py>, stored: &[u8]) -> Raw<'py> {
        Raw(match self {
            Self::Bytes | Self::Tuple | Self::Custom { .. } => Ok(PyBytes::new(py, stored).into_any()),
            Self::Str => match PyString::from_bytes(py, stored) {
                Ok(text) => Ok(text.into_any()),
                Err(error) => Err(Fault::Codec("stored bytes are not UTF-8".to_owned(), Some(error))),
            },
            Self::U64 => decode_u64(py, stored),
        })
    }

    /// Ends what `start` began.
    #[inline]
    pub fn finish<'py>(&self, py: Python<'py>, raw: Raw<'py>) -> Outcome<Bound<'py, PyAny>> {
        match self {
            Self::Tuple => tuple::decode(py, raw.0?.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes()),
            Self::Custom { decode, .. } => {
                let bytes = raw.0?;
                decode.bind(py).call1((bytes,)).map_err(|error| codec_fault(py, error, "could not decode stored bytes"))
            }
            _ => raw.0,
        }
    }

    /// Makes the object of stored bytes.
    #[inline]
    pub fn decode<'py>(&self, py: Python<'py>, stored: &[u8]) -> Outcome<Bound<'py, PyAny>> {
        match self {
            Self::Bytes => Ok(PyBytes::new(py, stored).into_any()),
            _ => self.decode_other(py, stored),
        }
    }

    #[inline(never)]
    fn decode_other<'py>(&self, py: Python<'py>, stored: &[u8]) -> Outcome<Bound<'py, PyAny>> {
        if let Self::Tuple = self { tuple::decode(py, stored) } else { self.finish(py, self.start(py, stored)) }
    }

    /// Tells whether keys that begin alike also have bytes that begin alike.
    pub fn has_prefixes(&self) -> bool {
        matches!(self, Self::Bytes | Self::Str | Self::Tuple)
    }

    /// The first bytes after those of all keys that begin with `prefix`; `None` where there are none.
    pub fn after(&self, mut prefix: Vec<u8>) -> Option<Vec<u8>> {
        if let Self::Tuple = self {
            // No item begins with 0xff; behind a text's end it would make a longer text of it: ("a",) and ("a\0b",).
            prefix.push(u8::MAX);
            return Some(prefix);
        }
        while let Some(last) = prefix.pop() {
            if last < u8::MAX {
                prefix.push(last + 1);
                return Some(prefix);
            }
        }
        None
    }
}

/// Name of an object's type.
pub fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}

#[cold]
fn copy_buffer<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Outcome<Encoded<'a, 'py>> {
    if let Ok(array) = object.cast::<PyByteArray>() {
        return Ok(Encoded::Owned(array.to_vec()));
    }
    if object.cast::<PyMemoryView>().is_ok() {
        let bytes = object.call_method0("tobytes")?;
        return Ok(Encoded::Owned(bytes.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes().to_vec()));
    }
    Err(Fault::not_of_codec("bytes", object))
}

fn encode_u64<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Outcome<Encoded<'a, 'py>> {
    if object.cast::<PyInt>().is_err() {
        return Err(Fault::not_of_codec("int", object));
    }
    match object.extract::<u64>() {
        Ok(number) => Ok(Encoded::Word(number.to_be_bytes())),
        Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
            Err(Fault::invalid("the number does not fit a U64", "0 to 2**64 - 1"))
        }
        Err(error) => Err(error.into()),
    }
}

fn decode_u64<'py>(py: Python<'py>, stored: &[u8]) -> Outcome<Bound<'py, PyAny>> {
    match stored.try_into() {
        Ok(word) => Ok(PyInt::new(py, u64::from_be_bytes(word)).into_any()),
        Err(_) => Err(Fault::Codec(format!("a U64 has 8 bytes, {} are stored", stored.len()), None)),
    }
}

fn encode_custom<'a, 'py>(encode: &Py<PyAny>, object: &'a Bound<'py, PyAny>) -> Outcome<Encoded<'a, 'py>> {
    let py = object.py();
    let encoded = encode
        .bind(py)
        .call1((object,))
        .map_err(|error| codec_fault(py, error, &format!("could not encode a value of type {}", type_name(object))))?;
    encoded.cast_into::<PyBytes>().map(Encoded::Object).map_err(|error| {
        Fault::Codec(format!("encode() must return bytes, it returned {}", type_name(&error.into_inner())), None)
    })
}

/// Wraps what a codec raised, unless it is ours already or no `Exception` (a keyboard interrupt).
fn codec_fault(py: Python<'_>, error: PyErr, message: &str) -> Fault {
    let ours = py
        .import("kvarts.base.errors")
        .and_then(|errors| errors.getattr("KvartsError"))
        .is_ok_and(|class| error.matches(py, &class).unwrap_or(false));
    if ours || !error.is_instance_of::<PyException>(py) {
        return Fault::Python(error);
    }
    Fault::Codec(message.to_owned(), Some(error))
}
