//! A turn from the tuple that `kvarts.node.bridge.native_of` makes.
use crate::fault::{Fault, Outcome};
use bytes::Bytes;
use kvarts_serve::muscle::{
    Apply, Beats, Effects, EntryMeta, Founding, MessageHead, NewEntry, NewSnapshot, Outgoing, Payload, Turn, Why,
    Write, WriteRefused,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

/// What is appended for one group.
type RawWrite<'py> = (u64, Option<(u64, u64, u64)>, Option<RawSnapshot<'py>>, Vec<RawEntry<'py>>);
/// Index, term, membership, handle.
type RawSnapshot<'py> = (u64, u64, Bound<'py, PyBytes>, u64);
/// Term, index, kind, payload, size.
type RawEntry<'py> = (u64, u64, u32, Bound<'py, PyAny>, u64);
/// Group, index, membership, system rows, the group that begins there, and the digest that is made.
type RawEffects<'py> = (u64, u64, Bound<'py, PyBytes>, RawRows, Option<RawFounding<'py>>, u64);
/// Group, membership, system rows.
type RawFounding<'py> = (u64, Bound<'py, PyBytes>, RawRows);
type RawRows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Reads a turn. Errors: a Python exception where it has another shape.
pub fn from_python(turn: &Bound<'_, PyAny>) -> Outcome<Turn> {
    let turn = turn.cast::<PyTuple>().map_err(PyErr::from)?;
    Ok(Turn {
        gates: turn.get_item(0)?.extract()?,
        ticket: turn.get_item(1)?.extract()?,
        must_sync: turn.get_item(2)?.extract()?,
        writes: list(turn, 3, write_of)?,
        sends: list(turn, 4, outgoing_of)?,
        held: list(turn, 5, outgoing_of)?,
        effects: list(turn, 6, |(group, index, membership, rows, founding, check): RawEffects<'_>| {
            let founding =
                founding.map(|(group, membership, rows)| Founding { group, membership: owned(&membership), rows });
            Ok(Effects { group, index, membership: owned(&membership), rows, founding, check })
        })?,
        flushes: turn.get_item(7)?.extract()?,
        applies: list(turn, 8, |(group, first, last, barrier)| Ok(Apply { group, first, last, barrier }))?,
        reads: turn.get_item(9)?.extract()?,
        reads_refused: turn.get_item(10)?.extract()?,
        writes_refused: list(turn, 11, |(group, handle, leader, why): (u64, u64, u64, String)| {
            Ok(WriteRefused { group, handle, leader, why: why_of(&why)? })
        })?,
        compactions: turn.get_item(12)?.extract()?,
        release: turn.get_item(13)?.extract()?,
        closed: turn.get_item(14)?.extract()?,
        beats: beats_of(turn)?,
    })
}

/// Node, idle, heartbeats, answers; the list may be an empty dict.
fn beats_of(turn: &Bound<'_, PyTuple>) -> Outcome<Vec<Beats>> {
    list(turn, 15, |(node, idle, heartbeats, answers)| Ok(Beats { node, idle, heartbeats, answers }))
}

fn list<'py, R, T>(turn: &Bound<'py, PyTuple>, at: usize, read: impl Fn(R) -> Outcome<T>) -> Outcome<Vec<T>>
where
    R: for<'a> FromPyObject<'a, 'py>,
{
    let items = turn.get_item(at)?;
    let mut all = Vec::with_capacity(items.len()?);
    for item in items.try_iter()? {
        all.push(read(item?.extract::<R>().map_err(Into::<PyErr>::into)?)?);
    }
    Ok(all)
}

fn owned(bytes: &Bound<'_, PyBytes>) -> Bytes {
    Bytes::copy_from_slice(bytes.as_bytes())
}

fn write_of((group, hard_state, snapshot, entries): RawWrite<'_>) -> Outcome<Write> {
    let snapshot = snapshot.map(|(index, term, membership, handle)| NewSnapshot {
        index,
        term,
        membership: owned(&membership),
        handle,
    });
    let entries = entries.into_iter().map(entry_of).collect::<Outcome<_>>()?;
    Ok(Write { group, hard_state, snapshot, entries })
}

/// The payload is a tuple of handles, or bytes.
fn entry_of((term, index, kind, payload, _size): RawEntry<'_>) -> Outcome<NewEntry> {
    let payload = match payload.cast::<PyBytes>() {
        Ok(bytes) => Payload::Bytes(owned(bytes)),
        Err(_) => Payload::Handles(payload.extract()?),
    };
    Ok(NewEntry { term, index, kind, payload })
}

fn outgoing_of(message: Bound<'_, PyTuple>) -> Outcome<Outgoing> {
    let number = |at: usize| -> PyResult<u64> { message.get_item(at)?.extract() };
    let entries: Vec<(u64, u64, u32, u64)> = message.get_item(8)?.extract()?;
    let meta =
        |(term, index, kind, size)| EntryMeta { term, index, kind, size: u32::try_from(size).unwrap_or(u32::MAX) };
    Ok(Outgoing {
        group: number(0)?,
        head: MessageHead {
            kind: message.get_item(1)?.extract()?,
            to: number(2)?,
            sender: number(3)?,
            term: number(4)?,
            log_term: number(5)?,
            index: number(6)?,
            commit: number(7)?,
            reject: message.get_item(9)?.extract()?,
            hint: number(10)?,
            vote: number(11)?,
            round: number(12)?,
            forced: message.get_item(13)?.extract()?,
            context: number(14)?,
        },
        entries: entries.into_iter().map(meta).collect(),
        snapshot: !message.get_item(15)?.is_none(),
    })
}

fn why_of(why: &str) -> Outcome<Why> {
    match why {
        "not-leader" => Ok(Why::NotLeader),
        "busy" => Ok(Why::Busy),
        "unreadable" => Ok(Why::Unreadable),
        "superseded" => Ok(Why::Superseded),
        "unknown" => Ok(Why::Unknown),
        _ => Err(Fault::invalid(format!("no refusal {why:?}"), "see kvarts.replication.turn.Why")),
    }
}
