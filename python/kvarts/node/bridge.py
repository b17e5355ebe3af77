"""The border between the muscle's tuples and the replicator's events and turns.

The native module knows numbers, bytes and tuples; here they get their meaning. Work per message, never per key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kvarts.node.codec import decode_change, decode_membership, encode_change, encode_membership
from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.messages import Entry, EntryKind, HardState, Message, MessageKind, Snapshot, make_entry
from kvarts.replication.events import (
    Applied,
    Batch,
    Event,
    Flushed,
    GroupOpened,
    Handle,
    Heartbeats,
    PeerLost,
    ReadRequested,
    Received,
    Restored,
    SnapshotSent,
    Synced,
    WriteRequested,
)
from kvarts.replication.turn import Effects, Outgoing, Turn, Write

RECEIVED, SYNCED, APPLIED, FLUSHED, WRITE, READ, PEER_LOST, SNAPSHOT_SENT, CALL, STOP, RESTORED, OPENED = range(12)
PEER_CAME, WORD, REMOVED, HEARTBEATS, MEASURED = range(12, 17)
"""First element of an event's tuple."""

EVENT_KINDS = (
    "received",
    "synced",
    "applied",
    "flushed",
    "write",
    "read",
    "peer-lost",
    "snapshot-sent",
    "call",
    "stop",
    "restored",
    "opened",
    "peer-came",
    "word",
    "removed",
    "heartbeats",
    "measured",
)

_NORMAL, _CONFIG = EntryKind.NORMAL, EntryKind.CONFIG
_KINDS = tuple(EntryKind)
_MESSAGE_KINDS = {kind.value: kind for kind in MessageKind}
_NO_HANDLES = Batch(())

Native = tuple[Any, ...]


def event_of(native: Native) -> Event:
    """Return the replicator's event of a muscle's tuple; not for what is the loop's own, such as CALL and WORD."""
    return EVENTS[native[0]](native)


def entry_of(native: Native) -> Entry:
    """Return an entry whose payload is a handle (NORMAL; None or 0 for none) or bytes."""
    term, index, kind, payload, size = native
    content: object
    if kind == _NORMAL:
        content = Batch((Handle(payload),)) if isinstance(payload, int) and payload else _NO_HANDLES
    elif kind == _CONFIG:
        assert isinstance(payload, bytes)
        content = decode_change(payload)
    else:
        content = payload
    return make_entry((term, index, _KINDS[kind], content, size))


def _received(native: Native) -> Received:
    _, group, kind, to, sender, term, log_term, index, commit, entries, *others = native
    reject, hint, vote, round_, forced, context, snapshot = others
    message = Message(
        _MESSAGE_KINDS[kind],
        to,
        sender,
        term,
        log_term,
        index,
        commit,
        tuple([entry_of(each) for each in entries]),
        reject,
        hint,
        vote,
        round_,
        forced,
        context or None,
        None if snapshot is None else _snapshot(*snapshot),
    )
    return Received(group, message)


def _snapshot(index: int, term: int, membership: bytes, handle: int) -> Snapshot:
    return Snapshot(LogIndex(index), Term(term), decode_membership(membership), Handle(handle))


EVENTS: Mapping[int, Callable[[Native], Event]] = {
    RECEIVED: _received,
    HEARTBEATS: lambda native: Heartbeats(native[1], native[2], native[3], native[4]),
    SYNCED: lambda native: Synced(native[1]),
    APPLIED: lambda native: Applied(native[1], native[2], native[3]),
    FLUSHED: lambda native: Flushed(native[1], native[2]),
    WRITE: lambda native: WriteRequested(native[1], native[2], native[3]),
    READ: lambda native: ReadRequested(native[1], native[2]),
    PEER_LOST: lambda native: PeerLost(native[1]),
    SNAPSHOT_SENT: lambda native: SnapshotSent(native[1], native[2], native[3]),
    RESTORED: lambda native: Restored(native[1], native[2], dict(native[3])),
    OPENED: lambda native: GroupOpened(native[1], native[2], dict(native[3])),
}
"""How each kind of event is made of its tuple. The fields' types are the border's: nothing is converted."""


def native_of(turn: Turn) -> Native:
    """Return a turn as the muscle takes it."""
    # Most turns have little of all this: where a list is empty it is passed on, and no other is made.
    return (
        turn.gates and [(each.group, each.until_ms, each.index) for each in turn.gates],
        turn.ticket,
        turn.must_sync,
        turn.writes and [_write(each) for each in turn.writes],
        turn.sends and [_outgoing(each) for each in turn.sends],
        turn.held and [_outgoing(each) for each in turn.held],
        turn.effects and [_effects(each) for each in turn.effects],
        turn.flushes,
        turn.applies and [(each.group, each.first, each.last, each.barrier) for each in turn.applies],
        turn.reads and [(each.group, each.context, each.index) for each in turn.reads],
        turn.reads_refused and [(each.group, each.context, each.leader) for each in turn.reads_refused],
        turn.writes_refused
        and [(each.group, each.handle, each.leader, each.why.value) for each in turn.writes_refused],
        turn.compactions and [(each.group, each.index) for each in turn.compactions],
        turn.release,
        turn.closed,
        turn.beats and [(each.to, each.idle, each.heartbeats, each.answers) for each in turn.beats.values()],
    )


def _effects(effects: Effects) -> Native:
    founding, membership = effects.founding, encode_membership(effects.membership)
    founded = None if founding is None else (founding.group, membership, founding.writes)
    return effects.group, effects.index, membership, effects.writes, founded, effects.check


def _write(write: Write) -> Native:
    hard, snapshot = write.hard_state, write.snapshot
    return (
        write.group,
        None if hard is None else (hard.term, hard.vote, hard.commit),
        None
        if snapshot is None
        else (snapshot.index, snapshot.term, encode_membership(snapshot.membership), snapshot.data),
        [(term, index, kind, _payload(kind, payload), size) for term, index, kind, payload, size in write.entries],
    )


def _payload(kind: EntryKind, payload: object) -> object:
    if kind == _NORMAL:
        # The first entry of a term has no payload at all.
        return payload.handles if isinstance(payload, Batch) else ()
    if kind == _CONFIG:
        return encode_change(payload)  # type: ignore[arg-type]  # the payload of a CONFIG entry
    return payload


def _outgoing(outgoing: Outgoing) -> Native:
    message = outgoing.message
    snapshot = message.snapshot
    return (
        outgoing.group,
        message.kind,
        message.to,
        message.sender,
        message.term,
        message.log_term,
        message.index,
        message.commit,
        [(term, index, kind, size) for term, index, kind, _, size in message.entries],
        message.reject,
        message.hint,
        message.vote,
        message.round,
        message.forced,
        message.context or 0,
        None if snapshot is None else (snapshot.index, snapshot.term, encode_membership(snapshot.membership)),
    )


def hard_state_of(native: tuple[int, int, int] | None) -> HardState:
    """Return the hard state as the log has it."""
    if native is None:
        return HardState()
    term, vote, commit = native
    return HardState(Term(term), NodeId(vote), LogIndex(commit))


def entries_of(native: Sequence[tuple[int, int, int, bytes | None, int]]) -> list[Entry]:
    """Return entries read from the log: without handles, since the muscle finds their bytes by term and index."""
    return [entry_of(each) for each in native]
