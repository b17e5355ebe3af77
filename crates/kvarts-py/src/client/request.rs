//! Requests, made of plain objects: what is asked, of which node, and the shape of the answer.
use crate::arguments::revision_of;
use crate::fault::{Fault, Outcome};
use bytes::Bytes;
use kvarts_serve::client::{Aim, Cursor as Native, Request as Ask, Span, Unary, Wish};
use kvarts_wire::v1;
use kvarts_wire::v1::condition::Kind as ConditionKind;
use kvarts_wire::v1::operation::Kind as OperationKind;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::Arc;

/// (level, max_staleness_ms, revision, now_ms): `kvarts.v1.Freshness`.
type Fresh = (i32, u64, u64, u64);
/// (space, key, value or None to delete, ttl_ms).
type Row<'py> = (u32, Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>, u64);
/// (kind, argument) as in `kvarts.base.types.Condition`, the argument encoded.
type Given<'py> = (u8, Bound<'py, PyAny>);

/// What an answer becomes in Python.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Value or None.
    Value,
    /// (value, revision) or None.
    Entry,
    /// True or False.
    Exists,
    /// (list of values or Nones, revision, now_ms).
    Many,
    /// (revision, now_ms).
    Moment,
    /// (keys, values, more).
    Page,
    /// A `Page`: rows in columns, with their expiries.
    Rows,
    /// A number of rows.
    Count,
    /// As the answer is.
    Whole,
}

/// A request. Immutable: it may be sent again.
#[pyclass(frozen, module = "kvarts._native")]
pub struct Request {
    ask: Ask,
    aim: Aim,
    shape: Shape,
}

impl Request {
    pub fn request(&self) -> Ask {
        self.ask.clone()
    }

    pub fn aim(&self) -> Aim {
        self.aim.clone()
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    fn read(space: u32, keys: Vec<Bytes>, fresh: Option<Fresh>, shape: Shape) -> Self {
        let keys_only = matches!(shape, Shape::Exists);
        let request = v1::GetRequest { keyspace: space, keys, freshness: freshness(fresh), keys_only, owner: None };
        Self { ask: Ask::Get(request), aim: aim(fresh), shape }
    }

    /// One command, of many operations.
    pub fn command(operations: Vec<v1::Operation>, fence: Option<v1::Fence>, span: Span) -> Self {
        let command = v1::Command { operations, fence, ..v1::Command::default() };
        Self { ask: Ask::Write { command, span }, aim: Aim::Leader, shape: Shape::Whole }
    }

    fn unary(unary: Unary, address: Option<String>) -> Self {
        let aim = address.map_or(Aim::Leader, Aim::Node);
        Self { ask: Ask::Unary(unary), aim, shape: Shape::Whole }
    }
}

#[pymethods]
impl Request {
    /// Answered by the value, or None.
    #[staticmethod]
    #[pyo3(signature = (space, key, fresh=None, /))]
    fn get(space: u32, key: &[u8], fresh: Option<Fresh>) -> Self {
        Self::read(space, vec![Bytes::copy_from_slice(key)], fresh, Shape::Value)
    }

    /// Answered by (value, revision), or None.
    #[staticmethod]
    #[pyo3(signature = (space, key, fresh=None, /))]
    fn entry(space: u32, key: &[u8], fresh: Option<Fresh>) -> Self {
        Self::read(space, vec![Bytes::copy_from_slice(key)], fresh, Shape::Entry)
    }

    /// Answered by whether the key is there.
    #[staticmethod]
    #[pyo3(signature = (space, key, fresh=None, /))]
    fn exists(space: u32, key: &[u8], fresh: Option<Fresh>) -> Self {
        Self::read(space, vec![Bytes::copy_from_slice(key)], fresh, Shape::Exists)
    }

    /// Answered by (values, or None where absent, revision, now_ms).
    #[staticmethod]
    #[pyo3(signature = (space, keys, fresh=None, /))]
    fn get_many(space: u32, keys: Vec<Bound<'_, PyBytes>>, fresh: Option<Fresh>) -> Self {
        let keys = keys.iter().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
        Self::read(space, keys, fresh, Shape::Many)
    }

    /// Answered by (revision, now_ms): the newest of the shards that may hold keys of a range. `one`: what a snapshot reads at,
    /// refused where there are several.
    #[staticmethod]
    #[pyo3(signature = (space, start, stop, one, /))]
    fn moment(space: u32, start: &[u8], stop: &[u8], one: bool) -> Self {
        let (start, stop) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(stop));
        let span = if one { Span::One } else { Span::Any };
        let ask = Ask::Moment { keyspace: space, start, stop, span, freshness: None };
        Self { ask, aim: Aim::Leader, shape: Shape::Moment }
    }

    /// Answered by the numbers of the shards that may hold keys of a range.
    #[staticmethod]
    #[pyo3(signature = (space, start, stop, /))]
    fn shards(space: u32, start: &[u8], stop: &[u8]) -> Self {
        let (start, stop) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(stop));
        Self { ask: Ask::Shards { keyspace: space, start, stop }, aim: Aim::Leader, shape: Shape::Whole }
    }

    /// Answered by (outcome, revision, sums, found, failed), as all writes are.
    #[staticmethod]
    #[pyo3(signature = (space, key, value, condition=None, ttl_ms=0, /))]
    fn put(space: u32, key: &[u8], value: &[u8], condition: Option<Given<'_>>, ttl_ms: u64) -> Outcome<Self> {
        Ok(Self::command(vec![put(space, key, value, condition, ttl_ms)?], None, Span::One))
    }

    /// Puts a value that lasts as long as the one before it was to.
    #[staticmethod]
    #[pyo3(signature = (space, key, value, condition, /))]
    fn replace(space: u32, key: &[u8], value: &[u8], condition: Option<Given<'_>>) -> Outcome<Self> {
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        let condition = condition.map(self::condition).transpose()?;
        let put = v1::Put { keyspace: space, key, value, condition, ttl_ms: 0, keep_ttl: true };
        Ok(Self::command(vec![operation(OperationKind::Put(put))], None, Span::One))
    }

    #[staticmethod]
    #[pyo3(signature = (space, key, condition=None, /))]
    fn delete(space: u32, key: &[u8], condition: Option<Given<'_>>) -> Outcome<Self> {
        Ok(Self::command(vec![delete(space, key, condition)?], None, Span::One))
    }

    /// In each shard as one step.
    #[staticmethod]
    #[pyo3(signature = (space, start, stop, /))]
    fn delete_range(space: u32, start: &[u8], stop: &[u8]) -> Self {
        let (start, stop) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(stop));
        let range = v1::DeleteRange { keyspace: space, start, stop };
        Self::command(vec![operation(OperationKind::DeleteRange(range))], None, Span::Any)
    }

    /// `encoding`: 0 for decimal digits, 1 for U64.
    #[staticmethod]
    #[pyo3(signature = (space, key, by, encoding, /))]
    fn incr(space: u32, key: &[u8], by: i128, encoding: i32) -> Outcome<Self> {
        let Ok(magnitude) = u64::try_from(by.unsigned_abs()) else {
            return Err(Fault::invalid("incr(): the sum does not fit", "-2**64 to 2**64"));
        };
        let key = Bytes::copy_from_slice(key);
        let incr = v1::Incr { keyspace: space, key, negative: by < 0, by: magnitude, encoding };
        Ok(Self::command(vec![operation(OperationKind::Incr(incr))], None, Span::One))
    }

    /// Many operations as one: each of `writes` a `Row`.
    #[staticmethod]
    #[pyo3(signature = (writes, fence=None, /))]
    fn write(writes: Vec<Row<'_>>, fence: Option<(Bound<'_, PyBytes>, u64)>) -> Outcome<Self> {
        let operations = writes.iter().map(|(space, key, value, ttl_ms)| match value {
            Some(value) => put(*space, key.as_bytes(), value.as_bytes(), None, *ttl_ms),
            None => delete(*space, key.as_bytes(), None),
        });
        let fence = fence.map(|(lock, token)| v1::Fence { lock: Bytes::copy_from_slice(lock.as_bytes()), token });
        Ok(Self::command(operations.collect::<Outcome<_>>()?, fence, Span::One))
    }

    /// Answered by a list of (id, name, key codec, value codec), as `make_keyspace` is.
    #[staticmethod]
    fn keyspaces() -> Self {
        Self::unary(Unary::Keyspaces, None)
    }

    #[staticmethod]
    #[pyo3(signature = (name, key_codec, value_codec, create, shards=0, partition=String::new(), ordered=false, bounds=vec![], /))]
    fn make_keyspace(
        name: String,
        key_codec: String,
        value_codec: String,
        create: bool,
        shards: u32,
        partition: String,
        ordered: bool,
        bounds: Vec<Bound<'_, PyBytes>>,
    ) -> Self {
        let bounds = bounds.iter().map(|bound| Bytes::copy_from_slice(bound.as_bytes())).collect();
        let request =
            v1::MakeKeyspaceRequest { name, key_codec, value_codec, create, shards, partition, ordered, bounds };
        Self::unary(Unary::MakeKeyspace(request), None)
    }

    /// Answered by JSON text. `address`: of the node to ask, the leader where None.
    #[staticmethod]
    #[pyo3(signature = (verb, arguments="{}", address=None, /))]
    fn admin(verb: String, arguments: &str, address: Option<String>) -> Self {
        Self::unary(Unary::Admin(v1::AdminRequest { verb, arguments: arguments.to_owned() }), address)
    }

    /// Answered by (cluster, node, leader, term, [(id, address, voter, learner)], version).
    #[staticmethod]
    #[pyo3(signature = (address=None, /))]
    fn describe(address: Option<String>) -> Self {
        Self::unary(Unary::Describe, address)
    }

    fn __repr__(&self) -> String {
        let verb = match &self.ask {
            Ask::Get(request) | Ask::GetAt(request, _) => format!("get of {} keys", request.keys.len()),
            Ask::Write { command, .. } => format!("write of {} operations", command.operations.len()),
            Ask::Page(..) | Ask::Scan(_) => "scan".to_owned(),
            Ask::Moment { .. } => "moment".to_owned(),
            Ask::Shards { .. } => "shards".to_owned(),
            Ask::Unary(unary) => format!("{unary:?}"),
        };
        format!("<kvarts Request {verb} to {:?}>", self.aim)
    }
}

/// A scan over the shards of a keyspace, one page after the other. One caller at a time.
#[pyclass(frozen, module = "kvarts._native")]
pub struct Cursor {
    native: Arc<Native>,
    space: u32,
    aim: Aim,
}

#[pymethods]
impl Cursor {
    #[new]
    #[pyo3(signature = (space, start, stop, *, exclude_start, include_stop, reverse, limit, fresh, expiries=false))]
    fn new(
        space: u32,
        start: &[u8],
        stop: &[u8],
        exclude_start: bool,
        include_stop: bool,
        reverse: bool,
        limit: u64,
        fresh: Option<Fresh>,
        expiries: bool,
    ) -> Self {
        let ask = v1::ScanRequest {
            keyspace: space,
            start: Bytes::copy_from_slice(start),
            exclude_start,
            stop: Bytes::copy_from_slice(stop),
            include_stop,
            reverse,
            limit,
            freshness: freshness(fresh),
            with_expiries: expiries,
            ..v1::ScanRequest::default()
        };
        Self { native: Arc::new(Native::new(ask)), space, aim: aim(fresh) }
    }

    /// The next page: answered by (keys, values, more). `rows` 0: as many as the client likes.
    #[pyo3(signature = (rows, keys_only, /))]
    fn page(&self, rows: u32, keys_only: bool) -> Request {
        self.ask(Wish { rows, keys_only, count: false }, Shape::Page)
    }

    /// The next page: answered by a `Page`. Of a cursor that was made with `expiries`.
    fn rows(&self) -> Request {
        self.ask(Wish { rows: 0, keys_only: false, count: false }, Shape::Rows)
    }

    /// (shard, revision, now_ms) of each shard that a page was read of: what its rows are as of.
    fn moments(&self) -> Vec<(u64, u64, u64)> {
        self.native.moments()
    }

    /// Answered by the number of rows that are left.
    fn count(&self) -> Request {
        self.ask(Wish { rows: 0, keys_only: true, count: true }, Shape::Count)
    }

    /// A key as the scan sees it: answered by the value, or None.
    #[pyo3(signature = (key, /))]
    fn get(&self, key: &[u8]) -> Request {
        let keys = vec![Bytes::copy_from_slice(key)];
        let get = v1::GetRequest { keyspace: self.space, keys, ..v1::GetRequest::default() };
        Request { ask: Ask::GetAt(get, Arc::clone(&self.native)), aim: self.aim.clone(), shape: Shape::Value }
    }

    /// The same rows from the first on, as of the same moment.
    fn again(&self) -> Self {
        Self { native: Arc::new(self.native.again()), space: self.space, aim: self.aim.clone() }
    }
}

impl Cursor {
    fn ask(&self, wish: Wish, shape: Shape) -> Request {
        Request { ask: Ask::Page(Arc::clone(&self.native), wish), aim: self.aim.clone(), shape }
    }
}

fn freshness(fresh: Option<Fresh>) -> Option<v1::Freshness> {
    let (level, max_staleness_ms, revision, now_ms) = fresh?;
    Some(v1::Freshness { level, max_staleness_ms, revision, now_ms })
}

fn aim(fresh: Option<Fresh>) -> Aim {
    match fresh {
        Some((level, ..)) if level == i32::from(v1::freshness::Level::Stale) => Aim::Any,
        _ => Aim::Leader,
    }
}

/// An operation of a kind.
pub fn operation(kind: OperationKind) -> v1::Operation {
    v1::Operation { kind: Some(kind) }
}

fn put(space: u32, key: &[u8], value: &[u8], given: Option<Given<'_>>, ttl_ms: u64) -> Outcome<v1::Operation> {
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    let condition = given.map(condition).transpose()?;
    Ok(operation(OperationKind::Put(v1::Put { keyspace: space, key, value, condition, ttl_ms, keep_ttl: false })))
}

fn delete(space: u32, key: &[u8], given: Option<Given<'_>>) -> Outcome<v1::Operation> {
    let condition = given.map(condition).transpose()?;
    let key = Bytes::copy_from_slice(key);
    Ok(operation(OperationKind::Delete(v1::Delete { keyspace: space, key, condition })))
}

fn condition((kind, argument): Given<'_>) -> Outcome<v1::Condition> {
    let kind = match kind {
        0 => None,
        1 => Some(ConditionKind::Absent(true)),
        2 => Some(ConditionKind::Present(true)),
        3 => Some(ConditionKind::AtRevision(revision_of(&argument)?)),
        _ => Some(ConditionKind::Equals(Bytes::copy_from_slice(argument.extract().map_err(PyErr::from)?))),
    };
    Ok(v1::Condition { kind })
}
