"""The face: what a store can do, wherever it lives. The docstrings are the contract that every kind of store keeps."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, MutableMapping
from datetime import timedelta
from os import PathLike
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, overload

from kvarts.base.codecs import Codec
from kvarts.base.compression import Compression
from kvarts.base.encryption import EncryptionKey
from kvarts.base.types import ANY, Condition, Entry, KeyspaceInfo, OpenReport, Report, Revision, Rotation, Stats

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
T = TypeVar("T")
K_contra = TypeVar("K_contra", contravariant=True)
V_contra = TypeVar("V_contra", contravariant=True)

Ttl = float | timedelta


class Scan(Protocol[K, V, T]):
    """Rows in key order, as of the scan's creation. An iterator, read once, in the thread that started it.

    It closes itself at its end; `close`, `with` or dropping it closes it earlier. Raises WrongThread, ClosedError.
    One of an embedded store also is an Arrow stream, before its first row: see docs/guide/arrow.md.
    """

    def __iter__(self) -> Self:
        """Return itself."""

    def __next__(self) -> T:
        """Return the next row: a (key, value) pair, unless keys(), values() or chunks() was asked for."""

    def keys(self) -> "Scan[K, V, K]":
        """Turn this scan, before its first row, into one of keys, and return it. Values are then read by scan[key]."""

    def values(self) -> "Scan[K, V, V]":
        """Turn this scan, before its first row, into one of values, and return it."""

    def chunks(self, rows: int, /) -> "Scan[K, V, list[T]]":
        """Turn this scan, before its first row, into one of lists of up to `rows` rows, and return it."""

    def __getitem__(self, key: K, /) -> V:
        """Return the value of a key as the scan sees it, after keys() was asked for: what `dict(scan)` calls.

        The scan then holds what it needs beyond its end, until it is closed or dropped. Raises KeyNotFound.
        """

    def close(self) -> None:
        """Free what the scan holds. Idempotent; a closed scan is at its end."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close."""


class Batch(Protocol[K_contra, V_contra]):
    """Writes that are gathered, then committed at the end of a `with` block as one: all or nothing, also after a crash.

    DISCARDED if the block raises. Writes are seen by nobody before the end, this block included.
    """

    def put(self, key: K_contra, value: V_contra, *, ttl: Ttl | None = None) -> None:
        """Gather a write; `ttl` counts from this call."""

    def delete(self, key: K_contra) -> None:
        """Gather a delete; an absent key is no error."""

    def __setitem__(self, key: K_contra, value: V_contra, /) -> None:
        """Gather a write."""

    def __delitem__(self, key: K_contra, /) -> None:
        """Gather a delete; unlike `del db[key]` an absent key is no error."""

    def __len__(self) -> int:
        """Return the number of writes gathered, those to other keyspaces included."""

    @overload
    def keyspace(self, name: str, *, create: bool = True) -> "Batch[bytes, bytes]": ...
    @overload
    def keyspace(self, name: str, *, key: Codec[K2], create: bool = True) -> "Batch[K2, bytes]": ...
    @overload
    def keyspace(self, name: str, *, value: Codec[V2], create: bool = True) -> "Batch[bytes, V2]": ...
    @overload
    def keyspace(self, name: str, *, key: Codec[K2], value: Codec[V2], create: bool = True) -> "Batch[K2, V2]": ...
    def keyspace(self, name: str, **options: Any) -> "Batch[Any, Any]":
        """Return a face of this same batch whose writes go to another keyspace of the store: see Store.keyspace."""

    @property
    def revision(self) -> Revision | None:
        """The revision of the commit, once the block has ended well; None before, or where nothing was written."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Commit if the block ended well, discard if it raised."""


class Store(MutableMapping[K, V]):
    """An ordered mapping that is kept. Keys lie in the order of their encoded bytes.

    May be shared between threads. One-key operations are linearizable; a write returns when it is durable to the level
    the store was opened with. Every call may raise ClosedError and ForkedHandle; every read CorruptionError and
    StorageError; every write also StorageFull, StoreFailed, LimitExceeded (key 1 B to 64 KiB, value up to 256 MiB, both
    encoded), and ReadOnlyError on a snapshot. A key or value of the wrong type is WrongType, a TypeError.
    A view (keyspace, prefixed, snapshot) is a Store too; closing it leaves the store open.
    """

    __slots__ = ()

    # Reading one key or many

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | D) -> V | D: ...
    @abstractmethod
    def get(self, key: K, /, default: Any = None) -> Any:
        """Return the value of a key, or `default` where it is absent."""

    @abstractmethod
    def entry(self, key: K, /) -> Entry[V] | None:
        """Return the value of a key with the revision that wrote it, or None where it is absent."""

    @abstractmethod
    def get_many(self, keys: Iterable[K], /, *, parallel: int | None = None) -> list[V | None]:
        """Return the values of many keys, in the order asked, all as of one revision; None where absent.

        `parallel` is the number of threads that read what is not in memory, 1 to 256; by default it is chosen by how
        many keys that are. A server chooses for itself.
        """

    @overload
    def __getitem__(self, key: K, /) -> V: ...
    @overload
    def __getitem__(self, key: slice, /) -> Scan[K, V, tuple[K, V]]: ...
    @abstractmethod
    def __getitem__(self, key: Any, /) -> Any:
        """Return the value of a key; db[a:b] is scan(a, b), db[a:b:-1] the same rows, last first.

        Raises KeyNotFound.
        """

    # Writing one key or many

    @abstractmethod
    def put(self, key: K, value: V, *, ttl: Ttl | None = None, if_: Condition = ANY) -> Revision:
        """Write a value and return the revision that wrote it.

        `ttl`, in seconds or as a timedelta, above 0: the key is absent once it has passed (to the millisecond, by the
        machine's clock); a later put without ttl lasts. `if_` is decided and written as one step: raises
        ConditionFailed, which carries the entry found, and writes nothing where it does not hold.
        """

    @abstractmethod
    def put_many(self, items: Mapping[K, V] | Iterable[tuple[K, V]], /) -> Revision:
        """Write many pairs in order and return the last revision (the current one where there were none).

        Atomic per chunk of 1 MiB of encoded keys and values (less where memory is small), not as a whole: batch() is.
        After an error, or a crash, the chunks before it are there.
        """

    @abstractmethod
    def delete(self, key: K, /) -> Revision:
        """Delete a key and return the revision that did it. An absent key is no error: nothing is read first."""

    @abstractmethod
    def delete_many(self, keys: Iterable[K], /) -> Revision:
        """Delete many keys, atomic per chunk of 1 MiB as put_many, and return the last revision."""

    @abstractmethod
    def __delitem__(self, key: K | slice, /) -> None:
        """Delete a key that is there, or with del db[a:b] every key in a range; as one step. Raises KeyNotFound.

        A range is one batch: LimitExceeded where its keys are over a quarter of memory.
        """

    @abstractmethod
    def incr(self, key: K, by: int = 1) -> int:
        """Add `by`, which may be negative, to the number under a key, as one step, and return the sum.

        An absent key counts as 0. U64 values are numbers from 0 to 2**64 - 1. Bytes and Str values are decimal text
        ("41") from -2**63 to 2**63 - 1. Other codecs must decode to an int. A ttl on the key stays. Raises
        InvalidArgument where the sum does not fit, CodecError where the value is no number; nothing is written then.
        """

    @abstractmethod
    def batch(self) -> Batch[K, V]:
        """Return a context manager that gathers writes and commits them as one at the end of its block."""

    # Ranges and views

    @abstractmethod
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
    ) -> Scan[K, V, tuple[K, V]]:
        """Return the rows from `start` to `stop`, in key order or in reverse, as of now.

        `start` is the lower bound and `stop` the upper one in both directions; None is no bound. `prefix` (Bytes,
        Str and Tuple keys) narrows the range to keys that begin with it: of tuples, its items. At most `limit` rows.
        """

    @abstractmethod
    def snapshot(self) -> "Store[K, V]":
        """Return a read-only store that stays at the newest revision as of now.

        A context manager: close() lets it go.
        """

    @abstractmethod
    def prefixed(self, prefix: K, /) -> "Store[K, V]":
        """Return a view of the keys that begin with `prefix`, which it adds and takes away.

        Bytes, Str and Tuple keys only. Of tuples it adds items: `db.prefixed(("user",))[(42,)]` is `db["user", 42]`.
        """

    @overload
    def keyspace(
        self, name: str, *, create: bool = True, compression: Compression | None = None
    ) -> "Store[bytes, bytes]": ...
    @overload
    def keyspace(
        self, name: str, *, key: Codec[K2], create: bool = True, compression: Compression | None = None
    ) -> "Store[K2, bytes]": ...
    @overload
    def keyspace(
        self, name: str, *, value: Codec[V2], create: bool = True, compression: Compression | None = None
    ) -> "Store[bytes, V2]": ...
    @overload
    def keyspace(
        self,
        name: str,
        *,
        key: Codec[K2],
        value: Codec[V2],
        create: bool = True,
        compression: Compression | None = None,
    ) -> "Store[K2, V2]": ...
    @abstractmethod
    def keyspace(
        self,
        name: str,
        *,
        key: Any = ...,
        value: Any = ...,
        create: bool = True,
        compression: Compression | None = None,
    ) -> "Store[Any, Any]":
        """Return a view of another keyspace: its own keys and codecs; the log, the memory and batch() are shared.

        Codecs are Bytes unless given, and kept: CodecMismatch where it was made with others. Made if absent (durable on
        return), unless create=False: then InvalidArgument. The store itself is keyspace "default".
        `compression` is kept too (durable on return) and counts for tables written from then on: as open() takes it, or
        "store" for what the store is opened with. What knows format 1 only refuses a store with a keyspace's own.
        """

    @abstractmethod
    def keyspaces(self) -> dict[str, KeyspaceInfo]:
        """Return the keyspaces of the store by name, with their codecs and compressions; of a snapshot those it has."""

    # The mapping's other verbs: each native, and one step

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, /, default: V) -> V: ...
    @overload
    def pop(self, key: K, /, default: D) -> V | D: ...
    @abstractmethod
    def pop(self, key: K, /, default: Any = ...) -> Any:
        """Delete a key and return its value; where absent return `default`, or raise KeyNotFound without one."""

    @abstractmethod
    def popitem(self) -> tuple[K, V]:
        """Delete the first key and return it with its value. Raises KeyNotFound where there is none."""

    @abstractmethod
    def setdefault(self, key: K, default: Any = None, /) -> Any:
        """Return the value of a key, after writing `default` where it is absent."""

    @abstractmethod
    def update(self, other: Any = (), /, **more: Any) -> None:
        """Write a mapping, or pairs, as one batch: all or nothing.

        LimitExceeded over a quarter of memory; see put_many.
        """

    @abstractmethod
    def clear(self) -> None:
        """Delete every key of this keyspace, or view, as one batch.

        LimitExceeded where the keys are over a quarter of memory.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of keys: exact, and counted one by one. `bool(db)` looks for the first only."""

    @abstractmethod
    def __bool__(self) -> bool:
        """Return whether there is any key: one seek."""

    @abstractmethod
    def __iter__(self) -> Iterator[K]:
        """Return the keys in order, as of now."""

    @abstractmethod
    def __reversed__(self) -> Iterator[K]:
        """Return the keys in reverse order, as of now."""

    @abstractmethod
    def keys(self) -> KeysView[K]:
        """Return a live view of the keys, in order; each pass over it is one scan."""

    # Care

    @abstractmethod
    def checkpoint(self, path: str | PathLike[str], /) -> Revision:
        """Copy the whole store, all keyspaces at one revision, to a path that must not exist, by hard links.

        Durable on return. The copy opens as a store of its own.
        """

    @abstractmethod
    def flush(self) -> None:
        """Write what memory holds into tables, and wait for it."""

    @abstractmethod
    def compact(self) -> None:
        """Rewrite this keyspace into its deepest level and wait.

        Space of overwritten, deleted and expired rows returns.
        """

    @abstractmethod
    def rotate_key(self, key: EncryptionKey, /, *, progress: Callable[[int, int], object] | None = None) -> Rotation:
        """Make `key` the key of an encrypted store: all that older ones open is written anew. Reads and writes go on.

        Until it returns the store needs both keys; where it was cut short, open with both and call it again. Tables
        that an open snapshot or scan still reads go when it ends.
        `progress` gets (bytes done, bytes in all). Raises EncryptionKeyError for a store that is not encrypted.
        """

    @abstractmethod
    def verify(self, *, progress: Callable[[int, int], object] | None = None) -> Report:
        """Read all of the store from disk and check it. Damage is listed, not raised.

        `progress` gets (bytes done, bytes in all).
        """

    @abstractmethod
    def stats(self) -> Stats:
        """Return numbers about the whole store."""

    @abstractmethod
    def close(self) -> None:
        """Flush, sync and close; a view lets go of what it holds. Idempotent, safe beside calls on other threads."""

    @property
    @abstractmethod
    def open_report(self) -> OpenReport:
        """What opening the store found: batches replayed, a torn tail dropped, whether it was made."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """True after close()."""

    @property
    @abstractmethod
    def revision(self) -> Revision:
        """The newest revision; of a snapshot the one it stays at."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close, also if the block raised."""
        self.close()
