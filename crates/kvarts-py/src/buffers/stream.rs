//! A stream of record batches as the Arrow C stream interface has it.
use super::abi::{ArrowArray, ArrowArrayStream, ArrowSchema};
use super::export::{self, Column};
use kvarts_engine::db::{Batch, ColumnOf, Spares};
use std::ffi::{CStr, CString, c_char, c_int};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null;
use std::sync::{Arc, Weak};

/// `EIO`: the code of every error; the message says what it is.
const FAILED: c_int = 5;

/// The columns of a stream: which there are, and whether keys and values are text.
#[derive(Clone, Copy)]
pub struct Layout {
    /// Keys, and whether they are UTF-8.
    pub key: Option<bool>,
    /// Values, and whether they are UTF-8.
    pub value: Option<bool>,
    /// Revisions.
    pub revision: bool,
}

impl Layout {
    /// Returns it as a schema.
    pub fn schema(self) -> ArrowSchema {
        let text = |is_text| if is_text { c"u" } else { c"z" };
        let mut fields = Vec::new();
        fields.extend(self.key.map(|is_text| (c"key", text(is_text))));
        fields.extend(self.value.map(|is_text| (c"value", text(is_text))));
        fields.extend(self.revision.then_some((c"revision", c"L")));
        export::schema(&fields)
    }
}

/// Makes the batches of a stream. Called by one thread at a time, by any, without the interpreter; so is its drop.
pub trait Producer: Send + 'static {
    /// Who takes memory back that nobody reads any more, if there is any.
    fn spares(&self) -> Option<&Arc<Spares>>;
    /// Returns the next batch, or `None` at the end. After an error it is not called again.
    fn next(&mut self) -> Result<Option<Batch>, String>;
}

struct Own {
    layout: Layout,
    producer: Box<dyn Producer>,
    is_done: bool,
    error: CString,
}

/// Returns a stream of what `producer` makes.
pub fn open(layout: Layout, producer: impl Producer) -> ArrowArrayStream {
    let own = Own { layout, producer: Box::new(producer), is_done: false, error: CString::default() };
    ArrowArrayStream {
        get_schema: Some(get_schema),
        get_next: Some(get_next),
        get_last_error: Some(get_last_error),
        release: Some(release),
        private_data: Box::into_raw(Box::new(own)).cast(),
    }
}

impl Own {
    fn next(&mut self) -> Result<ArrowArray, String> {
        if self.is_done {
            return Ok(export::no_array());
        }
        self.is_done = true;
        let Some(batch) = self.producer.next()? else { return Ok(export::no_array()) };
        let array = export_batch(self.layout, batch, self.producer.spares())?;
        self.is_done = false;
        Ok(array)
    }

    fn fail(&mut self, message: String) -> c_int {
        self.error = CString::new(message.replace('\0', " ")).unwrap_or_default();
        FAILED
    }
}

fn export_batch(layout: Layout, batch: Batch, spares: Option<&Arc<Spares>>) -> Result<ArrowArray, String> {
    let (mut columns, mut rows): (Vec<(Column, export::GiveBack)>, usize) = (Vec::new(), 0);
    let Batch { keys, key_ends, values, value_ends, revisions, .. } = batch;
    let parts = [
        (layout.key, ColumnOf::Keys, "key", key_ends, keys),
        (layout.value, ColumnOf::Values, "value", value_ends, values),
    ];
    for (kind, of, name, ends, bytes) in parts {
        let Some(is_text) = kind else { continue };
        if is_text {
            check_text(name, &ends, &bytes)?;
        }
        rows = ends.len() - 1;
        let spares: Option<Weak<Spares>> = spares.map(Arc::downgrade);
        let give_back = move |column| {
            if let (Column::Bytes(ends, bytes), Some(spares)) = (column, spares.and_then(|spares| spares.upgrade())) {
                spares.give(of, (ends, bytes));
            }
        };
        columns.push((Column::Bytes(ends, bytes), Box::new(give_back)));
    }
    if layout.revision {
        let numbers: Vec<u64> = revisions.into_iter().map(|revision| revision.0).collect();
        rows = numbers.len();
        columns.push((Column::Numbers(numbers), Box::new(drop)));
    }
    Ok(export::array(rows, columns))
}

/// Readers of Arrow take text to be UTF-8 without a look.
fn check_text(name: &str, ends: &[i32], bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes);
    match text {
        Ok(text) if ends.iter().all(|&end| text.is_char_boundary(end as usize)) => Ok(()),
        _ => Err(format!(
            "CodecError: a {name} is not UTF-8, though its codec is Str; open the keyspace with kvarts.Bytes"
        )),
    }
}

/// Runs `call` on what a stream owns; a panic is an error like another.
fn guarded(own: &mut Own, call: impl FnOnce(&mut Own) -> Result<(), String>) -> c_int {
    match catch_unwind(AssertUnwindSafe(|| call(own))) {
        Ok(Ok(())) => 0,
        Ok(Err(message)) => own.fail(message),
        Err(_) => own.fail("a panic in kvarts: report it, it is a bug".to_owned()),
    }
}

unsafe extern "C" fn get_schema(stream: *mut ArrowArrayStream, out: *mut ArrowSchema) -> c_int {
    // SAFETY: the caller holds a stream of ours that was not released, so `private_data` is the box that `open` made.
    let own = unsafe { &mut *(*stream).private_data.cast::<Own>() };
    guarded(own, |own| {
        // SAFETY: the caller gives room for a schema, in which there is none yet.
        unsafe { out.write(own.layout.schema()) };
        Ok(())
    })
}

unsafe extern "C" fn get_next(stream: *mut ArrowArrayStream, out: *mut ArrowArray) -> c_int {
    // SAFETY: as in `get_schema`.
    let own = unsafe { &mut *(*stream).private_data.cast::<Own>() };
    guarded(own, |own| {
        let array = own.next()?;
        // SAFETY: the caller gives room for an array, in which there is none yet.
        unsafe { out.write(array) };
        Ok(())
    })
}

unsafe extern "C" fn get_last_error(stream: *mut ArrowArrayStream) -> *const c_char {
    // SAFETY: as in `get_schema`.
    let own = unsafe { &*(*stream).private_data.cast::<Own>() };
    let error: &CStr = &own.error;
    if error.is_empty() { null() } else { error.as_ptr() }
}

unsafe extern "C" fn release(stream: *mut ArrowArrayStream) {
    // SAFETY: as in `get_schema`; it is called once.
    let own = unsafe { Box::from_raw((*stream).private_data.cast::<Own>()) };
    // SAFETY: the caller holds the stream.
    unsafe { (*stream).release = None };
    // A panic must not leave this function.
    mem::drop(catch_unwind(AssertUnwindSafe(|| drop(own))));
}
