"""Verbs that read, as coroutines: the contract of each is in kvarts.base.api.Store."""

from collections.abc import Iterable
from typing import Any

from kvarts import _native
from kvarts.base.codecs import has_prefixes
from kvarts.base.errors import InvalidArgument, KeyNotFound, LimitExceeded, WrongType
from kvarts.base.types import Entry, Revision
from kvarts.remote.pages import Pages
from kvarts.remote.ranges import Range, check_count, check_flag, of_slice, within
from kvarts.remote.space import Fresh, K, Speaker, Timeout, V

KEYS_MAX = 8192
KEY_BYTES_MAX = 1 << 20
"""Keys, and their bytes, of one request of get_many."""


class Reading(Speaker[K, V]):
    """Reads of a keyspace, or view."""

    async def get(
        self,
        key: K,
        /,
        default: Any = None,
        *,
        timeout: Timeout = None,
        consistency: str | None = None,
        max_staleness: Timeout = None,
    ) -> Any:
        """Return the value of a key, or `default` where it is absent."""
        fresh = self._freshness(consistency, max_staleness)
        stored = await self._send(_native.Request.get(self._id, self._key(key), fresh), self._patience(timeout))
        return default if stored is None else self._value(stored)

    async def entry(
        self,
        key: K,
        /,
        *,
        timeout: Timeout = None,
        consistency: str | None = None,
        max_staleness: Timeout = None,
    ) -> Entry[V] | None:
        """Return the value of a key with the revision that wrote it, or None where it is absent."""
        fresh = self._freshness(consistency, max_staleness)
        found = await self._send(_native.Request.entry(self._id, self._key(key), fresh), self._patience(timeout))
        return None if found is None else Entry(self._value(found[0]), Revision(found[1]))

    async def contains(self, key: K, /, *, timeout: Timeout = None) -> bool:
        """Return whether a key is there."""
        fresh = self._freshness(None, None)
        there: bool = await self._send(_native.Request.exists(self._id, self._key(key), fresh), self._patience(timeout))
        return there

    async def _item(self, key: K, /) -> V:
        """Return the value of a key. Raises KeyNotFound."""
        fresh = self._freshness(None, None)
        stored = await self._send(_native.Request.get(self._id, self._key(key), fresh), self._timeout_ms)
        if stored is None:
            raise KeyNotFound(key)
        value: V = self._value(stored)
        return value

    async def get_many(
        self,
        keys: Iterable[K],
        /,
        *,
        parallel: int | None = None,  # A server chooses for itself.
        timeout: Timeout = None,
        consistency: str | None = None,
        max_staleness: Timeout = None,
    ) -> list[V | None]:
        """Return the values of many keys, in the order asked; those of one shard all as of one revision."""
        fresh = self._freshness(consistency, max_staleness)
        patience = self._patience(timeout)
        if not isinstance(keys, Iterable):
            raise WrongType(f"expected keys, got {type(keys).__name__}")
        encoded = [self._key(key) for key in keys]
        # What yields the keys may have closed this store meanwhile.
        self._check_open()
        values: list[V | None] = []
        parts = list(_parts(encoded))[::-1]
        while parts:
            part = parts.pop()
            try:
                stored, revision, now_ms = await self._send(_native.Request.get_many(self._id, part, fresh), patience)
            except LimitExceeded:
                # The answer would be larger than a message may be.
                if len(part) == 1:
                    raise
                half = len(part) // 2
                parts += [part[half:], part[:half]]
                continue
            level, max_staleness_ms = fresh[:2] if fresh else (0, 0)
            fresh = (level, max_staleness_ms, revision, now_ms)
            decode = self._decode_value
            values += stored if decode is None else [each if each is None else decode(each) for each in stored]
        return values

    async def count(self, *, timeout: Timeout = None) -> int:
        """Return the number of keys: exact, and counted one by one."""
        return await self._all(timeout).count()

    async def any(self, *, timeout: Timeout = None) -> bool:
        """Return whether there is any key."""
        keys, _ = await self._all(timeout, limit=1).fetch(keys_only=True)
        return bool(keys)

    async def _newest(self, *, timeout: Timeout = None) -> Revision:
        """Return the newest revision, of all shards the latest; of a snapshot the one it stays at."""
        self._check_open()
        if self._space.moment is not None:
            return self._space.moment.revision
        request = _native.Request.moment(self._id, *self._whole().half_open(), False)
        revision, _ = await self._send(request, self._patience(timeout))
        return Revision(revision)

    def _pages_of(
        self,
        start: K | None,
        stop: K | None,
        *,
        prefix: K | None,
        include_start: bool,
        include_stop: bool,
        reverse: bool,
        limit: int | None,
        fresh: Fresh,
        timeout: Timeout,
    ) -> Pages:
        """Return the rows of a scan, which is not begun. Arguments are checked here."""
        if prefix is not None and not has_prefixes(self._space.key):
            raise InvalidArgument("prefix= needs Bytes, Str or Tuple keys", hint="give start and stop")
        include_start, include_stop = check_flag(include_start), check_flag(include_stop)
        keys = within(
            self._space.key,
            None if start is None else (self._encode_key(start), include_start),
            None if stop is None else (self._encode_key(stop), include_stop),
            b"" if prefix is None else self._encode_key(prefix),
            self._prefix,
        )
        limit = None if limit is None else check_count(limit)
        return Pages(self, keys, fresh, self._patience(timeout), reverse=check_flag(reverse), limit=limit)

    def _slice(self, given: slice) -> Pages:
        """Return the rows of db[a:b], or db[a:b:-1]."""
        keys, reverse = of_slice(self._space.key, given, self._encode_key, self._prefix)
        return Pages(self, keys, self._freshness(None, None), self._timeout_ms, reverse=reverse, limit=None)

    def _whole(self) -> Range:
        """Return all keys of this view."""
        return within(self._space.key, None, None, b"", self._prefix)

    def _all(self, timeout: Timeout, limit: int | None = None, *, reverse: bool = False) -> Pages:
        fresh = self._freshness(None, None)
        return Pages(self, self._whole(), fresh, self._patience(timeout), reverse=reverse, limit=limit)


def _parts(keys: list[bytes]) -> Iterable[list[bytes]]:
    """Cut keys into requests."""
    part: list[bytes] = []
    size = 0
    for key in keys:
        if part and (len(part) >= KEYS_MAX or size + len(key) > KEY_BYTES_MAX):
            yield part
            part, size = [], 0
        part.append(key)
        size += len(key)
    if part:
        yield part
