//! Writes of many rows, taken from Python one request at a time.
use super::request::{self, Request};
use crate::codec::{Codec, Encoded};
use crate::fault::{Fault, Outcome};
use crate::rows::{CHUNK_BYTES, ROW_OVERHEAD_BYTES, ROWS_PER_CHECK, each_of, pair_of};
use crate::tree::check_key_bytes;
use bytes::Bytes;
use kvarts_serve::client::Span;
use kvarts_wire::v1;
use pyo3::prelude::*;
use pyo3::types::PyIterator;
use std::mem;

/// Of one value: what a node takes as one message.
const VALUE_BYTES_MAX: usize = 8 << 20;

/// An iterator of requests that together write the rows of an iterable, in their order.
///
/// `value` None: the items are keys, to delete. An error ends it; what it returned before stands.
#[pyclass(module = "kvarts._native")]
pub struct Rows {
    space: u32,
    prefix: Vec<u8>,
    key: Codec,
    value: Option<Codec>,
    items: Py<PyIterator>,
    /// The row that did not fit into the last request.
    spare: Option<Row>,
    taken: usize,
}

struct Row {
    operation: v1::Operation,
    bytes: usize,
}

#[pymethods]
impl Rows {
    /// Codecs as `Tree` takes them. Errors: `WrongType` where nothing can be taken from `items`.
    #[new]
    #[pyo3(signature = (space, prefix, key, value, items, /))]
    fn new(
        space: u32,
        prefix: &[u8],
        key: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        items: &Bound<'_, PyAny>,
    ) -> Outcome<Self> {
        let what = if value.is_some() { "a mapping or (key, value) pairs" } else { "keys" };
        let items = each_of(items, what)?.unbind();
        let (key, value) = (Codec::from_python(key)?, value.map(Codec::from_python).transpose()?);
        Ok(Self { space, prefix: prefix.to_vec(), key, value, items, spare: None, taken: 0 })
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> Outcome<Option<Request>> {
        let first = mem::take(&mut self.spare);
        let mut bytes = first.as_ref().map_or(0, |row| row.bytes);
        let mut operations: Vec<v1::Operation> = first.into_iter().map(|row| row.operation).collect();
        let items = self.items.bind(py).clone();
        for item in items {
            if self.taken.is_multiple_of(ROWS_PER_CHECK) {
                py.check_signals()?;
            }
            self.taken += 1;
            let row = self.row(item?)?;
            if !operations.is_empty() && bytes + row.bytes > CHUNK_BYTES {
                self.spare = Some(row);
                break;
            }
            bytes += row.bytes;
            operations.push(row.operation);
        }
        Ok((!operations.is_empty()).then(|| Request::command(operations, None, Span::Any)))
    }
}

impl Rows {
    fn row(&self, item: Bound<'_, PyAny>) -> Outcome<Row> {
        let Some(codec) = &self.value else {
            let key = self.key(&item)?;
            let bytes = key.len() + ROW_OVERHEAD_BYTES;
            let delete = v1::Delete { keyspace: self.space, key, condition: None };
            return Ok(Row { operation: request::operation(v1::operation::Kind::Delete(delete)), bytes });
        };
        let pair = pair_of(item)?;
        let (key, value) = (pair.get_borrowed_item(0)?.to_owned(), pair.get_borrowed_item(1)?.to_owned());
        let (key, value) = (self.key(&key)?, value_bytes(&codec.encode(&value)?)?);
        let bytes = key.len() + value.len() + ROW_OVERHEAD_BYTES;
        let put = v1::Put { keyspace: self.space, key, value, ..v1::Put::default() };
        Ok(Row { operation: request::operation(v1::operation::Kind::Put(put)), bytes })
    }

    fn key(&self, key: &Bound<'_, PyAny>) -> Outcome<Bytes> {
        let encoded = self.key.encode(key)?;
        check_key_bytes(self.prefix.len() + encoded.len())?;
        if self.prefix.is_empty() {
            return Ok(Bytes::copy_from_slice(&encoded));
        }
        Ok(Bytes::from([&self.prefix[..], &encoded].concat()))
    }
}

fn value_bytes(encoded: &Encoded<'_, '_>) -> Outcome<Bytes> {
    if encoded.len() > VALUE_BYTES_MAX {
        let what = format!("a value of {} bytes is over 8 MiB", encoded.len());
        return Err(Fault::Limit(what, "store it in parts under several keys"));
    }
    Ok(Bytes::copy_from_slice(encoded))
}
