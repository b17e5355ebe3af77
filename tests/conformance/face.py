"""An AsyncStore with the face of a Store, so that every case runs on it: each call runs the loop until it is done.

What only the sync face has is said here by what the async one has in its place: `len(db)` by `await db.count()`, say.
"""

import asyncio
from collections.abc import ItemsView, KeysView, ValuesView
from typing import Any, Self

import kvarts
from kvarts.base.views import StoreItems, StoreKeys, StoreValues


def _verb(name: str) -> Any:
    def call(self: "Face", *arguments: Any, **options: Any) -> Any:
        return self._wait(getattr(self._store, name)(*arguments, **options))

    return call


class Face(kvarts.Store[Any, Any]):
    """A store that is waited for, over one that is awaited."""

    checkpoint = _verb("checkpoint")
    rotate_key = _verb("rotate_key")
    get = _verb("get")
    entry = _verb("entry")
    get_many = _verb("get_many")
    put = _verb("put")
    put_many = _verb("put_many")
    delete = _verb("delete")
    delete_many = _verb("delete_many")
    incr = _verb("incr")
    pop = _verb("pop")
    popitem = _verb("popitem")
    setdefault = _verb("setdefault")
    update = _verb("update")
    clear = _verb("clear")
    keyspaces = _verb("keyspaces")
    flush = _verb("flush")
    compact = _verb("compact")
    verify = _verb("verify")
    stats = _verb("stats")

    def __init__(self, loop: asyncio.AbstractEventLoop, store: "kvarts.AsyncStore[Any, Any]") -> None:
        self._loop = loop
        self._store: Any = store

    def _wait(self, what: Any) -> Any:
        async def whole() -> Any:
            return await what

        if self._loop.is_running():
            # Called by what a verb calls: only what ends without waiting can be asked for there.
            try:
                whole().send(None)
            except StopIteration as done:
                return done.value
        return self._loop.run_until_complete(whole())

    def _make(self, what: Any) -> Any:
        """Calls what needs a loop that runs though it is not awaited: it fetches its first page when it is made."""

        async def scan() -> Any:
            made = what()
            await made._fill()
            return made

        return Scan(self, self._wait(scan()))

    def __repr__(self) -> str:
        return repr(self._store)

    def __getitem__(self, key: Any, /) -> Any:
        return self._make(lambda: self._store[key]) if isinstance(key, slice) else self._wait(self._store[key])

    def __setitem__(self, key: Any, value: Any, /) -> None:
        self.put(key, value)

    def __delitem__(self, key: Any, /) -> None:
        if isinstance(key, slice):
            if key.step is not None:
                self._store[key]
            self._wait(self._store.delete_range(key.start, key.stop))
        else:
            self._wait(self._store.remove(key))

    def __contains__(self, key: object, /) -> bool:
        return bool(self._wait(self._store.contains(key)))

    def __len__(self) -> int:
        return int(self._wait(self._store.count()))

    def __bool__(self) -> bool:
        return bool(self._wait(self._store.any()))

    def __iter__(self) -> Any:
        return self._make(self._store.keys)

    def __reversed__(self) -> Any:
        return self._make(lambda: self._store.scan(reverse=True).keys())

    def keys(self) -> KeysView[Any]:
        return StoreKeys(self)

    def values(self) -> ValuesView[Any]:
        return StoreValues(self)

    def items(self) -> ItemsView[Any, Any]:
        return StoreItems(self)

    def scan(self, *bounds: Any, **options: Any) -> Any:
        return self._make(lambda: self._store.scan(*bounds, **options))

    def batch(self) -> Any:
        return Batch(self, self._store.batch())

    def snapshot(self, **options: Any) -> "Face":
        return Face(self._loop, self._wait(self._store.snapshot(**options)))

    def prefixed(self, prefix: Any, /) -> "Face":
        return Face(self._loop, self._store.prefixed(prefix))

    def keyspace(self, name: str, **options: Any) -> "Face":
        return Face(self._loop, self._wait(self._store.keyspace(name, **options)))

    def close(self) -> None:
        self._wait(self._store.close())

    @property
    def closed(self) -> bool:
        return bool(self._store.closed)

    @property
    def revision(self) -> Any:
        return self._wait(self._store.revision)

    @property
    def open_report(self) -> Any:
        return self._store.open_report


class Scan:
    """An AsyncScan, iterated by `for`."""

    def __init__(self, face: Face, scan: Any) -> None:
        self._face = face
        self._scan = scan
        self._rows: Any = None

    def __repr__(self) -> str:
        return repr(self._scan)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return self._face._wait(self._scan.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def keys(self) -> Self:
        # For dict(scan), which asks for each key's value: of the same rows, read beside.
        self._rows = kvarts.AsyncScan(self._scan._pages.again())
        self._scan.keys()
        return self

    def values(self) -> Self:
        self._scan.values()
        return self

    def chunks(self, rows: int, /) -> Self:
        self._scan.chunks(rows)
        return self

    def __getitem__(self, key: Any, /) -> Any:
        if self._rows is None:
            raise kvarts.WrongType("a scan is read row by row: list(scan)")
        if not isinstance(self._rows, dict):
            self._rows = self._whole()
        try:
            return self._rows[key]
        except KeyError:
            raise kvarts.KeyNotFound(key) from None

    def _whole(self) -> dict[Any, Any]:
        async def rows() -> dict[Any, Any]:
            return {key: value async for key, value in self._rows}

        return dict(self._face._wait(rows()))

    def close(self) -> None:
        self._face._wait(self._scan.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Batch:
    """An AsyncBatch, entered by `with`."""

    def __init__(self, face: Face, batch: Any) -> None:
        self._face = face
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __setitem__(self, key: Any, value: Any, /) -> None:
        self._batch[key] = value

    def __delitem__(self, key: Any, /) -> None:
        del self._batch[key]

    def __len__(self) -> int:
        return len(self._batch)

    def __bool__(self) -> bool:
        return bool(self._batch)

    def __repr__(self) -> str:
        return repr(self._batch)

    def keyspace(self, name: str, **options: Any) -> "Batch":
        return Batch(self._face, self._face._wait(self._batch.keyspace(name, **options)))

    def __enter__(self) -> Self:
        self._face._wait(self._batch.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._face._wait(self._batch.__aexit__(*error))


def open_face(loop: asyncio.AbstractEventLoop, uri: str, **options: Any) -> Face:
    """Opens a store by its async face."""

    async def opened() -> Any:
        return await kvarts.open_async(uri, **options)

    return Face(loop, loop.run_until_complete(opened()))
