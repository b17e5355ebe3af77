"""Commands on user keys as they stand in the log, and what they return."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NewType

from kvarts.base.types import ANY, Condition, Revision

SessionId = NewType("SessionId", int)
"""The revision that opened the session. Never reused."""

SESSION_NONE = SessionId(0)
"""A command without a session is not deduplicated."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A lock's token: the write is refused once the lock has a higher one."""

    lock: bytes
    token: int


@dataclass(frozen=True, slots=True)
class Put:
    """Set a key, if the condition holds. `ttl_ms`: milliseconds of the log's time until it is absent; 0: it lasts.

    `keep_ttl`: it is absent when the value before was to be, if there was one; without a ttl of its own.
    """

    key: bytes
    value: bytes
    condition: Condition = ANY
    ttl_ms: int = 0
    keep_ttl: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key, if the condition holds. An absent key is no error."""

    key: bytes
    condition: Condition = ANY


@dataclass(frozen=True, slots=True)
class DeleteRange:
    """Remove every key of [start, stop). Empty `start`: from the first; empty `stop`: to the last."""

    start: bytes = b""
    stop: bytes = b""


class Counter(Enum):
    """How a number stands in a value."""

    DECIMAL = "decimal"
    """Digits, perhaps with a sign in front: -2**63 to 2**63 - 1."""
    U64 = "u64"
    """8 bytes, big endian: 0 to 2**64 - 1."""


@dataclass(frozen=True, slots=True)
class Incr:
    """Add to the number under a key; an absent one is 0. A ttl on the key stays."""

    key: bytes
    by: int = 1
    counter: Counter = Counter.DECIMAL


Operation = Put | Delete | DeleteRange | Incr


@dataclass(frozen=True, slots=True)
class Command:
    """Operations that take place all or not at all, once per (session, sequence).

    `answered`: the client has the results of all sequences up to this one and will not ask for them again.
    `epoch`: of the shard where a command that touches ranges was taken in.
    """

    operations: tuple[Operation, ...]
    session: SessionId = SESSION_NONE
    sequence: int = 0
    answered: int = 0
    fence: Fence | None = None
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Open a session; its id is the revision. A repeated one opens another, which harms nobody."""


@dataclass(frozen=True, slots=True)
class DropSessions:
    """Keep only the `keep` sessions used last."""

    keep: int


@dataclass(frozen=True, slots=True)
class MoveLock:
    """A lock was granted anew: its token goes up by one."""

    lock: bytes


AnyCommand = Command | OpenSession | DropSessions | MoveLock


class Outcome(Enum):
    """What became of a command. All but DONE changed nothing (but SESSION_EXPIRED: may have been done before)."""

    DONE = "done"
    CONDITION_FAILED = "condition-failed"
    FENCE_REJECTED = "fence-rejected"
    NOT_A_COUNTER = "not-a-counter"
    SESSION_EXPIRED = "session-expired"
    WRONG_SHARD = "wrong-shard"


@dataclass(frozen=True, slots=True)
class Result:
    """`revision` is the one of the writes; `values` has one element per operation: of Incr the sum, else None.

    CONDITION_FAILED, NOT_A_COUNTER: `failed` is the position of the operation that was refused, `found` the value
    and its revision that stood in the way, or None if the key was absent.
    """

    outcome: Outcome
    revision: Revision
    values: tuple[int | None, ...] = ()
    found: tuple[bytes, Revision] | None = None
    failed: int = 0
