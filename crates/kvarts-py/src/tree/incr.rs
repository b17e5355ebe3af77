//! Counting: U64 and decimal text in Rust under the write lock, other codecs by compare and set.
use super::Tree;
use crate::codec::Codec;
use crate::condition::Condition;
use crate::fault::{Fault, Outcome};
use kvarts_engine::Revision;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};

/// What a key counts from: its number, and its expiry, which stays.
struct Count {
    sum: i128,
    expiry_ms: Option<u64>,
}

impl Tree {
    /// Adds to the number under a key and returns the sum.
    pub(super) fn add<'py>(&self, key: &Bound<'py, PyAny>, by: i128) -> Outcome<Bound<'py, PyAny>> {
        let encoded = self.encode_key_to_write(key)?;
        match self.value {
            Codec::Custom { .. } | Codec::Tuple => self.add_by_codec(key.py(), &encoded, by),
            _ => Ok(self.add_native(key.py(), &encoded, by)?.into_pyobject(key.py()).map_err(PyErr::from)?.into_any()),
        }
    }

    fn add_native(&self, py: Python<'_>, key: &[u8], by: i128) -> Outcome<i128> {
        let db = self.writable()?;
        let (sum, _) = py.detach(|| {
            db.update(|view, batch| {
                let count = view.get(&self.tree, key, |entry| {
                    let Some(entry) = entry else { return Ok::<_, Fault>(Count { sum: 0, expiry_ms: None }) };
                    Ok(Count { sum: number_of(&self.value, entry.value)?, expiry_ms: entry.expiry_ms })
                })??;
                let sum = count.sum.checked_add(by).ok_or_else(|| does_not_fit(&self.value))?;
                self.add_put(batch, key, &bytes_of(&self.value, sum)?, count.expiry_ms);
                Ok::<_, Fault>(sum)
            })
        })?;
        Ok(sum)
    }

    /// Reads, adds in Python and writes if nobody wrote in between; again if somebody did.
    fn add_by_codec<'py>(&self, py: Python<'py>, key: &[u8], by: i128) -> Outcome<Bound<'py, PyAny>> {
        let db = self.writable()?;
        loop {
            let found = py.detach(|| {
                db.get(&self.tree, key, None, |entry| {
                    entry.map(|entry| (entry.value.to_vec(), entry.revision, entry.expiry_ms))
                })
            })?;
            let (start, condition, expiry_ms) = match found {
                Some((stored, revision, expiry_ms)) => (Some(stored), at(revision), expiry_ms),
                None => (None, Condition::Absent, None),
            };
            let start = start.map(|stored| self.value.decode(py, &stored)).transpose()?;
            let sum = match start {
                Some(start) if start.is_instance_of::<PyInt>() && !start.is_instance_of::<PyBool>() => start.add(by)?,
                Some(start) => return Err(no_number(&start.to_string())),
                None => by.into_pyobject(py).map_err(PyErr::from)?.into_any(),
            };
            let value = self.encode_value(&sum)?.to_vec();
            match self.put_bytes_if(py, key, &value, expiry_ms, &condition) {
                Err(Fault::Condition(_)) => py.check_signals()?,
                done => return done.map(|_| sum),
            }
        }
    }
}

fn at(revision: Revision) -> Condition {
    Condition::AtRevision(revision)
}

fn number_of(codec: &Codec, stored: &[u8]) -> Outcome<i128> {
    if let Codec::U64 = codec {
        let word = stored.try_into().map_err(|_| no_number(&format!("{} bytes", stored.len())))?;
        return Ok(i128::from(u64::from_be_bytes(word)));
    }
    let text = str::from_utf8(stored).unwrap_or("bytes that are no text");
    text.parse::<i64>().map(i128::from).map_err(|_| no_number(text))
}

fn bytes_of(codec: &Codec, sum: i128) -> Outcome<Vec<u8>> {
    match codec {
        Codec::U64 => match u64::try_from(sum) {
            Ok(sum) => Ok(sum.to_be_bytes().to_vec()),
            Err(_) => Err(does_not_fit(codec)),
        },
        _ => match i64::try_from(sum) {
            Ok(sum) => Ok(sum.to_string().into_bytes()),
            Err(_) => Err(does_not_fit(codec)),
        },
    }
}

fn does_not_fit(codec: &Codec) -> Fault {
    let range = if let Codec::U64 = codec { "0 to 2**64 - 1" } else { "-2**63 to 2**63 - 1" };
    Fault::invalid("incr(): the sum does not fit", range)
}

fn no_number(found: &str) -> Fault {
    let shown: String = found.chars().take(40).collect();
    Fault::Codec(format!("incr(): the value is no whole number: {shown}"), None)
}
