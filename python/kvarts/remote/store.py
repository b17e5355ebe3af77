"""The sync face: every verb runs its coroutine to the end at once, since sending waits for the answer."""

import os
from _thread import get_ident
from collections.abc import Callable, Coroutine, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar

from kvarts import _native
from kvarts.base import codecs
from kvarts.base.api import Store, Ttl
from kvarts.base.compression import Compression
from kvarts.base.errors import InvalidArgument, KeyNotFound, WrongThread, WrongType
from kvarts.base.types import ANY, Condition, Entry, KeyspaceInfo, OpenReport, Report, Revision, Stats
from kvarts.base.views import StoreItems, StoreKeys, StoreValues
from kvarts.remote.batch import BatchFace
from kvarts.remote.layout import layout_of
from kvarts.remote.pages import KEYS, VALUES, Pages, Rows
from kvarts.remote.seeds import client_of
from kvarts.remote.space import Connection, Timeout
from kvarts.remote.target import Settings, Target, parse, settings
from kvarts.remote.verbs import Verbs, first_space
from kvarts.remote.writing import MISSING
from kvarts.shardmap.partition import Partition

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


def run(verb: Coroutine[Any, Any, T]) -> T:
    """Return what a verb returns. It never suspends: what it awaits waits in this thread."""
    try:
        verb.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("a verb of a store that waits was suspended")


class Waiting(Verbs[K, V]):
    """Verbs whose requests wait for their answers."""

    async def _send(self, request: _native.Request, timeout_ms: int) -> Any:
        return self._space.connection.client.call(request, timeout_ms)


def open_remote(
    uri: str, *, key: Any = codecs.Bytes, value: Any = codecs.Bytes, **options: Any
) -> "RemoteStore[Any, Any]":
    """Open the keyspace that a kvarts:// URI names. Raises Unavailable, CodecMismatch, InvalidArgument."""
    return _open(connect(parse(uri), options), key, value)


def _open(connection: Connection, key: Any, value: Any) -> "RemoteStore[Any, Any]":
    try:
        space = run(first_space(Waiting, connection, key, value))
    except BaseException:
        connection.client.close()
        raise
    return RemoteStore(Waiting(space, owner=True))


def connect(target: Target, options: Mapping[str, object]) -> Connection:
    """Return the connections to a target, none of them made yet; names are looked up. Raises Unavailable."""
    return _connected(target, settings(target, options))


def _connected(target: Target, checked: Settings) -> Connection:
    if checked.dns != target.dns:
        target = replace(target, dns=checked.dns)
    return Connection(client_of(target, checked.timeout_ms / 2000), target, checked)


class RemoteStore(Store[K, V]):
    """A keyspace of a cluster, or a view of one. Opened by kvarts.open; see Store for the contract.

    Every verb takes timeout= (seconds, a timedelta, or text such as "500ms") in place of the store's own; reads take
    consistency="linearizable" | "stale" and max_staleness=. Raises also Unavailable, DeadlineExceeded and, of writes,
    CommitUnknown and SessionExpired. A store used in a forked child makes connections of its own there.
    """

    __slots__ = ("_verbs",)

    def __init__(self, verbs: Waiting[K, V]) -> None:
        self._verbs = verbs

    def __repr__(self) -> str:
        return self._verbs._space.describe("Store", "closed" if self._verbs.closed else "open")

    def __reduce_ex__(self, _protocol: object) -> Any:
        space = self._verbs._space
        if space.prefix or space.moment is not None:
            raise TypeError("a view of a store cannot be pickled or copied: pickle the store")
        connection = space.connection
        target = replace(connection.target, keyspace=space.name)
        return _opened_again, (target, connection.settings, space.key, space.value)

    # Reading

    def get(
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
        return run(self._verbs.get(key, default, timeout=timeout, consistency=consistency, max_staleness=max_staleness))

    def entry(
        self,
        key: K,
        /,
        *,
        timeout: Timeout = None,
        consistency: str | None = None,
        max_staleness: Timeout = None,
    ) -> Entry[V] | None:
        """Return the value of a key with the revision that wrote it, or None where it is absent."""
        return run(self._verbs.entry(key, timeout=timeout, consistency=consistency, max_staleness=max_staleness))

    def get_many(
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
        return run(self._verbs.get_many(keys, timeout=timeout, consistency=consistency, max_staleness=max_staleness))

    def __getitem__(self, key: Any, /) -> Any:
        if isinstance(key, slice):
            return RemoteScan(self._verbs._slice(key))
        return run(self._verbs._item(key))

    def __contains__(self, key: object, /) -> bool:
        return run(self._verbs.contains(key))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return run(self._verbs.count())

    def __bool__(self) -> bool:
        return run(self._verbs.any())

    def __iter__(self) -> Iterator[K]:
        return RemoteScan(self._verbs._all(None), KEYS)

    def __reversed__(self) -> Iterator[K]:
        return RemoteScan(self._verbs._all(None, reverse=True), KEYS)

    def keys(self) -> KeysView[K]:
        """Return a live view of the keys, in order; each pass over it is one scan."""
        return StoreKeys(self)

    def values(self) -> ValuesView[V]:
        """Return a live view of the values, in the order of their keys; each pass over it is one scan."""
        return StoreValues(self)

    def items(self) -> ItemsView[K, V]:
        """Return a live view of the (key, value) pairs, in key order; each pass over it is one scan."""
        return StoreItems(self)

    def scan(
        self,
        start: K | None = None,
        stop: K | None = None,
        *,
        prefix: K | None = None,
        include_start: bool = True,
        include_stop: bool = False,
        reverse: bool = False,
        limit: int | None = None,
        timeout: Timeout = None,
        consistency: str | None = None,
        max_staleness: Timeout = None,
    ) -> "RemoteScan[K, V, tuple[K, V]]":
        """Return the rows from `start` to `stop`, in key order or in reverse, as of now. `timeout` is per page."""
        fresh = self._verbs._freshness(consistency, max_staleness)
        return RemoteScan(
            self._verbs._pages_of(
                start,
                stop,
                prefix=prefix,
                include_start=include_start,
                include_stop=include_stop,
                reverse=reverse,
                limit=limit,
                fresh=fresh,
                timeout=timeout,
            )
        )

    # Writing

    def put(
        self, key: K, value: V, *, ttl: Ttl | None = None, if_: Condition = ANY, timeout: Timeout = None
    ) -> Revision:
        """Write a value and return the revision that wrote it: on stable storage of a majority."""
        return run(self._verbs.put(key, value, ttl=ttl, if_=if_, timeout=timeout))

    def __setitem__(self, key: K, value: V, /) -> None:
        run(self._verbs.put(key, value))

    def put_many(self, items: Mapping[K, V] | Iterable[tuple[K, V]], /, *, timeout: Timeout = None) -> Revision:
        """Write many pairs in order and return the last revision. Atomic per chunk of 1 MiB and shard."""
        return run(self._verbs.put_many(items, timeout=timeout))

    def delete(self, key: K, /, *, timeout: Timeout = None) -> Revision:
        """Delete a key and return the revision that did it. An absent key is no error: nothing is read first."""
        return run(self._verbs.delete(key, timeout=timeout))

    def delete_many(self, keys: Iterable[K], /, *, timeout: Timeout = None) -> Revision:
        """Delete many keys, atomic per chunk of 1 MiB as put_many, and return the last revision."""
        return run(self._verbs.delete_many(keys, timeout=timeout))

    def __delitem__(self, key: Any, /) -> None:
        if isinstance(key, slice):
            run(self._verbs._remove_range(self._verbs._slice(key).keys))
        else:
            run(self._verbs.remove(key))

    def incr(self, key: K, by: int = 1, *, timeout: Timeout = None) -> int:
        """Add `by` to the number under a key, as one step, and return the sum."""
        return run(self._verbs.incr(key, by, timeout=timeout))

    def pop(self, key: K, /, default: Any = MISSING, *, timeout: Timeout = None) -> Any:
        """Delete a key and return its value; where absent return `default`, or raise KeyNotFound without one."""
        return run(self._verbs.pop(key, default, timeout=timeout))

    def popitem(self, *, timeout: Timeout = None) -> tuple[K, V]:
        """Delete the first key and return it with its value. Raises KeyNotFound where there is none."""
        return run(self._verbs.popitem(timeout=timeout))

    def setdefault(self, key: K, default: Any = None, /, *, timeout: Timeout = None) -> Any:
        """Return the value of a key, after writing `default` where it is absent."""
        return run(self._verbs.setdefault(key, default, timeout=timeout))

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Write a mapping, or pairs, as one batch: all or nothing."""
        run(self._verbs.update(other, **more))

    def clear(self, *, timeout: Timeout = None) -> None:
        """Delete every key of this keyspace, or view: in each shard as one step."""
        run(self._verbs.clear(timeout=timeout))

    def batch(self) -> "RemoteBatch[K, V]":
        """Return a context manager that gathers writes and commits them as one at the end of its block."""
        return RemoteBatch(self._verbs)

    # Views

    def snapshot(self, *, timeout: Timeout = None) -> "RemoteStore[K, V]":
        """Return a read-only store that stays at the newest revision as of now, as long as the cluster keeps it.

        Raises CrossShard where this keyspace, or view, lies in several shards.
        """
        return RemoteStore(run(self._verbs._take_snapshot(timeout=timeout)))

    def prefixed(self, prefix: K, /) -> "RemoteStore[K, V]":
        """Return a view of the keys that begin with `prefix`, which it adds and takes away."""
        return RemoteStore(self._verbs.prefixed(prefix))

    def keyspace(
        self,
        name: str,
        *,
        key: Any = codecs.Bytes,
        value: Any = codecs.Bytes,
        create: bool = True,
        compression: Compression | None = None,
        shards: int | None = None,
        partition: Partition | None = None,
        ordered: bool | Sequence[K] = False,
        timeout: Timeout = None,
    ) -> "RemoteStore[Any, Any]":
        """Return a view of another keyspace, made if absent; on a snapshot, of an existing one at its revision.

        Where it is made, `shards` spreads its keys over so many Raft groups, by their hash; `partition` (Until, Prefix,
        FirstItem) says which keys lie together, so that one batch or snapshot may touch them. `ordered` has shards of
        ranges of keys, cut at the keys that are given instead of True.
        """
        if compression is not None:
            raise _no_files("keyspace(compression=)", self._verbs._space.connection.target.uri)
        layout = layout_of(shards, partition, ordered, key)
        verbs = run(self._verbs._in_keyspace(name, key, value, create=create, timeout=timeout, layout=layout))
        return RemoteStore(verbs)

    def keyspaces(self, *, timeout: Timeout = None) -> dict[str, KeyspaceInfo]:
        """Return the keyspaces of the cluster by name, with the names of their codecs."""
        return run(self._verbs.keyspaces(timeout=timeout))

    # Care

    def checkpoint(self, path: str | os.PathLike[str], /) -> NoReturn:
        """Raise InvalidArgument: the files are on other machines."""
        raise _no_files("checkpoint()", self._verbs._space.connection.target.uri)

    def rotate_key(self, key: object, /, *, progress: object = None) -> NoReturn:
        """Raise InvalidArgument: the files are on other machines."""
        raise _no_files("rotate_key()", self._verbs._space.connection.target.uri)

    def flush(self, *, timeout: Timeout = None) -> None:
        """Have every replica write what its memory holds into tables, and wait. One out of reach is passed over."""
        run(self._verbs.flush(timeout=timeout))

    def compact(self, *, timeout: Timeout = None) -> None:
        """Have every replica rewrite its tables into their deepest level, and wait; as flush."""
        run(self._verbs.compact(timeout=timeout))

    def verify(self, *, progress: Callable[[int, int], object] | None = None, timeout: Timeout = None) -> Report:
        """Have every replica read its tables and check them. `progress` is called once, at the end.

        Raises Unavailable where no damage was found and a replica could not be asked.
        """
        return run(self._verbs.verify(progress=progress, timeout=timeout))

    def stats(self, *, timeout: Timeout = None) -> Stats:
        """Return numbers about the engines of the node that leads the meta group: one for each shard, added up."""
        return run(self._verbs.stats(timeout=timeout))

    def close(self) -> None:
        """End the connections; a view only lets go of itself. Idempotent. In a forked child, ends the child's own."""
        self._verbs.close()

    @property
    def open_report(self) -> OpenReport:
        """Raises InvalidArgument: what opening found is in the events of the node that opened it."""
        self._verbs._check_open()
        raise _no_files("open_report", self._verbs._space.connection.target.uri)

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self._verbs.closed

    @property
    def revision(self) -> Revision:
        """The newest revision, asked of the leader; of a snapshot the one it stays at."""
        return run(self._verbs._newest())


class RemoteScan(Rows, Generic[K, V, T]):
    """A scan of a remote store: see kvarts.base.api.Scan. Its first page is fetched when it is made."""

    def __init__(self, pages: Pages, mode: int = 0) -> None:
        super().__init__(pages, mode)
        self._thread = get_ident()
        self._look_ups = False
        self._beside: Rows | None = None
        run(self._fill())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        self._check_thread()
        self._started = True
        if self._list_rows:
            rows: list[Any] = []
            while len(rows) < self._list_rows and (self._at < len(self._keys) or run(self._fill())):
                rows.append(self._row())
            if not rows:
                raise StopIteration
            return rows  # type: ignore[return-value]
        if self._at >= len(self._keys) and not run(self._fill()):
            raise StopIteration
        row: T = self._row()
        return row

    def keys(self) -> "RemoteScan[K, V, K]":
        """Turn this scan, before its first row, into one of keys, and return it."""
        self._check_thread()
        self._turn("keys", KEYS)
        self._look_ups = True
        return self  # type: ignore[return-value]

    def values(self) -> "RemoteScan[K, V, V]":
        """Turn this scan, before its first row, into one of values, and return it."""
        self._check_thread()
        self._turn("values", VALUES)
        return self  # type: ignore[return-value]

    def chunks(self, rows: int, /) -> "RemoteScan[K, V, list[T]]":
        """Turn this scan, before its first row, into one of lists of up to `rows` rows, and return it."""
        self._check_thread()
        self._list(rows)
        return self  # type: ignore[return-value]

    def __getitem__(self, key: K, /) -> V:
        """Return the value of a key as the scan sees it, after keys() was asked for: what dict(scan) calls."""
        self._check_thread()
        if not self._look_ups:
            raise WrongType("a scan is read row by row: next(scan), list(scan), dict(scan)")
        found = run(self._look_up(self._pages.speaker._key(key)))
        if found is None:
            raise KeyNotFound(key)
        value: V = self._pages.speaker._value(found)
        return value

    def close(self) -> None:
        """End the scan. Idempotent."""
        self._check_thread()
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    async def _look_up(self, key: bytes) -> bytes | None:
        """Return the value of a key at the scan's revision: from a second pass over the rows while asked in order."""
        if self._beside is None:
            self._beside = Rows(self._pages.again())
        found = await self._beside._pass(key)
        if found is not None:
            return found
        return await self._pages.look_up(key)

    def _check_thread(self) -> None:
        if get_ident() != self._thread:
            raise WrongThread("a scan belongs to the thread that started it", hint="start a scan in each thread")


class RemoteBatch(BatchFace[K, V]):
    """A batch of a remote store: see kvarts.base.api.Batch."""

    def keyspace(self, name: str, *, key: Any = codecs.Bytes, value: Any = codecs.Bytes, create: bool = True) -> Any:
        """Return a face of this same batch whose writes go to another keyspace of the store."""
        verbs: Any = self._verbs
        return RemoteBatch(run(verbs._in_keyspace(name, key, value, create=create)), self._gathered)

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        run(self._finish(kind))


def _opened_again(target: Target, checked: Settings, key: Any, value: Any) -> "RemoteStore[Any, Any]":
    """Return the store that was pickled, with connections of its own."""
    return _open(_connected(target, checked), key, value)


def _no_files(what: str, uri: str) -> InvalidArgument:
    return InvalidArgument(
        f"{what} is of a store on this machine, not of {uri!r}", hint="call it where the node's data is, or copy rows"
    )
