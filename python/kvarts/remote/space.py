"""A keyspace of a cluster, or a view of one: what every verb needs to know."""

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar

from kvarts import _native
from kvarts.base.codecs import Codec
from kvarts.base.errors import ClosedError, ReadOnlyError
from kvarts.base.types import Revision
from kvarts.embedded.paths import shown
from kvarts.embedded.store import DEFAULT_KEYSPACE, native_codec
from kvarts.remote.coding import check_key, check_value, decoder, encoder
from kvarts.remote.target import Settings, Target, freshness, milliseconds

K = TypeVar("K")
V = TypeVar("V")

Timeout = float | timedelta | str | None
Fresh = tuple[int, int, int, int] | None
"""(level, max_staleness_ms, revision, now_ms); None reads the newest, linearizably."""

_STALE = 1


@dataclass(frozen=True, slots=True)
class Connection:
    """What all views of an opened target share."""

    client: _native.Client
    target: Target
    settings: Settings


@dataclass(frozen=True, slots=True)
class Moment:
    """What a snapshot stays at: a revision, the time by which expiry is judged, and the keyspaces there were."""

    revision: Revision
    now_ms: int
    keyspaces: tuple[tuple[int, str, str, str], ...]
    shard: int
    """The one that the revision is of."""


@dataclass(frozen=True, slots=True)
class Space:
    """Where rows lie and how they are encoded."""

    connection: Connection
    id: int
    name: str
    key: Codec[Any]
    value: Codec[Any]
    prefix: bytes = b""
    moment: Moment | None = None

    def within(self, prefix: bytes) -> "Space":
        """Return the part whose keys begin with `prefix`."""
        return replace(self, prefix=self.prefix + prefix)

    def at(self, moment: Moment) -> "Space":
        """Return the same as of a moment."""
        return replace(self, moment=moment)

    def describe(self, kind: str, state: str) -> str:
        """Return what repr shows."""
        keyspace = f" keyspace={shown(self.name)}" if self.name != DEFAULT_KEYSPACE else ""
        view = f" prefix={self.prefix!r}" if self.prefix else ""
        if self.moment is not None:
            view += f" snapshot revision={self.moment.revision}"
        names = f"key={shown(self.key.name)} value={shown(self.value.name)}"
        return f"<kvarts.{kind} {self.connection.target.uri!r}{keyspace}{view} {names} {state}>"


class Speaker(Generic[K, V]):
    """What verbs are built on: encodes, decodes, and sends. How it sends is its subclass's: waiting, or awaiting."""

    def __init__(self, space: Space, *, owner: bool = False) -> None:
        self._space = space
        self._owner = owner
        self._released = False
        self._id = space.id
        self._prefix = space.prefix
        self._encode_key = encoder(space.key)
        self._decode_key = decoder(space.key)
        self._encode_value = encoder(space.value)
        self._decode_value = decoder(space.value)
        self._native_key = native_codec(space.key)
        self._native_value = native_codec(space.value)
        settings = space.connection.settings
        self._timeout_ms = settings.timeout_ms
        self._stale = settings.stale
        self._fresh: Fresh = (_STALE, settings.max_staleness_ms, 0, 0) if settings.stale else None
        if space.moment is not None:
            self._fresh = (0, 0, space.moment.revision, space.moment.now_ms)

    def _send(self, request: _native.Request, timeout_ms: int) -> Awaitable[Any]:
        raise NotImplementedError

    def _check_open(self) -> None:
        if self._released or self._space.connection.client.closed:
            raise ClosedError("the store is closed")

    def _check_writable(self) -> None:
        if self._released:
            raise ClosedError("the store is closed")
        if self._space.moment is not None:
            raise ReadOnlyError("a snapshot takes no writes", hint="write to the store it was taken from")

    def _patience(self, timeout: Timeout) -> int:
        return self._timeout_ms if timeout is None else milliseconds(timeout, "timeout")

    def _freshness(self, consistency: object, max_staleness: object) -> Fresh:
        if self._released:
            raise ClosedError("the store is closed")
        if (consistency is None and max_staleness is None) or self._space.moment is not None:
            return self._fresh
        stale, max_staleness_ms = freshness(consistency, max_staleness, self._stale)
        return (_STALE, max_staleness_ms, 0, 0) if stale else None

    def _key(self, key: K) -> bytes:
        encoded = self._encode_key(key)
        return self._prefix + encoded if self._prefix else encoded

    def _key_to_write(self, key: K) -> bytes:
        return check_key(self._key(key))

    def _value_to_write(self, value: V) -> bytes:
        return check_value(self._encode_value(value))

    def _value(self, stored: bytes) -> Any:
        return stored if self._decode_value is None else self._decode_value(stored)

    def _key_back(self, stored: bytes) -> Any:
        key = stored[len(self._prefix) :] if self._prefix else stored
        return key if self._decode_key is None else self._decode_key(key)
