"""The user's keys, locks' tokens and sessions of one shard: the model that the native state machine must agree with."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

from kvarts.base.types import ABSENT, ANY, PRESENT, Condition, Revision
from kvarts.statemachine.commands import (
    SESSION_NONE,
    AnyCommand,
    Command,
    Delete,
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

SESSION_WINDOW = 1024
"""Results kept per session. A client has at most this many requests unanswered."""

AT_REVISION = 3
COUNTER_MAX = 2**63 - 1

Row = tuple[bytes, Revision]


@dataclass(slots=True)
class Session:
    """What a client may still ask again about."""

    used: Revision
    answered: int = 0
    results: dict[int, Result] = field(default_factory=dict)


class Refused(Exception):  # noqa: N818  # carries a result, not a failure of this program
    """An operation may not take place; the command ends with `result`."""

    def __init__(self, result: Result) -> None:
        super().__init__(result)
        self.result = result


class UserKeys:
    """A deterministic machine: the same commands under the same revisions give the same rows and results."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self.tokens: dict[bytes, int] = {}
        self.sessions: dict[SessionId, Session] = {}

    def apply(self, command: AnyCommand, revision: Revision) -> Result:
        """Do one command. `revision` strictly increases from call to call."""
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
        return self.rows.get(key)

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
        fence = command.fence
        if fence is not None and fence.token < self.tokens.get(fence.lock, 0):
            return Result(Outcome.FENCE_REJECTED, revision)
        changed: dict[bytes, Row | None] = {}
        try:
            values = tuple(_operate(each, self.rows, changed, revision) for each in command.operations)
        except Refused as refused:
            return refused.result
        for key, row in changed.items():
            if row is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = row
        return Result(Outcome.DONE, revision, values)


def _operate(
    operation: Operation, rows: Mapping[bytes, Row], changed: dict[bytes, Row | None], revision: Revision
) -> int | None:
    """Do one operation on top of `changed`; each sees those before it."""
    key = operation.key
    row = changed[key] if key in changed else rows.get(key)
    match operation:
        case Incr(_, by):
            total = _counter(row, revision) + by
            if not -COUNTER_MAX - 1 <= total <= COUNTER_MAX:
                raise Refused(Result(Outcome.NOT_A_COUNTER, revision, found=row))
            changed[key] = b"%d" % total, revision
            return total
        case Put(_, value, condition):
            _demand(condition, row, revision)
            changed[key] = value, revision
        case Delete(_, condition):
            _demand(condition, row, revision)
            changed[key] = None
    return None


def _counter(row: Row | None, revision: Revision) -> int:
    if row is None:
        return 0
    try:
        return int(row[0].decode("ascii"))
    except ValueError:
        raise Refused(Result(Outcome.NOT_A_COUNTER, revision, found=row)) from None


def _demand(condition: Condition, row: Row | None, revision: Revision) -> None:
    if not _holds(condition, row):
        raise Refused(Result(Outcome.CONDITION_FAILED, revision, found=row))


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
