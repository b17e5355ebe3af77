"""The store on this machine: the native tree with the hot verbs, and here everything that is not hot."""

import os
from collections.abc import Callable, ItemsView, KeysView, ValuesView
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from kvarts import _native
from kvarts.base import codecs
from kvarts.base.api import Batch, Store
from kvarts.base.codecs import Codec, check_codec
from kvarts.base.compression import STORES, Compression, check_compression
from kvarts.base.encryption import EncryptionKey, Keyring
from kvarts.base.errors import CodecError, InvalidArgument, ReadOnlyError, StoreNotFound, WrongType
from kvarts.base.hkdf import key_id
from kvarts.base.types import Damage, KeyspaceInfo, KeyspaceStats, OpenReport, Report, Revision, Rotation, Stats
from kvarts.base.views import StoreItems, StoreKeys, StoreValues
from kvarts.embedded.paths import check_name, shown, text_path

K = TypeVar("K")
V = TypeVar("V")

DEFAULT_KEYSPACE = "default"


class EmbeddedStore(_native.Tree[K, V], Store[K, V]):
    """A keyspace of a store on this machine, or a view of one. Opened by kvarts.open; see Store for the contract."""

    _held: _native.Database
    _target: str
    _keyspace: str
    _codecs: tuple[Codec[Any], Codec[Any]]
    _prefix: bytes
    _owner: bool
    _names: frozenset[str] | None
    """The keyspaces there were when the snapshot was taken; None where this is no snapshot."""

    def __repr__(self) -> str:
        view = f" prefix={self._prefix!r}" if self._prefix else ""
        view += " snapshot" if self.is_snapshot else ""
        keyspace = f" keyspace={shown(self._keyspace)}" if self._keyspace != DEFAULT_KEYSPACE else ""
        key, value = self._codecs
        state = self.state
        at = f"revision={self.revision}" if state == "open" else state
        return f"<kvarts.Store {self._target!r}{keyspace}{view} key={shown(key.name)} value={shown(value.name)} {at}>"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("an embedded store cannot be pickled or copied: open it in one process and share the object")

    # The mapping's views: each pass is one scan, not a get per key.

    def keys(self) -> KeysView[K]:
        """Return a live view of the keys, in order; each pass over it is one scan."""
        return StoreKeys(self)

    def values(self) -> ValuesView[V]:
        """Return a live view of the values, in the order of their keys; each pass over it is one scan."""
        return StoreValues(self)

    def items(self) -> ItemsView[K, V]:
        """Return a live view of the (key, value) pairs, in key order; each pass over it is one scan."""
        return StoreItems(self)

    # Views of the store

    def batch(self) -> Batch[K, V]:
        """Return a context manager that gathers writes and commits them as one at the end of its block."""
        return _native.Batch(self)

    def snapshot(self) -> "EmbeddedStore[K, V]":
        """Return a read-only store that stays at the newest revision as of now."""
        if self.is_snapshot:
            return self._view(self._prefix)
        held = self._database.snapshot()
        names = frozenset(name for name, *_ in self._database.trees())
        return self._view(self._prefix, _Moment(held, names))

    def prefixed(self, prefix: K, /) -> "EmbeddedStore[K, V]":
        """Return a view of the keys that begin with `prefix`, which it adds and takes away."""
        name = self._codecs[0].name
        if not codecs.has_prefixes(self._codecs[0]):
            raise InvalidArgument(f"prefixed() needs Bytes, Str or Tuple keys, these are {name}", hint="use a keyspace")
        try:
            encoded = self._codecs[0].encode(prefix)
        except UnicodeEncodeError as error:
            raise CodecError("the text has no UTF-8 form") from error
        return self._view(self._prefix + encoded)

    def keyspace(
        self,
        name: str,
        *,
        key: Any = codecs.Bytes,
        value: Any = codecs.Bytes,
        create: bool = True,
        compression: Compression | None = None,
    ) -> "EmbeddedStore[Any, Any]":
        """Return a view of another keyspace, made if absent; on a snapshot, of an existing one at its revision."""
        check_codec(key, "key")
        check_codec(value, "value")
        if compression is None:
            return self._keyspace_view(name, key, value, create=create)
        if self.is_snapshot:
            raise ReadOnlyError("a snapshot's keyspace() takes no compression", hint="call it on the store")
        own = None if compression == STORES else check_compression(compression)
        view = self._keyspace_view(name, key, value, create=create)
        self._database.set_compression(name, own)
        return view

    def keyspace_as_made(self, name: str) -> "EmbeddedStore[Any, Any]":
        """Return a view of a keyspace with the codecs it was made with, or Bytes where they are not built in."""
        return self._keyspace_view(name, None, None, create=False)

    def keyspaces(self) -> dict[str, KeyspaceInfo]:
        """Return the keyspaces of the store by name, with their codecs and compressions."""
        return {
            name: KeyspaceInfo(name, key, value, tuple(compression) if compression else None)
            for name, key, value, compression in self._database.trees()
            if self._names is None or name in self._names
        }

    # Care

    def checkpoint(self, path: str | os.PathLike[str], /) -> Revision:
        """Copy the whole store, all keyspaces at one revision, to a path that must not exist."""
        self._check_not_snapshot("checkpoint")
        if self._database.in_memory:
            raise InvalidArgument(
                "a store in memory has no files to copy", hint="put_many(db.items()) into one on disk"
            )
        target = os.path.abspath(text_path(path, "path"))
        if os.path.lexists(target):
            raise InvalidArgument(f"{target} exists already", hint="give a path that does not exist")
        parent = os.path.dirname(target)
        if not os.path.isdir(parent):
            raise StoreNotFound(f"no directory {parent} to hold the copy", hint=f"make {parent} first", filename=target)
        own = os.path.realpath(self._database.path)
        if os.path.commonpath([own, os.path.realpath(parent)]) == own:
            raise InvalidArgument(f"{target} lies in the store itself", hint="give a path beside the store's directory")
        return Revision(self._database.checkpoint(target))

    def flush(self) -> None:
        """Write what memory holds into tables, and wait for it."""
        self._check_not_snapshot("flush")
        self._database.flush()

    def compact(self) -> None:
        """Rewrite this keyspace into its deepest level and wait."""
        self._check_not_snapshot("compact")
        self._database.compact(self._keyspace)

    def rotate_key(self, key: EncryptionKey, /, *, progress: Callable[[int, int], object] | None = None) -> Rotation:
        """Make `key` the key of the store: all that older ones open is written anew."""
        self._check_not_snapshot("rotate_key")
        _check_progress(progress)
        if isinstance(key, list | tuple):
            raise WrongType("rotate_key() takes one key", hint="open the store with all that are needed")
        with Keyring(key) as ring:
            tables, written = self._database.rotate_key(ring.keys[0], progress)
            return Rotation(tables=tables, bytes=written, key_id=key_id(ring.keys[0]))

    def verify(self, *, progress: Callable[[int, int], object] | None = None) -> Report:
        """Read all of the store from disk and check it. Damage is listed, not raised."""
        _check_progress(progress)
        files, blocks, read, damage = self._database.verify(progress)
        return Report(files=files, blocks=blocks, bytes=read, damage=tuple(Damage(**one) for one in damage))

    def stats(self) -> Stats:
        """Return numbers about the whole store."""
        numbers, trees = self._database.stats()
        damage = tuple(Damage(**one) for one in numbers.pop("damage"))
        return Stats(**numbers, damage=damage, keyspaces=tuple(KeyspaceStats(**tree) for tree in trees))

    @property
    def open_report(self) -> OpenReport:
        """What opening found: batches replayed, a torn tail dropped."""
        replayed, unclean, torn, created = self._database.open_report()
        return OpenReport(replayed=replayed, unclean=unclean, torn=torn, created=created)

    def close(self) -> None:
        """Flush, sync and close; a view lets go of what it holds. Idempotent. Does nothing in a forked child."""
        self.release()
        if self._owner:
            self._held.close()

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self.state != "open"

    @property
    def _database(self) -> _native.Database:
        self.check_open()
        return self._held

    # How views are made

    def _view(self, prefix: bytes, at: "_Moment | None" = None) -> "EmbeddedStore[K, V]":
        key, value = self._codecs
        at = at or self._moment()
        return _make(self._database, self._keyspace, key, value, target=self._target, prefix=prefix, at=at)

    def _keyspace_view(self, name: str, key: Any, value: Any, *, create: bool) -> "EmbeddedStore[Any, Any]":
        return keyspace_of(
            self._database,
            name,
            key,
            value,
            create=create,
            target=self._target,
            owner=False,
            at=self._moment(),
        )

    def _moment(self) -> "_Moment | None":
        """Return another hold on what this snapshot stays at; None for what is no snapshot."""
        held = self.snapshot_handle()
        return _Moment(held, self._names or frozenset()) if held else None

    def _check_not_snapshot(self, verb: str) -> None:
        self.check_open()
        if self.is_snapshot:
            raise ReadOnlyError(f"{verb}() on a snapshot", hint="call it on the store")


def _check_progress(progress: object) -> None:
    if progress is not None and not callable(progress):
        raise WrongType(f"progress is a function, not {type(progress).__name__}", hint="progress(done, total)")


@dataclass(frozen=True, slots=True)
class _Moment:
    """What a snapshot stays at: a hold on its revision, and the names of the keyspaces there were."""

    held: _native.Snapshot
    names: frozenset[str]


def keyspace_of(
    database: _native.Database,
    name: str,
    key: Codec[Any] | None,
    value: Codec[Any] | None,
    *,
    create: bool,
    target: str,
    owner: bool = True,
    at: _Moment | None = None,
) -> EmbeddedStore[Any, Any]:
    """Return a store over a keyspace, made if absent and `create`. A codec of None is the one it was made with."""
    check_name(name)
    stored = database.tree(name)
    if at is not None and (stored is None or name not in at.names):
        raise InvalidArgument(f"the snapshot has no keyspace {name!r}", hint="its keyspaces() lists those it has")
    if stored is None:
        if not create:
            raise InvalidArgument(f"no keyspace {name!r}", hint="keyspaces() lists them; create=True makes one")
        key, value = key or codecs.Bytes, value or codecs.Bytes
        stored = database.make_tree(name, key.name, value.name)
    given = (key.name if key else stored[0], value.name if value else stored[1])
    if stored != given:
        raise codecs.mismatch(name, stored, given)
    key = key or codecs.BUILT_IN.get(stored[0], codecs.Bytes)
    value = value or codecs.BUILT_IN.get(stored[1], codecs.Bytes)
    return _make(database, name, key, value, target=target, owner=owner, at=at)


def _make(
    database: _native.Database,
    name: str,
    key: Codec[Any],
    value: Codec[Any],
    *,
    target: str,
    prefix: bytes = b"",
    owner: bool = False,
    at: _Moment | None = None,
) -> EmbeddedStore[Any, Any]:
    store: EmbeddedStore[Any, Any] = EmbeddedStore(
        database, name, native_codec(key), native_codec(value), prefix, at.held if at else None
    )
    store._held = database
    store._target = target
    store._keyspace = name
    store._codecs = (key, value)
    store._prefix = prefix
    store._owner = owner
    store._names = at.names if at else None
    return store


_NATIVE = {id(codec): codec.name for codec in (codecs.Bytes, codecs.Str, codecs.U64, codecs.Tuple)}


def native_codec(codec: Codec[Any]) -> Any:
    """Return how the native module knows a codec: ours by name, others by their two functions."""
    return _NATIVE.get(id(codec)) or (codec.encode, codec.decode)
