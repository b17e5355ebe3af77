"""The async face: the same verbs, awaited; answers come through one descriptor per event loop, many at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Generator, Sequence
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar

from kvarts import _native
from kvarts.base import codecs
from kvarts.base.compression import Compression
from kvarts.base.errors import ClosedError
from kvarts.base.types import Revision
from kvarts.remote.batch import BatchFace
from kvarts.remote.layout import layout_of
from kvarts.remote.pages import KEYS, VALUES, Rows
from kvarts.remote.seeds import are_known
from kvarts.remote.space import Space, Timeout
from kvarts.remote.store import _no_files, connect
from kvarts.remote.target import parse
from kvarts.remote.verbs import Verbs, first_space
from kvarts.shardmap.partition import Partition

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Loops:
    """The gate of the event loop that is running: shared by all views of a store, made anew for another loop."""

    def __init__(self, client: _native.Client) -> None:
        self._client = client
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate: _native.Gate | None = None

    def gate(self) -> _native.Gate:
        """Return the gate of the running loop. Raises RuntimeError where none runs."""
        loop = asyncio.get_running_loop()
        gate = self._gate
        if gate is None or loop is not self._loop or gate.forked:
            gate = self._bind(loop)
        return gate

    def release(self) -> None:
        """Have the loop watch no more."""
        loop, gate, self._loop, self._gate = self._loop, self._gate, None, None
        if loop is not None and gate is not None and not gate.forked and not loop.is_closed():
            gate.drain()
            loop.remove_reader(gate.fileno())

    def _bind(self, loop: asyncio.AbstractEventLoop) -> _native.Gate:
        if self._client.closed:
            # Nobody would end the watching.
            raise ClosedError("the store is closed")
        self.release()
        gate = _native.Gate(self._client, loop.create_future)
        loop.add_reader(gate.fileno(), gate.drain)
        self._loop, self._gate = loop, gate
        return gate


class AsyncStore(Verbs[K, V]):
    """A keyspace of a cluster, or a view of one, in asyncio. Opened by kvarts.open_async.

    The names are those of Store, and what waits is awaited: `await db.get(key)`, `async for key, value in db.scan()`,
    `async with db.batch() as batch`, `async with db.snapshot() as at`. For operators there are `await db[key]`,
    `async for row in db[a:b]`, `async for key in db`, and contains(), count(), any(), remove(), delete_range().
    Used from one event loop at a time.
    """

    def __init__(self, space: Space, *, owner: bool = False, loops: Loops | None = None) -> None:
        super().__init__(space, owner=owner)
        self._loops = loops or Loops(space.connection.client)

    def _send(self, request: _native.Request, timeout_ms: int) -> Awaitable[Any]:
        return self._loops.gate().submit(request, timeout_ms)

    def _view(self, space: Space) -> Self:
        """Return a store of another space of the same connection."""
        return type(self)(space, loops=self._loops)

    def __repr__(self) -> str:
        return self._space.describe("AsyncStore", "closed" if self.closed else "open")

    def __getitem__(self, key: Any, /) -> Any:
        """Return an awaitable of the value of a key; of db[a:b] a scan."""
        return AsyncScan(self._slice(key)) if isinstance(key, slice) else self._item(key)

    def __aiter__(self) -> AsyncIterator[K]:
        return AsyncScan(self._all(None), KEYS)

    def keys(self) -> "AsyncScan[K]":
        """Return a scan of all keys."""
        return AsyncScan(self._all(None), KEYS)

    def values(self) -> "AsyncScan[V]":
        """Return a scan of all values, in the order of their keys."""
        return AsyncScan(self._all(None), VALUES)

    def items(self) -> "AsyncScan[tuple[K, V]]":
        """Return a scan of all pairs."""
        return AsyncScan(self._all(None))

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
    ) -> "AsyncScan[tuple[K, V]]":
        """Return the rows from `start` to `stop`, as of the first one's fetching. `timeout` is per page."""
        fresh = self._freshness(consistency, max_staleness)
        return AsyncScan(
            self._pages_of(
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

    def batch(self) -> "AsyncBatch[K, V]":
        """Return an async context manager that gathers writes and commits them as one at the end of its block."""
        return AsyncBatch(self)

    def snapshot(self, *, timeout: Timeout = None) -> "Opening[Self]":
        """Return, awaited or entered, a read-only store that stays at the newest revision as of then."""
        return Opening(self._take_snapshot(timeout=timeout))

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
    ) -> "Opening[AsyncStore[Any, Any]]":
        """Return, awaited or entered, a view of another keyspace, made if absent: see RemoteStore.keyspace."""
        if compression is not None:
            raise _no_files("keyspace(compression=)", self._space.connection.target.uri)
        layout = layout_of(shards, partition, ordered, key)
        return Opening(self._in_keyspace(name, key, value, create=create, timeout=timeout, layout=layout))

    async def checkpoint(self, path: Any, /) -> NoReturn:
        """Raise InvalidArgument: the files are on other machines."""
        raise _no_files("checkpoint()", self._space.connection.target.uri)

    async def rotate_key(self, key: object, /, *, progress: object = None) -> NoReturn:
        """Raise InvalidArgument: the files are on other machines."""
        raise _no_files("rotate_key()", self._space.connection.target.uri)

    async def close(self) -> None:  # type: ignore[override]  # awaited, as all that may wait
        """End the connections, and calls under way with ClosedError; a view only lets go of itself. Idempotent."""
        ends = self._owner and not self._released
        super().close()
        if ends:
            # Not before: calls under way end with ClosedError, of which the loop must hear.
            self._loops.release()

    @property
    def revision(self) -> Awaitable[Revision]:
        """The newest revision, asked of the leader; of a snapshot the one it stays at. To be awaited."""
        return self._newest()

    @property
    def open_report(self) -> NoReturn:
        """Raises InvalidArgument: what opening found is in the events of the node that opened it."""
        raise _no_files("open_report", self._space.connection.target.uri)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.close()


class AsyncScan(Rows, Generic[T]):
    """Rows in key order, by `async for`, all as of the fetching of the first. For one task."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        self._started = True
        if self._list_rows:
            rows: list[Any] = []
            while len(rows) < self._list_rows and (self._at < len(self._keys) or await self._fill()):
                rows.append(self._row())
            if not rows:
                raise StopAsyncIteration
            return rows  # type: ignore[return-value]
        if self._at >= len(self._keys) and not await self._fill():
            raise StopAsyncIteration
        row: T = self._row()
        return row

    def keys(self) -> "AsyncScan[Any]":
        """Turn this scan, before its first row, into one of keys, and return it."""
        self._turn("keys", KEYS)
        return self

    def values(self) -> "AsyncScan[Any]":
        """Turn this scan, before its first row, into one of values, and return it."""
        self._turn("values", VALUES)
        return self

    def chunks(self, rows: int, /) -> "AsyncScan[list[T]]":
        """Turn this scan, before its first row, into one of lists of up to `rows` rows, and return it."""
        self._list(rows)
        return self  # type: ignore[return-value]

    async def close(self) -> None:
        """End the scan. Idempotent."""
        self._end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._end()


class AsyncBatch(BatchFace[K, V]):
    """Writes that are gathered, then committed at the end of an `async with` block as one. Gathering does not wait."""

    def keyspace(
        self, name: str, *, key: Any = codecs.Bytes, value: Any = codecs.Bytes, create: bool = True
    ) -> "Awaitable[AsyncBatch[Any, Any]]":
        """Return, awaited, a face of this same batch whose writes go to another keyspace of the store."""
        return self._face(name, key, value, create)

    async def _face(self, name: str, key: Any, value: Any, create: bool) -> "AsyncBatch[Any, Any]":
        verbs: Any = self._verbs
        return AsyncBatch(await verbs._in_keyspace(name, key, value, create=create), self._gathered)

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self._finish(kind)


class Opening(Generic[T]):
    """Something that takes a request to open: awaited it gives it, entered it also closes it in the end."""

    def __init__(self, opening: Coroutine[Any, Any, T]) -> None:
        self._opening = opening
        self._opened: Any = None

    def __await__(self) -> Generator[Any, Any, T]:
        return self._opening.__await__()

    async def __aenter__(self) -> T:
        self._opened = await self._opening
        opened: T = self._opened
        return opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self._opened.close()


def open_remote_async(
    uri: str, *, key: Any = codecs.Bytes, value: Any = codecs.Bytes, **options: Any
) -> Opening[AsyncStore[Any, Any]]:
    """Open, awaited or entered, the keyspace that a kvarts:// URI names."""
    return Opening(_open(uri, key, value, options))


async def _open(uri: str, key: Any, value: Any, options: dict[str, Any]) -> AsyncStore[Any, Any]:
    target = parse(uri)
    # To look names up takes a while, in which other tasks go on.
    known = are_known(target)
    connection = connect(target, options) if known else await asyncio.to_thread(connect, target, options)
    loops = Loops(connection.client)
    try:
        space = await first_space(AsyncStore, connection, key, value, loops=loops)
    except BaseException:
        loops.release()
        connection.client.close()
        raise
    return AsyncStore(space, owner=True, loops=loops)
