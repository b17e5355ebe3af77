//! Events as tuples, their first element as in `kvarts.node.bridge`.
use kvarts_serve::muscle::{Beats, Event, Received, ReceivedEntry, ReceivedPayload};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

const RECEIVED: u8 = 0;
const SYNCED: u8 = 1;
const APPLIED: u8 = 2;
const FLUSHED: u8 = 3;
const WRITE: u8 = 4;
const READ: u8 = 5;
const PEER_LOST: u8 = 6;
const SNAPSHOT_SENT: u8 = 7;
const CALL: u8 = 8;
const STOP: u8 = 9;
const RESTORED: u8 = 10;
const OPENED: u8 = 11;
const PEER_CAME: u8 = 12;
const WORD: u8 = 13;
const REMOVED: u8 = 14;
const HEARTBEATS: u8 = 15;
const MEASURED: u8 = 16;

/// A list of tuples.
pub fn to_python(py: Python<'_>, events: Vec<Event>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for event in events {
        list.append(tuple_of(py, event)?)?;
    }
    Ok(list)
}

fn tuple_of(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyTuple>> {
    match event {
        Event::Received(received) => received_tuple(py, *received),
        Event::Beats(beats) => {
            let Beats { node, idle, heartbeats, answers } = beats;
            (HEARTBEATS, node, idle, heartbeats, answers).into_pyobject(py)
        }
        Event::Synced(ticket) => (SYNCED, ticket).into_pyobject(py),
        Event::Applied { group, index, command } => {
            (APPLIED, group, index, command.map(|command| PyBytes::new(py, &command))).into_pyobject(py)
        }
        Event::Flushed { group, index } => (FLUSHED, group, index).into_pyobject(py),
        Event::Write { group, handle, size } => (WRITE, group, handle, size).into_pyobject(py),
        Event::Read { group, context } => (READ, group, context).into_pyobject(py),
        Event::PeerLost(node) => (PEER_LOST, node).into_pyobject(py),
        Event::SnapshotSent { group, node, delivered } => (SNAPSHOT_SENT, group, node, delivered).into_pyobject(py),
        Event::Call { id, verb, arguments } => (CALL, id, verb, arguments).into_pyobject(py),
        Event::Stop(reason) => {
            let may_pass = reason.as_ref().is_some_and(|reason| reason.may_pass);
            (STOP, reason.map(|reason| reason.what), may_pass).into_pyobject(py)
        }
        Event::Restored { group, index, rows } => (RESTORED, group, index, row_tuples(py, &rows)?).into_pyobject(py),
        Event::Opened { group, index, rows } => (OPENED, group, index, row_tuples(py, &rows)?).into_pyobject(py),
        Event::Word { node, word } => (WORD, node, PyBytes::new(py, &word)).into_pyobject(py),
        Event::Measured { group, epoch, bytes, middle } => {
            (MEASURED, group, epoch, bytes, middle.map(|key| PyBytes::new(py, &key))).into_pyobject(py)
        }
        Event::Removed { by } => (REMOVED, by).into_pyobject(py),
        Event::PeerCame { node, features } => (PEER_CAME, node, features).into_pyobject(py),
    }
}

fn row_tuples<'py>(py: Python<'py>, rows: &[(Vec<u8>, Vec<u8>)]) -> PyResult<Bound<'py, PyTuple>> {
    let rows: Vec<_> = rows.iter().map(|(key, value)| (PyBytes::new(py, key), PyBytes::new(py, value))).collect();
    PyTuple::new(py, rows)
}

fn received_tuple(py: Python<'_>, received: Received) -> PyResult<Bound<'_, PyTuple>> {
    let Received { group, head, entries, snapshot } = received;
    let entries: Vec<_> = entries.into_iter().map(|entry| entry_tuple(py, entry)).collect::<PyResult<_>>()?;
    let snapshot = snapshot.map(|mark| (mark.index, mark.term, PyBytes::new(py, &mark.membership), mark.handle));
    let number = |value: u64| Ok::<_, PyErr>(value.into_pyobject(py)?.into_any());
    let flag = |value: bool| Ok::<_, PyErr>(value.into_pyobject(py)?.to_owned().into_any());
    let fields = [
        number(RECEIVED.into())?,
        number(group)?,
        number(head.kind.into())?,
        number(head.to)?,
        number(head.sender)?,
        number(head.term)?,
        number(head.log_term)?,
        number(head.index)?,
        number(head.commit)?,
        PyTuple::new(py, entries)?.into_any(),
        flag(head.reject)?,
        number(head.hint)?,
        number(head.vote)?,
        number(head.round)?,
        flag(head.forced)?,
        number(head.context)?,
        snapshot.into_pyobject(py)?.into_any(),
    ];
    PyTuple::new(py, fields)
}

/// Term, index, kind, payload, size.
fn entry_tuple(py: Python<'_>, entry: ReceivedEntry) -> PyResult<Bound<'_, PyTuple>> {
    let ReceivedEntry { term, index, kind, payload, size } = entry;
    let payload = match payload {
        ReceivedPayload::Nothing => 0_u8.into_pyobject(py)?.into_any(),
        ReceivedPayload::Handle(handle) => handle.into_pyobject(py)?.into_any(),
        ReceivedPayload::Bytes(bytes) => PyBytes::new(py, &bytes).into_any(),
    };
    (term, index, kind, payload, size).into_pyobject(py)
}
