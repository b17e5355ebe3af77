"""Commands as the log holds them, and results as clients get them: a few messages of proto/kvarts/v1 by hand.

Fields are written as prost does: in the order of their numbers, without those that are empty or zero.
"""

from collections.abc import Iterator

from kvarts.base.types import ABSENT, ANY, PRESENT, Condition, Revision
from kvarts.statemachine.commands import (
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
)

KEYSPACE = 7
"""Where the tests put their keys."""

OUTCOMES = list(Outcome)
AT_REVISION = 3


def encode_command(command: AnyCommand) -> bytes:
    """Return a kvarts.v1.Command."""
    match command:
        case OpenSession():
            return _sub(6, b"")
        case DropSessions(keep):
            return _sub(7, _int(1, keep))
        case MoveLock(lock):
            return _sub(8, _bytes(1, lock))
        case Command(operations, session, sequence, answered, fence):
            told = b"".join(_sub(1, _operation(each)) for each in operations)
            told += _int(2, session) + _int(3, sequence) + _int(4, answered)
            return told + (_sub(5, _bytes(1, fence.lock) + _int(2, fence.token)) if fence else b"")


def _operation(operation: Operation) -> bytes:
    where = _int(1, KEYSPACE)
    match operation:
        case Put(key, value, condition, ttl_ms, keep_ttl):
            put = where + _bytes(2, key) + _bytes(3, value) + _condition(4, condition)
            return _sub(1, put + _int(5, ttl_ms) + _int(6, keep_ttl))
        case Delete(key, condition):
            return _sub(2, where + _bytes(2, key) + _condition(3, condition))
        case DeleteRange(start, stop):
            return _sub(3, where + _bytes(2, start) + _bytes(3, stop))
        case Incr(key, by, counter):
            encoding = 1 if counter is Counter.U64 else 0
            return _sub(4, where + _bytes(2, key) + _int(3, by < 0) + _int(4, abs(by)) + _int(5, encoding))


def _condition(number: int, condition: Condition) -> bytes:
    if condition == ANY:
        return b""
    if condition in {ABSENT, PRESENT}:
        return _sub(number, _varint((1 if condition == ABSENT else 2) << 3) + b"\x01")
    if condition.kind == AT_REVISION:
        return _sub(number, _varint(3 << 3) + _varint(condition.argument))
    return _sub(number, _sub(4, condition.argument))


def _int(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value) if value else b""


def _bytes(number: int, value: bytes) -> bytes:
    return _sub(number, value) if value else b""


def _sub(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def decode_result(data: bytes) -> Result:
    """Read a kvarts.v1.Result."""
    fields: dict[int, int] = {}
    sums: list[int | None] = []
    found = None
    for number, value in _fields(data):
        if isinstance(value, int):
            fields[number] = value
        elif number == 3:
            part = {key: each for key, each in _fields(value) if isinstance(each, int)}
            magnitude = part.get(3, 0)
            sums.append((-magnitude if part.get(2) else magnitude) if part.get(1) else None)
        else:
            row = dict(_fields(value))
            found = bytes(row.get(2, b"")), Revision(int(row.get(3, 0)))
    outcome = OUTCOMES[fields.get(1, 0)]
    return Result(outcome, Revision(fields.get(2, 0)), tuple(sums), found, fields.get(5, 0))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        value, at = _read_varint(data, at)
        if key & 7 == 2:
            yield key >> 3, data[at : at + value]
            at += value
        else:
            yield key >> 3, value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at
