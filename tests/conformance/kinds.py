"""The kinds of store that every case runs against. A new kind (remote, say) is one more class here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

import kvarts
from kvarts.base.options import OpenOptions
from kvarts.remote.store import RemoteStore
from tests.tiny import Tiny

TINY: OpenOptions = {
    "memory": "1MiB",
    "memtable_bytes": 4 << 10,
    "block_bytes": 256,
    "table_bytes": 4 << 10,
    "level_base_bytes": 8 << 10,
    "level0_tables": 1,
    "log_bytes": 64 << 10,
    "compression": "none",
}


class Make(Protocol):
    """Opens one store of a kind, with codecs; the fixture closes it. Raises Unfit where the kind has no such store."""

    def __call__(self, *, key: Any = ..., value: Any = ...) -> "kvarts.Store[Any, Any]": ...


class Unfit(Exception):
    """This kind of store does not come with these codecs."""


def on_disk(folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Opens a directory with the default options."""
    return kvarts.open(folder / "store", **codecs)


def tiny(folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Opens a directory with memtables, blocks and tables so small that a few rows reach every level."""
    return kvarts.open(folder / "tiny", **codecs, **TINY)


def in_memory(_folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Opens a store that no file holds."""
    return kvarts.open(":memory:", **codecs)


def prefixed(_folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Views a part of a store whose other keys lie right before and right after it."""
    key = codecs.get("key", kvarts.Bytes)
    if key not in (kvarts.Bytes, kvarts.Str):
        raise Unfit("prefixed() needs Bytes or Str keys")
    store = kvarts.open(":memory:", **codecs)
    decoy = {kvarts.Bytes: b"0", kvarts.Str: "0", kvarts.U64: 0, kvarts.Json: 0}[codecs.get("value", kvarts.Bytes)]
    for name in ("p", "p.", "p0", "q/", "o/"):
        store[name if key is kvarts.Str else name.encode()] = decoy
    return store.prefixed("p/" if key is kvarts.Str else b"p/")


def in_keyspace(folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Views a keyspace beside a default one that holds other rows."""
    store = kvarts.open(folder / "spaces")
    store[b"a"] = b"not this one"
    return store.keyspace("mine", **codecs)


_servers: list[Tiny] = []


def remote(_folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Opens the default keyspace of a cluster of its own."""
    _servers.append(Tiny())
    store = kvarts.open(_servers[-1].uri, **codecs)
    # The first write also opens the client's session, which takes a revision: cases count those of their own writes.
    store.clear()
    return store


def skip_where_remote(db: "kvarts.Store[Any, Any]", why: str) -> None:
    """Skips a case that is about files of this machine."""
    if isinstance(db, RemoteStore):
        pytest.skip(why)


def stop_servers() -> None:
    """Ends the clusters of the test that ran."""
    while _servers:
        _servers.pop().stop()


KINDS: dict[str, Callable[..., "kvarts.Store[Any, Any]"]] = {
    "disk": on_disk,
    "tiny": tiny,
    "memory": in_memory,
    "prefixed": prefixed,
    "keyspace": in_keyspace,
    "remote": remote,
}
