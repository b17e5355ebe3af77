"""Verbs that write, as coroutines: the contract of each is in kvarts.base.api.Store."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kvarts import _native
from kvarts.base import codecs
from kvarts.base.api import Ttl
from kvarts.base.errors import (
    CodecError,
    ConditionFailed,
    FenceRejected,
    InvalidArgument,
    KeyNotFound,
    LimitExceeded,
    WrongType,
)
from kvarts.base.types import ANY, Condition, Entry, Revision
from kvarts.remote.coding import VALUE_BYTES_MAX
from kvarts.remote.pages import Pages
from kvarts.remote.ranges import Range
from kvarts.remote.reading import Reading
from kvarts.remote.space import K, Timeout, V

CHUNK_BYTES = 1 << 20
"""What a batch may exceed the largest value by: as much as one command of put_many holds."""
ROW_OVERHEAD_BYTES = 64

Write = tuple[int, bytes, bytes | None, int]
"""(keyspace, key, value or None to delete, ttl_ms)"""
Answer = tuple[int, int, tuple[int | None, ...], tuple[bytes, int] | None, int]
"""(outcome, revision, sums, found, position of the operation refused)"""

DONE, CONDITION_FAILED, FENCE_REJECTED, NOT_A_COUNTER = range(4)
_ABSENT, _PRESENT, _AT_REVISION = (1, None), (2, None), 3
_EQUALS = 4
_TTL_SECONDS_MAX = 1e11
_SHOWN_CHARS_MAX = 80
_DECIMAL = re.compile(rb"[+-]?[0-9]+")
MISSING: Any = object()
"""A default that was not given, where None is a value."""


class Writing(Reading[K, V]):
    """Writes of a keyspace, or view."""

    async def put(
        self, key: K, value: V, *, ttl: Ttl | None = None, if_: Condition = ANY, timeout: Timeout = None
    ) -> Revision:
        """Write a value and return the revision that wrote it."""
        self._check_writable()
        ttl_ms = 0 if ttl is None else ttl_milliseconds(ttl)
        condition = None if if_ is ANY else self._condition(if_)
        request = _native.Request.put(self._id, self._key_to_write(key), self._value_to_write(value), condition, ttl_ms)
        answer: Answer = await self._send(request, self._patience(timeout))
        if answer[0] == CONDITION_FAILED:
            raise self._refused(key, if_, answer[3])
        return _revision(answer)

    async def delete(self, key: K, /, *, timeout: Timeout = None) -> Revision:
        """Delete a key and return the revision that did it. An absent key is no error: nothing is read first."""
        self._check_writable()
        request = _native.Request.delete(self._id, self._key_to_write(key))
        return _revision(await self._send(request, self._patience(timeout)))

    async def remove(self, key: K, /) -> None:
        """Delete a key that is there. Raises KeyNotFound."""
        self._check_writable()
        answer = await self._send(_native.Request.delete(self._id, self._key(key), _PRESENT), self._timeout_ms)
        if answer[0] == CONDITION_FAILED:
            raise KeyNotFound(key)

    async def put_many(self, items: Mapping[K, V] | Iterable[tuple[K, V]], /, *, timeout: Timeout = None) -> Revision:
        """Write many pairs in order and return the last revision. Atomic per chunk of 1 MiB, not as a whole."""
        self._check_writable()
        requests = _native.Rows(self._id, self._prefix, self._native_key, self._native_value, _rows_of(items))
        return await self._send_all(requests, self._patience(timeout))

    async def delete_many(self, keys: Iterable[K], /, *, timeout: Timeout = None) -> Revision:
        """Delete many keys, atomic per chunk of 1 MiB as put_many, and return the last revision."""
        self._check_writable()
        requests = _native.Rows(self._id, self._prefix, self._native_key, None, keys)
        return await self._send_all(requests, self._patience(timeout))

    async def update(self, other: Any = (), /, **more: Any) -> None:
        """Write a mapping, or pairs, as one batch: all or nothing. Every keyword is a key."""
        self._check_writable()
        writes: list[Write] = []
        for items in (other, more):
            for key, value in pairs(items):
                writes.append((self._id, self._key_to_write(key), self._value_to_write(value), 0))
        await self._commit(writes, self._timeout_ms)

    async def delete_range(
        self, start: K | None = None, stop: K | None = None, *, prefix: K | None = None, timeout: Timeout = None
    ) -> Revision:
        """Delete every key of a range, as one step, and return the revision that did it."""
        pages = self._pages_of(
            start,
            stop,
            prefix=prefix,
            include_start=True,
            include_stop=False,
            reverse=False,
            limit=None,
            fresh=None,
            timeout=timeout,
        )
        return await self._remove_range(pages.keys, timeout)

    async def clear(self, *, timeout: Timeout = None) -> None:
        """Delete every key of this keyspace, or view, as one step."""
        await self._remove_range(self._whole(), timeout)

    async def _remove_range(self, keys: Range, timeout: Timeout = None) -> Revision:
        """Delete the keys of a range."""
        self._check_writable()
        if keys.empty:
            return await self._newest(timeout=timeout)
        request = _native.Request.delete_range(self._id, *keys.half_open())
        return _revision(await self._send(request, self._patience(timeout)))

    async def incr(self, key: K, by: int = 1, *, timeout: Timeout = None) -> int:
        """Add `by` to the number under a key, as one step, and return the sum."""
        self._check_writable()
        encoded = self._key_to_write(key)
        if not isinstance(by, int):
            raise WrongType(f"expected by= an int, got {type(by).__name__}")
        value = self._space.value
        if value is not codecs.U64 and value is not codecs.Bytes and value is not codecs.Str:
            return await self._incr_by_codec(key, encoded, by, self._patience(timeout))
        if abs(by) > 2**64 - 1:
            raise InvalidArgument("incr(): by= does not fit", hint="-2**64 to 2**64")
        request = _native.Request.incr(self._id, encoded, by, 1 if value is codecs.U64 else 0)
        answer: Answer = await self._send(request, self._patience(timeout))
        if answer[0] == NOT_A_COUNTER:
            raise _no_sum(value is codecs.U64, answer[3])
        _revision(answer)
        total = answer[2][0]
        assert total is not None, answer
        return total

    async def pop(self, key: K, /, default: Any = MISSING, *, timeout: Timeout = None) -> Any:
        """Delete a key and return its value; where absent return `default`, or raise KeyNotFound without one."""
        self._check_writable()
        encoded, patience = self._key(key), self._patience(timeout)
        found = await self._send(_native.Request.entry(self._id, encoded), patience)
        while found is not None:
            value = self._value(found[0])
            found, done = await self._delete_at(encoded, found[1], patience)
            if done:
                return value
        if default is MISSING:
            raise KeyNotFound(key)
        return default

    async def popitem(self, *, timeout: Timeout = None) -> tuple[K, V]:
        """Delete the first key and return it with its value. Raises KeyNotFound where there is none."""
        self._check_writable()
        patience = self._patience(timeout)
        while True:
            keys, _ = await Pages(self, self._whole(), None, patience, reverse=False, limit=1).fetch(keys_only=True)
            if not keys:
                raise KeyNotFound("popitem(): the store is empty")
            found = await self._send(_native.Request.entry(self._id, keys[0]), patience)
            if found is None:
                continue
            row = self._key_back(keys[0]), self._value(found[0])
            _, done = await self._delete_at(keys[0], found[1], patience)
            if done:
                return row

    async def setdefault(self, key: K, default: Any = None, /, *, timeout: Timeout = None) -> Any:
        """Return the value of a key, after writing `default` where it is absent."""
        self._check_writable()
        encoded, patience = self._key(key), self._patience(timeout)
        stored = await self._send(_native.Request.get(self._id, encoded), patience)
        if stored is not None:
            return self._value(stored)
        request = _native.Request.put(self._id, self._key_to_write(key), self._value_to_write(default), _ABSENT)
        answer: Answer = await self._send(request, patience)
        if answer[0] == CONDITION_FAILED and answer[3] is not None:
            return self._value(answer[3][0])
        _revision(answer)
        return default

    async def _commit(self, writes: list[Write], timeout_ms: int) -> Revision | None:
        """Write many rows as one, and return the revision; None where there are none. Raises LimitExceeded."""
        if not writes:
            return None
        size = sum(len(key) + len(value or b"") + ROW_OVERHEAD_BYTES for _, key, value, _ in writes)
        if size > VALUE_BYTES_MAX + CHUNK_BYTES:
            raise LimitExceeded(
                f"a batch of {size} bytes is over 9 MiB, what a node takes at once", hint="put_many() writes in chunks"
            )
        return _revision(await self._send(_native.Request.write(writes), timeout_ms))

    async def _send_all(self, requests: Iterable[_native.Request], patience: int) -> Revision:
        last: Revision | None = None
        for request in requests:
            last = _revision(await self._send(request, patience))
        return await self._newest() if last is None else last

    async def _delete_at(self, encoded: bytes, revision: int, patience: int) -> tuple[tuple[bytes, int] | None, bool]:
        """Delete a key if it is still of a revision. Return what was found instead, and whether it was deleted."""
        request = _native.Request.delete(self._id, encoded, (_AT_REVISION, revision))
        answer: Answer = await self._send(request, patience)
        if answer[0] == CONDITION_FAILED:
            return answer[3], False
        _revision(answer)
        return None, True

    async def _incr_by_codec(self, key: K, encoded: bytes, by: int, patience: int) -> int:
        """Read, add here, and write if nobody wrote in between; again if somebody did."""
        found = await self._send(_native.Request.entry(self._id, encoded), patience)
        while True:
            start = 0 if found is None else self._value(found[0])
            if not isinstance(start, int) or isinstance(start, bool):
                raise CodecError(f"incr(): the value is no whole number: {_shown(start)}")
            total = start + by
            value = self._value_to_write(total)  # type: ignore[arg-type]
            condition = _ABSENT if found is None else (_AT_REVISION, found[1])
            answer: Answer = await self._send(_native.Request.replace(self._id, encoded, value, condition), patience)
            if answer[0] != CONDITION_FAILED:
                _revision(answer)
                return total
            found = answer[3]

    def _condition(self, given: Condition) -> tuple[int, Any] | None:
        if not isinstance(given, Condition):
            raise WrongType(
                f"expected if_= ANY, ABSENT, PRESENT, AtRevision(n) or Equals(value), got {type(given).__name__}"
            )
        if given.kind == _EQUALS:
            return given.kind, self._encode_value(given.argument)
        return (given.kind, given.argument) if given.kind else None

    def _refused(self, key: K, condition: Condition, found: tuple[bytes, int] | None) -> ConditionFailed:
        entry = None if found is None else Entry(self._value(found[0]), Revision(found[1]))
        what = "the key is absent"
        if entry is not None:
            what = f"the key has {_shown(entry.value)}, of revision {entry.revision}"
        return ConditionFailed(
            f"put({_shown(key)}, if_={_shown(condition)}): {what}", hint="decide again by error.entry", entry=entry
        )


def pairs(items: Any) -> Iterator[tuple[Any, Any]]:
    """Return the pairs of a mapping, anything with keys() that is no scan, or an iterable of pairs."""
    rows = _rows_of(items)
    if not isinstance(rows, Iterable):
        raise WrongType(f"expected a mapping or (key, value) pairs, got {type(rows).__name__}")
    for pair in rows:
        if not isinstance(pair, Iterable):
            raise WrongType(f"expected a (key, value) pair, got {type(pair).__name__}")
        both = tuple(pair)
        if len(both) != 2:
            raise InvalidArgument(f"an item of length {len(both)} is no pair", hint="(key, value)")
        yield both


def _rows_of(items: Any) -> Any:
    """Return what gives the pairs of a mapping, or of anything with keys() that is no scan; else the same."""
    if isinstance(items, Mapping):
        return items.items()
    if hasattr(items, "keys") and not hasattr(items, "chunks"):
        return ((key, items[key]) for key in items.keys())  # noqa: SIM118  # it is no dict
    return items


def ttl_milliseconds(ttl: Ttl) -> int:
    """Return a time to live in milliseconds. Raises WrongType, InvalidArgument."""
    seconds = ttl.total_seconds() if hasattr(ttl, "total_seconds") else ttl
    if not isinstance(seconds, int | float):
        raise WrongType(f"expected ttl in seconds, or a timedelta, got {type(ttl).__name__}")
    if not 0 < seconds <= _TTL_SECONDS_MAX:
        digits = "" if abs(seconds) >= 2**64 else seconds  # a longer int may be too long to print
        raise InvalidArgument(f"ttl={digits} is out of range", hint="seconds above 0, at most 1e11")
    return -int(-seconds * 1000 // 1)


def _revision(answer: Answer) -> Revision:
    """Return the revision of a write that took place."""
    if answer[0] == FENCE_REJECTED:
        raise FenceRejected("the lock was taken by somebody else since", hint="take it again and decide anew")
    if answer[0] != DONE:
        raise InvalidArgument(f"operation {answer[4]} was refused (outcome {answer[0]})")
    return Revision(answer[1])


def _no_sum(u64: bool, found: tuple[bytes, int] | None) -> InvalidArgument | CodecError:
    """Return why a sum was refused: the value is no number, or it would not fit."""
    stored = found[0] if found else b"0"
    fits = len(stored) == 8 if u64 else bool(_DECIMAL.fullmatch(stored)) and -(2**63) <= int(stored) < 2**63
    if found is None or fits:
        bounds = "0 to 2**64 - 1" if u64 else "-2**63 to 2**63 - 1"
        return InvalidArgument("incr(): the sum does not fit", hint=bounds)
    return CodecError(f"incr(): the value is no whole number: {_shown(stored)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}..."
