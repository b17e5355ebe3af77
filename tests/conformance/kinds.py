"""The kinds of store that every case runs against. A new kind (remote, say) is one more class here."""

import asyncio
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest

import kvarts
from kvarts.base.options import OpenOptions
from kvarts.remote.store import RemoteStore
from tests.conformance.face import Face, open_face
from tests.servers import Cluster
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

ENCRYPTED: OpenOptions = {**TINY, "encryption_key": b"k" * 32}


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


def encrypted(folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Opens an encrypted directory, with memtables and tables so small that a few rows reach every level."""
    return kvarts.open(folder / "encrypted", **codecs, **ENCRYPTED)


def in_memory(_folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Opens a store that no file holds."""
    return kvarts.open(":memory:", **codecs)


def prefixed(_folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Views a part of a store whose other keys lie right before and right after it."""
    key = codecs.get("key", kvarts.Bytes)
    if key not in (kvarts.Bytes, kvarts.Str, kvarts.Tuple):
        raise Unfit("prefixed() needs Bytes, Str or Tuple keys")
    store = kvarts.open(":memory:", **codecs)
    decoy = {kvarts.Bytes: b"0", kvarts.Str: "0", kvarts.U64: 0, kvarts.Tuple: (0,), kvarts.Json: 0}[
        codecs.get("value", kvarts.Bytes)
    ]
    if key is kvarts.Tuple:
        for items in (("p\0",), ("p\0", 1), ("pp", 1), ("o", 1), ("q",), (b"p", 1), (None, "p")):
            store[items] = decoy
        return store.prefixed(("p",))
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


_clusters: dict[int | str, Cluster] = {}
_spaces = count(1)


def _own_space(nodes: int) -> str:
    """Names a keyspace that no case has seen, of a cluster that runs as long as the session does."""
    if nodes not in _clusters:
        _clusters[nodes] = Cluster(nodes)
    return f"{_clusters[nodes].uri}/case{next(_spaces)}"


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _begun(store: "kvarts.Store[Any, Any]") -> "kvarts.Store[Any, Any]":
    # As in `remote`.
    store.clear()
    return store


SHARDS = 8
_spaces_free: dict[tuple[str, ...], list[str]] = {}
"""Keyspaces with shards that cases have used and cleared, by what they are like."""
_spaces_used: list[tuple[tuple[str, ...], str]] = []


def _shared_space(*like: str) -> str:
    """Names a keyspace that no other store of this case uses. Each has Raft groups of its own: they are used again."""
    if "shards" not in _clusters:
        _clusters["shards"] = Cluster(3)
        _spaces_free.clear()
    free = _spaces_free.setdefault(like, [])
    name = free.pop() if free else f"case{next(_spaces)}"
    _spaces_used.append((like, name))
    return f"{_clusters['shards'].uri}/{name}"


def sharded(_folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Opens a keyspace of its own, of eight shards, in a cluster of three nodes."""
    uri = _shared_space("hashed", *(repr(codec) for codec in sorted(codecs.items(), key=str)))
    return _begun(kvarts.open(uri, timeout=20, shards=SHARDS, **codecs))


def sharded_async(_folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Opens the same as `sharded`, by the async face."""
    uri = _shared_space("hashed", *(repr(codec) for codec in sorted(codecs.items(), key=str)))
    return _begun(open_face(_loop(), uri, timeout=20, shards=SHARDS, **codecs))


def together(_folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Views the keys with one partition part: they lie in one of eight shards."""
    key = codecs.get("key", kvarts.Bytes)
    if key not in (kvarts.Bytes, kvarts.Str, kvarts.Tuple):
        raise Unfit("prefixed() needs Bytes, Str or Tuple keys")
    uri = _shared_space("parted", *(repr(codec) for codec in sorted(codecs.items(), key=str)))
    part: Any = kvarts.FirstItem if key is kvarts.Tuple else kvarts.Until(b"/")
    store: Any = _begun(kvarts.open(uri, timeout=20, shards=SHARDS, partition=part, **codecs))
    prefix = {kvarts.Bytes: b"p/", kvarts.Str: "p/", kvarts.Tuple: ("p",)}[key]
    view: kvarts.Store[Any, Any] = store.prefixed(prefix)
    return view


def node(_folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Opens a keyspace of its own on a node that is a cluster of one."""
    return _begun(kvarts.open(_own_space(1), timeout=20, **codecs))


def cluster(_folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Opens a keyspace of its own in a cluster of three nodes."""
    return _begun(kvarts.open(_own_space(3), timeout=20, **codecs))


def node_async(_folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Opens the same as `node`, by the async face."""
    return _begun(open_face(_loop(), _own_space(1), timeout=20, **codecs))


def cluster_async(_folder: Path, **codecs: Any) -> "kvarts.Store[Any, Any]":
    """Opens the same as `cluster`, by the async face."""
    return _begun(open_face(_loop(), _own_space(3), timeout=20, **codecs))


def end_used_clusters() -> None:
    """Ends clusters in which a case has made keyspaces of its own: the next case finds none of them."""
    for nodes, running in list(_clusters.items()):
        with kvarts.open(running.uri, timeout=20) as store:
            names = set(store.keyspaces())
        if not all(name == "default" or name.startswith("case") for name in names):
            _clusters.pop(nodes).stop()


def end_clusters() -> None:
    """Ends what the session used."""
    while _clusters:
        _clusters.popitem()[1].stop()
    _loop().close()


def free_spaces() -> None:
    """Lets later cases use what this one has used."""
    while _spaces_used:
        like, name = _spaces_used.pop()
        _spaces_free.setdefault(like, []).append(name)


def may_span_shards(kind: str) -> bool:
    """True where keys of one batch or snapshot may lie in several shards, which is refused."""
    return kind in ("sharded", "sharded-async")


def numbers_refusals(db: "kvarts.Store[Any, Any]") -> bool:
    """True where a write that was refused takes a revision too: it has an entry of its own in a cluster's log."""
    return isinstance(db, RemoteStore | Face) and "/case" in repr(db)


def skip_where_async(db: "kvarts.Store[Any, Any]", why: str) -> None:
    """Skips a case that is about threads that wait."""
    if isinstance(db, Face):
        pytest.skip(why)


def skip_where_remote(db: "kvarts.Store[Any, Any]", why: str) -> None:
    """Skips a case that is about files of this machine."""
    if isinstance(db, RemoteStore | Face):
        pytest.skip(why)


def skip_where_tiny_cluster(db: "kvarts.Store[Any, Any]", why: str) -> None:
    """Skips a case that needs a real node."""
    if any(repr(server.uri)[1:-1] in repr(db) for server in _servers):
        pytest.skip(why)


def skip_where_together(db: "kvarts.Store[Any, Any]", why: str) -> None:
    """Skips a case about keyspaces that share what one shard has."""
    if "/case" in repr(db) and "prefix=" in repr(db):
        pytest.skip(why)


def stop_servers() -> None:
    """Ends the clusters of the test that ran."""
    while _servers:
        _servers.pop().stop()


KINDS: dict[str, Callable[..., "kvarts.Store[Any, Any]"]] = {
    "disk": on_disk,
    "tiny": tiny,
    "encrypted": encrypted,
    "memory": in_memory,
    "prefixed": prefixed,
    "keyspace": in_keyspace,
    "remote": remote,
    "node": node,
    "cluster": cluster,
    "node-async": node_async,
    "cluster-async": cluster_async,
    "sharded": sharded,
    "sharded-async": sharded_async,
    "together": together,
}
