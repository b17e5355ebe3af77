"""What the muscle tells the replicator. Bytes are named by handles that the muscle owns.

Nobody changes an event once it is made; what nearly every turn takes is not `frozen`, for the cost: see
kvarts.raft.messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NewType

from kvarts.raft.confchange import ConfigChange
from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.messages import Message

GroupId = NewType("GroupId", int)
"""A Raft group: one shard, or the meta group."""

Handle = NewType("Handle", int)
"""Bytes that the muscle holds. Each that enters a turn leaves it: written to the log, or listed in `Turn.release`."""

Ticket = NewType("Ticket", int)
"""Number of a turn that waits for the log. Strictly increases."""


@dataclass(slots=True, unsafe_hash=True)
class Batch:
    """Payload of an entry on its way into the log: the bytes of these handles, one after the other."""

    handles: tuple[Handle, ...]


@dataclass(frozen=True, slots=True)
class GroupOpened:
    """The muscle holds this group's log and state machine: `applied` so far, with these system keys.

    One that comes later than the node's start is new, or empty and gives no vote before a leader tells it who its
    members are: it has promised nothing.
    """

    group: GroupId
    applied: LogIndex
    system: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CloseRequested:
    """This node is to hold the group no longer; `Turn.closed` says when nothing more will come of it.

    What the muscle still holds of the group's reads and writes it then answers itself.
    """

    group: GroupId


@dataclass(slots=True, unsafe_hash=True)
class Synced:
    """Everything that turns up to `ticket` asked to be durable is, and what they held back has been sent."""

    ticket: Ticket


@dataclass(slots=True, unsafe_hash=True)
class Applied:
    """The state machine has reached entry `index`; at a barrier it waits there for the effects.

    `command`: the payload of a PYTHON entry that is a barrier.
    """

    group: GroupId
    index: LogIndex
    command: bytes | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """A snapshot of a leader has taken the place of the state machine; these are its system keys.

    Comes before the word that what follows the snapshot is applied.
    """

    group: GroupId
    index: LogIndex
    system: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Flushed:
    """What the state machine holds up to `index` survives a crash without the log."""

    group: GroupId
    index: LogIndex


@dataclass(slots=True, unsafe_hash=True)
class Received:
    """A message of another node. Payloads of NORMAL entries are Batches, of PYTHON entries bytes; a snapshot's data is
    a Handle."""

    group: GroupId
    message: Message


@dataclass(slots=True, unsafe_hash=True)
class Heartbeats:
    """Heartbeats of leaders on another node, and its answers to ours: group, term, commit index and round of each.

    `idle`: nobody waits for what comes of them.
    """

    sender: NodeId
    idle: bool
    heartbeats: Sequence[tuple[GroupId, Term, LogIndex, int]]
    answers: Sequence[tuple[GroupId, Term, int]]


@dataclass(slots=True, unsafe_hash=True)
class WriteRequested:
    """Clients' writes of `size` bytes so far wait behind `handle`, which also names the request in a refusal.

    What a turn takes is what waits there when it is performed: no more than one entry should hold.
    """

    group: GroupId
    handle: Handle
    size: int


@dataclass(slots=True, unsafe_hash=True)
class ReadRequested:
    """A client wants a linearizable read; `context` comes back in ReadReady or ReadRefused."""

    group: GroupId
    context: int


@dataclass(frozen=True, slots=True)
class CommandRequested:
    """Somebody wants a Python command carried out; `context` comes back in CommandDone or CommandRefused."""

    group: GroupId
    context: int
    command: bytes


@dataclass(frozen=True, slots=True)
class ConfigRequested:
    """Somebody wants another membership. Whether it came about is seen from the membership."""

    group: GroupId
    change: ConfigChange


@dataclass(frozen=True, slots=True)
class TransferRequested:
    """Somebody wants `target` to lead."""

    group: GroupId
    target: NodeId


@dataclass(frozen=True, slots=True)
class StandRequested:
    """This node should lead the group if nobody does: it asks for votes now, not when its patience ends."""

    group: GroupId


@dataclass(frozen=True, slots=True)
class FlushRequested:
    """What the state machine holds is to survive without the log, soon."""

    group: GroupId


@dataclass(frozen=True, slots=True)
class StopRequested:
    """This node is about to stop: from now on it hands over whatever it leads. See `Turn.stopped`."""


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The connection to `node` broke: what was sent last was probably lost, and its process may have ended."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class SnapshotSent:
    """A snapshot for `node` has arrived, or will not."""

    group: GroupId
    node: NodeId
    delivered: bool


Event = (
    GroupOpened
    | CloseRequested
    | Synced
    | Applied
    | Restored
    | Flushed
    | Received
    | Heartbeats
    | WriteRequested
    | ReadRequested
    | CommandRequested
    | ConfigRequested
    | TransferRequested
    | StandRequested
    | FlushRequested
    | StopRequested
    | PeerLost
    | SnapshotSent
)


@dataclass(slots=True, unsafe_hash=True)
class Events:
    """What happened since the last poll, and the monotonic clock's reading."""

    now_ms: int
    events: Sequence[Event] = ()
