"""`kvarts.open`: the target alone picks where a store lives, on this machine or in a cluster."""

import os
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from kvarts.base import codecs
from kvarts.base.api import Store
from kvarts.base.codecs import Codec
from kvarts.base.errors import InvalidArgument
from kvarts.base.options import AnyOptions

if TYPE_CHECKING:
    from kvarts.remote.astore import AsyncStore, Opening

K = TypeVar("K")
V = TypeVar("V")

Target = str | os.PathLike[str]

_MEMORY = ":memory:"
_CLUSTER, _SERVICE = "kvarts://", "kvarts+srv://"
_REMOTE_ONLY = ("dns", "timeout", "consistency", "max_staleness", "shards", "partition", "ordered")


@overload
def open(target: Target = ..., **options: Unpack[AnyOptions]) -> Store[bytes, bytes]: ...
@overload
def open(target: Target = ..., *, key: Codec[K], **options: Unpack[AnyOptions]) -> Store[K, bytes]: ...
@overload
def open(target: Target = ..., *, value: Codec[V], **options: Unpack[AnyOptions]) -> Store[bytes, V]: ...
@overload
def open(target: Target = ..., *, key: Codec[K], value: Codec[V], **options: Unpack[AnyOptions]) -> Store[K, V]: ...
def open(target: Target = _MEMORY, *, key: Any = codecs.Bytes, value: Any = codecs.Bytes, **options: Any) -> Any:
    """Open the store at a path, making it if there is none, or ":memory:" for one that is gone after close, or a
    keyspace of a cluster: "kvarts://host1:7420,host2:7420/keyspace?timeout=5s", or "kvarts+srv://example.com/keyspace",
    whose nodes are told by records in DNS.

    Only the last directory of a path is made. `key` and `value` are codecs (Bytes, Str, U64, Tuple, Json, yours); they
    are kept with the store. Options of a path: create=True, durability="batch" | "sync" | "none", memory="256MiB",
    encryption_key= (KeyFile, KeyFromEnv, 32 bytes, a function, or a list: docs/guide/encryption.md); the others are in
    kvarts.base.options.Options. Options of a cluster, which may stand in the URI too: timeout=5 (seconds,
    a timedelta or text; of each call, failover included), consistency="linearizable" | "stale", max_staleness=; and
    dns=, the name server to ask (host:port);
    create=True; shards=, partition= and ordered= say how a keyspace that is made is spread over Raft groups
    (RemoteStore.keyspace). Close it, or use `with`; what is open at exit is closed then.
    Raises StoreNotFound, NotAStore, UnsafeStore, LockedError, CodecMismatch, EncryptionKeyError, CorruptionError,
    NewerFormat, StorageFull, StorageError, Unavailable, InvalidArgument (an unknown option, with the near one).
    """
    # Imported here: `import kvarts` and a store on disk load nothing of the other.
    if isinstance(target, str) and target.startswith((_CLUSTER, _SERVICE)):
        from kvarts.remote.store import open_remote

        _refuse_key(options)
        return open_remote(target, key=key, value=value, **options)
    for name in _REMOTE_ONLY:
        if name in options:
            raise InvalidArgument(f"{name}= is for a cluster", hint=f'"{_CLUSTER}host:7420/keyspace"')
    from kvarts.embedded.opening import open as open_embedded

    return open_embedded(target, key=key, value=value, **options)


@overload
def open_async(target: str, **options: Unpack[AnyOptions]) -> "Opening[AsyncStore[bytes, bytes]]": ...
@overload
def open_async(target: str, *, key: Codec[K], **options: Unpack[AnyOptions]) -> "Opening[AsyncStore[K, bytes]]": ...
@overload
def open_async(target: str, *, value: Codec[V], **options: Unpack[AnyOptions]) -> "Opening[AsyncStore[bytes, V]]": ...
@overload
def open_async(
    target: str, *, key: Codec[K], value: Codec[V], **options: Unpack[AnyOptions]
) -> "Opening[AsyncStore[K, V]]": ...
def open_async(target: Any, *, key: Any = codecs.Bytes, value: Any = codecs.Bytes, **options: Any) -> Any:
    """Open a keyspace of a cluster for asyncio: `db = await open_async(uri)`, or `async with open_async(uri) as db`.

    Options are those of open(). A path is InvalidArgument: a store on this machine answers in microseconds and has no
    async face. Raises Unavailable, CodecMismatch, InvalidArgument.
    """
    if not (isinstance(target, str) and target.startswith((_CLUSTER, _SERVICE))):
        raise InvalidArgument(
            f"open_async({target!r}): only kvarts:// targets have an async face",
            hint="use kvarts.open() for a store on this machine: its calls take microseconds",
        )
    from kvarts.remote.astore import open_remote_async

    _refuse_key(options)
    return open_remote_async(target, key=key, value=value, **options)


def _refuse_key(options: dict[str, Any]) -> None:
    """Refuse a key for what lies on other machines; None is no key."""
    if options.pop("encryption_key", None) is not None:
        raise InvalidArgument(
            "encryption_key= is for a store on this machine: a node's files are its operator's",
            hint="leave it out",
        )
