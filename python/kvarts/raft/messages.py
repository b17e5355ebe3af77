"""What nodes say to each other, and what a node says to its own log store and state machine.

Nobody changes any of it once it is made. What every turn makes is not `frozen` all the same: a frozen dataclass costs
five times as much to make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from operator import itemgetter
from typing import NamedTuple

from kvarts.raft.confchange import ConfigChange
from kvarts.raft.ids import LOG_INDEX_MIN, NODE_NONE, TERM_NONE, LogIndex, NodeId, Term
from kvarts.raft.membership import Membership

ENTRY_BYTES_OVERHEAD = 8
"""What an entry counts beyond its payload where entries are limited in bytes, so that empty ones are not free."""


class EntryKind(IntEnum):
    """What an entry's payload is."""

    NORMAL = 0
    CONFIG = 1
    PYTHON = 2
    """Bytes that the core does not look into, but whoever applies them does: see kvarts.statemachine."""


class Entry(NamedTuple):
    """An element of the log. The core looks into the payload of CONFIG entries (a ConfigChange) and no other.

    A payload may be bytes or a handle to bytes that lie elsewhere; `size` is its size in bytes.
    """

    term: Term
    index: LogIndex  # type: ignore[assignment]  # the field's word hides tuple.index, which nobody needs here
    kind: EntryKind = EntryKind.NORMAL
    payload: object = b""
    size: int = 0

    @property
    def change(self) -> ConfigChange:
        """The payload of a CONFIG entry."""
        assert isinstance(self.payload, ConfigChange)
        return self.payload


make_entry: Callable[[tuple[Term, LogIndex, EntryKind, object, int]], Entry] = partial(tuple.__new__, Entry)
"""Entry of a tuple of its fields, at a third of the constructor's cost."""


class MessageKind(IntEnum):
    """The paper's calls and answers, and those that it leaves to the implementation."""

    APPEND = 1
    APPEND_RESPONSE = 2
    VOTE = 3
    VOTE_RESPONSE = 4
    PRE_VOTE = 5
    PRE_VOTE_RESPONSE = 6
    HEARTBEAT = 7
    HEARTBEAT_RESPONSE = 8
    SNAPSHOT = 9
    TIMEOUT_NOW = 10
    PROPOSE = 11
    READ_INDEX = 12
    READ_INDEX_RESPONSE = 13
    TRANSFER = 14
    STORAGE_APPEND = 15
    STORAGE_APPEND_RESPONSE = 16
    STORAGE_APPLY = 17
    STORAGE_APPLY_RESPONSE = 18


RESPONSES = frozenset(
    {
        MessageKind.APPEND_RESPONSE,
        MessageKind.VOTE_RESPONSE,
        MessageKind.PRE_VOTE_RESPONSE,
        MessageKind.HEARTBEAT_RESPONSE,
    }
)
"""Answers that only a member may give."""

AFTER_APPEND = frozenset(
    {MessageKind.APPEND_RESPONSE, MessageKind.VOTE_RESPONSE, MessageKind.PRE_VOTE_RESPONSE},
)
"""Answers that promise something about stable storage: they leave when what was written before them is durable."""


class Role(IntEnum):
    """What a node is at the moment."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


@dataclass(slots=True, unsafe_hash=True)
class HardState:
    """What must be on stable storage before any message that depends on it leaves. Source: Raft paper, figure 2."""

    term: Term = TERM_NONE
    vote: NodeId = NODE_NONE
    commit: LogIndex = LOG_INDEX_MIN


@dataclass(slots=True, unsafe_hash=True)
class SoftState:
    """What is useful to know and need not be kept."""

    lead: NodeId = NODE_NONE
    role: Role = Role.FOLLOWER


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state up to `index`; `data` is a handle that only the state machine understands."""

    index: LogIndex
    term: Term
    membership: Membership
    data: object = None


@dataclass(slots=True, unsafe_hash=True)
class ReadState:
    """A read may be served once the state machine has applied `index`; `context` is the asker's."""

    index: LogIndex
    context: object


@dataclass(slots=True, unsafe_hash=True)
class Message:
    """One message; a field that a kind does not use is as below.

    APPEND: entries that follow entry (log_term, index). APPEND_RESPONSE: everything up to `index` is stable, or, with
    `reject`, entry `index` is missing and the logs may meet at (log_term, hint). `round` numbers the heartbeats of a
    leader and comes back in the answer. `forced` votes are asked for at the leader's wish. STORAGE_APPEND carries
    `term`, `vote`, `commit` if they changed, and in `responses` what may leave when all of it is durable.
    STORAGE_APPEND_RESPONSE: the log up to (log_term, index) was durable in `term`; the term is the acknowledgement's
    epoch, since within one term a log never loses an entry.
    """

    kind: MessageKind
    to: NodeId
    sender: NodeId
    term: Term = TERM_NONE
    log_term: Term = TERM_NONE
    index: LogIndex = LOG_INDEX_MIN
    commit: LogIndex = LOG_INDEX_MIN
    entries: Sequence[Entry] = ()
    reject: bool = False
    hint: LogIndex = LOG_INDEX_MIN
    vote: NodeId = NODE_NONE
    round: int = 0
    forced: bool = False
    context: object = None
    snapshot: Snapshot | None = None
    responses: tuple[Message, ...] = ()


Heartbeat = tuple[NodeId, Term, LogIndex, int]
"""A heartbeat to a node before it is a message: its term, commit index and round."""

_SIZE: Callable[[Entry], int] = itemgetter(Entry._fields.index("size"))


def payload_bytes(entries: Sequence[Entry]) -> int:
    """Return the sum of the payloads' sizes."""
    return sum(map(_SIZE, entries))


def entry_bytes(entries: Sequence[Entry]) -> int:
    """Return what the entries count where they are limited in bytes."""
    return sum(map(_SIZE, entries)) + ENTRY_BYTES_OVERHEAD * len(entries)


def limit_bytes(entries: Sequence[Entry], bytes_max: int | None) -> Sequence[Entry]:
    """Return the longest prefix within `bytes_max`, but at least one entry if there is one."""
    if bytes_max is None or entry_bytes(entries) <= bytes_max:
        return entries
    total = 0
    for count, entry in enumerate(entries):
        total += entry.size + ENTRY_BYTES_OVERHEAD
        if total > bytes_max:
            return entries[: max(count, 1)]
    return entries
