"""The user's keys, locks' tokens and sessions of one shard: the model that the native state machine must agree with."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass, field, replace

from kvarts.base.types import ABSENT, ANY, PRESENT, Condition, Revision
from kvarts.statemachine.commands import (
    SESSION_NONE,
    AnyCommand,
    Command,
    Counter,
    Delete,
    DeleteRange,
    DropSessions,
    Incr,
    MoveLock,
    OpenSession,
    Operation,
    Outcome,
    Put,
    Result,
    SessionId,
)
from kvarts.statemachine.ranges import Range

SESSION_WINDOW = 1024
"""Results kept per session. A client has at most this many requests unanswered."""

AT_REVISION = 3

U64_BYTES = 8
RANGES = {Counter.DECIMAL: range(-(2**63), 2**63), Counter.U64: range(2**64)}
DECIMAL = re.compile(rb"([+-]?)0*([0-9]{1,19})")

Row = tuple[bytes, Revision]


@dataclass(slots=True)
class Session:
    """What a client may still ask again about."""

    used: Revision
    answered: int = 0
    results: dict[int, Result] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    """A row as it is kept: from `expiry_ms` on, where there is one, it is absent."""

    row: Row
    expiry_ms: int | None = None


class Refused(Exception):  # noqa: N818  # carries a result, not a failure of this program
    """An operation may not take place; the command ends with `result`."""

    def __init__(self, result: Result) -> None:
        super().__init__(result)
        self.result = result


class UserKeys:
    """A deterministic machine: the same commands under the same revisions and times give the same rows and results."""

    def __init__(self) -> None:
        self.stored: dict[bytes, Stored] = {}
        self.now_ms = 0
        """The latest time that the log has told: expiry is judged by it."""
        self.tokens: dict[bytes, int] = {}
        self.sessions: dict[SessionId, Session] = {}
        self.own: Range | None = None
        """What is the shard's own, if it was split: the rest may lie here, and is nobody's to see or to change."""

    def owns(self, key: bytes) -> bool:
        """Return whether a key is the shard's own."""
        return self.own is None or self.own.owns(key)

    def apply(self, command: AnyCommand, revision: Revision, now_ms: int = 0) -> Result:
        """Do one command. `revision` strictly increases from call to call; a time that goes back does not count."""
        self.now_ms = max(self.now_ms, now_ms)
        match command:
            case Command():
                return self._apply_once(command, revision)
            case OpenSession():
                self.sessions[SessionId(revision)] = Session(revision)
            case DropSessions(keep):
                oldest_first = sorted(self.sessions, key=lambda each: (self.sessions[each].used, each))
                for session in oldest_first[: max(0, len(oldest_first) - keep)]:
                    del self.sessions[session]
            case MoveLock(lock):
                self.tokens[lock] = self.tokens.get(lock, 0) + 1
                return Result(Outcome.DONE, revision, (self.tokens[lock],))
        return Result(Outcome.DONE, revision)

    def get(self, key: bytes) -> Row | None:
        """Return value and revision of a key."""
        stored = self.live(key)
        return None if stored is None else stored.row

    @property
    def rows(self) -> dict[bytes, Row]:
        """All rows that have not expired."""
        own = filter(self.owns, self.stored)
        return {key: stored.row for key in own if (stored := self.live(key)) is not None}

    def live(self, key: bytes) -> Stored | None:
        """Return what is stored under a key, unless it has expired."""
        stored = self.stored.get(key)
        expired = stored is not None and stored.expiry_ms is not None and stored.expiry_ms <= self.now_ms
        return None if expired else stored

    def copy(self) -> UserKeys:
        """Return the machine as it is now, for a snapshot."""
        return deepcopy(self)

    def _apply_once(self, command: Command, revision: Revision) -> Result:
        if command.session == SESSION_NONE:
            return self._apply(command, revision)
        session = self.sessions.get(command.session)
        # A sequence whose answer the client has got is not asked for again, but by a packet that was under way.
        if session is None or command.sequence <= session.answered:
            return Result(Outcome.SESSION_EXPIRED, revision)
        known = session.results.get(command.sequence)
        if known is not None:
            return known
        session.used = revision
        session.answered = max(session.answered, command.answered, command.sequence - SESSION_WINDOW)
        for sequence in [each for each in session.results if each <= session.answered]:
            del session.results[sequence]
        result = session.results[command.sequence] = self._apply(command, revision)
        return result

    def _apply(self, command: Command, revision: Revision) -> Result:
        if self.own is not None and not all(_is_own(self.own, each, command.epoch) for each in command.operations):
            return Result(Outcome.WRONG_SHARD, revision)
        fence = command.fence
        if fence is not None and fence.token < self.tokens.get(fence.lock, 0):
            return Result(Outcome.FENCE_REJECTED, revision)
        work = _Work(self, revision)
        values = []
        for at, operation in enumerate(command.operations):
            try:
                values.append(work.do(operation))
            except Refused as refused:
                return replace(refused.result, failed=at)
        for key, stored in work.changed.items():
            if stored is None:
                self.stored.pop(key, None)
            else:
                self.stored[key] = stored
        return Result(Outcome.DONE, revision, tuple(values))


class _Work:
    """The operations of one command: each sees what those before it have changed."""

    def __init__(self, keys: UserKeys, revision: Revision) -> None:
        self._keys = keys
        self._revision = revision
        self.changed: dict[bytes, Stored | None] = {}

    def do(self, operation: Operation) -> int | None:
        """Do one operation. Raises Refused."""
        match operation:
            case Incr():
                return self._incr(operation)
            case Put(key, value, condition, ttl_ms, keep_ttl):
                self._demand(condition, key)
                before = self._look(key) if keep_ttl else None
                kept_ms = None if before is None else before.expiry_ms
                expiry_ms = self._keys.now_ms + ttl_ms if ttl_ms else kept_ms
                self.changed[key] = Stored((value, self._revision), expiry_ms)
            case Delete(key, condition):
                self._demand(condition, key)
                self.changed[key] = None
            case DeleteRange(start, stop):
                for key in [*self._keys.stored, *self.changed]:
                    if key >= start and (not stop or key < stop) and self._keys.owns(key):
                        self.changed[key] = None
        return None

    def _look(self, key: bytes) -> Stored | None:
        return self.changed[key] if key in self.changed else self._keys.live(key)

    def _incr(self, incr: Incr) -> int:
        stored = self._look(incr.key)
        number = 0 if stored is None else _number(stored.row[0], incr.counter)
        if number is None or number + incr.by not in RANGES[incr.counter]:
            found = None if stored is None else stored.row
            raise Refused(Result(Outcome.NOT_A_COUNTER, self._revision, found=found))
        total = number + incr.by
        value = b"%d" % total if incr.counter is Counter.DECIMAL else total.to_bytes(U64_BYTES, "big")
        self.changed[incr.key] = Stored((value, self._revision), stored.expiry_ms if stored else None)
        return total

    def _demand(self, condition: Condition, key: bytes) -> None:
        stored = self._look(key)
        row = None if stored is None else stored.row
        if not _holds(condition, row):
            raise Refused(Result(Outcome.CONDITION_FAILED, self._revision, found=row))


def _is_own(own: Range, operation: Operation, epoch: int) -> bool:
    """Whether an operation is the shard's to do. A range may reach beyond, if its asker knew where the shard ends."""
    return epoch >= own.epoch if isinstance(operation, DeleteRange) else own.owns(operation.key)


def _number(value: bytes, counter: Counter) -> int | None:
    if counter is Counter.U64:
        return int.from_bytes(value, "big") if len(value) == U64_BYTES else None
    match = DECIMAL.fullmatch(value)
    number = int(match[1] + match[2]) if match else None
    return number if number is not None and number in RANGES[counter] else None


def _holds(condition: Condition, row: Row | None) -> bool:
    if condition == ANY:
        return True
    if condition == ABSENT:
        return row is None
    if condition == PRESENT:
        return row is not None
    if row is None:
        return False
    value, revision = row
    return bool(condition.argument == (revision if condition.kind == AT_REVISION else value))
