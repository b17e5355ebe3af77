//! Schemas and arrays of ours as structs of the Arrow C data interface.
use super::abi::{ArrowArray, ArrowSchema};
use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};

/// A column on its way out.
pub(super) enum Column {
    /// Binary or text: where each ends, from 0 on, and the bytes.
    Bytes(Vec<i32>, Vec<u8>),
    /// Numbers.
    Numbers(Vec<u64>),
}

/// Gets the memory of a column back once nobody reads it.
pub(super) type GiveBack = Box<dyn FnOnce(Column) + Send>;

/// What a schema points to.
struct OwnSchema {
    children: Vec<*mut ArrowSchema>,
}

/// What an array points to.
struct OwnArray {
    buffers: Vec<*const c_void>,
    children: Vec<*mut ArrowArray>,
    column: Option<(Column, GiveBack)>,
}

/// Returns a schema of `fields`, each a name and a format.
pub(super) fn schema(fields: &[(&'static CStr, &'static CStr)]) -> ArrowSchema {
    let child =
        |&(name, format): &(&'static CStr, &'static CStr)| Box::into_raw(Box::new(plain_schema(name, format, &[])));
    let children: Vec<_> = fields.iter().map(child).collect();
    plain_schema(c"", c"+s", &children)
}

fn plain_schema(name: &'static CStr, format: &'static CStr, children: &[*mut ArrowSchema]) -> ArrowSchema {
    let mut own = Box::new(OwnSchema { children: children.to_vec() });
    ArrowSchema {
        format: format.as_ptr(),
        name: name.as_ptr(),
        metadata: null(),
        // No column has nulls.
        flags: 0,
        n_children: children.len() as i64,
        children: own.children.as_mut_ptr(),
        dictionary: null_mut(),
        release: Some(release_schema),
        private_data: Box::into_raw(own).cast(),
    }
}

/// Returns an array of structs with these columns, all of `rows` rows.
pub(super) fn array(rows: usize, columns: Vec<(Column, GiveBack)>) -> ArrowArray {
    let child = |(column, give_back): (Column, GiveBack)| {
        let buffers = match &column {
            Column::Bytes(ends, bytes) => vec![null(), ends.as_ptr().cast(), bytes.as_ptr().cast()],
            Column::Numbers(numbers) => vec![null(), numbers.as_ptr().cast()],
        };
        let own = OwnArray { buffers, children: Vec::new(), column: Some((column, give_back)) };
        Box::into_raw(Box::new(plain_array(rows, own)))
    };
    let children = columns.into_iter().map(child).collect();
    plain_array(rows, OwnArray { buffers: vec![null()], children, column: None })
}

fn plain_array(rows: usize, own: OwnArray) -> ArrowArray {
    let mut own = Box::new(own);
    ArrowArray {
        length: rows as i64,
        null_count: 0,
        offset: 0,
        n_buffers: own.buffers.len() as i64,
        n_children: own.children.len() as i64,
        buffers: own.buffers.as_mut_ptr().cast_const(),
        children: own.children.as_mut_ptr(),
        dictionary: null_mut(),
        release: Some(release_array),
        private_data: Box::into_raw(own).cast(),
    }
}

/// An array that is released already: what a stream gives at its end.
pub(super) fn no_array() -> ArrowArray {
    ArrowArray {
        length: 0,
        null_count: 0,
        offset: 0,
        n_buffers: 0,
        n_children: 0,
        buffers: null(),
        children: null_mut(),
        dictionary: null_mut(),
        release: None,
        private_data: null_mut(),
    }
}

unsafe extern "C" fn release_schema(schema: *mut ArrowSchema) {
    // SAFETY: the caller holds a schema of ours that was not released, so `private_data` is the box that `plain_schema` made.
    let (schema, own) = unsafe { (&mut *schema, Box::from_raw((*schema).private_data.cast::<OwnSchema>())) };
    for child in &own.children {
        // SAFETY: the box that `schema` made; one whose holder moved it out has no `release` any more.
        drop(unsafe { Box::from_raw(*child) });
    }
    schema.release = None;
}

unsafe extern "C" fn release_array(array: *mut ArrowArray) {
    // SAFETY: as for a schema, of `plain_array`.
    let (array, mut own) = unsafe { (&mut *array, Box::from_raw((*array).private_data.cast::<OwnArray>())) };
    for child in &own.children {
        // SAFETY: as for a schema, of `array`.
        drop(unsafe { Box::from_raw(*child) });
    }
    array.release = None;
    if let Some((column, give_back)) = own.column.take() {
        give_back(column);
    }
}
