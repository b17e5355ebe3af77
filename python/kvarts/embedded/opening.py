"""Opening an embedded store: what the target is, what may be wrong with it, who else holds it."""

import atexit
import json
import os
import re
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, Unpack, overload

from kvarts import _native
from kvarts.base import codecs
from kvarts.base.api import Store
from kvarts.base.codecs import Codec
from kvarts.base.encryption import EncryptionKey, Keyring
from kvarts.base.errors import (
    EncryptionKeyError,
    ExposedWarning,
    InvalidArgument,
    KvartsError,
    NotAStore,
    StoreNotFound,
    refused,
)
from kvarts.base.options import OpenOptions, Options, validate
from kvarts.embedded.paths import text_path
from kvarts.embedded.store import DEFAULT_KEYSPACE, EmbeddedStore, keyspace_of

K = TypeVar("K")
V = TypeVar("V")

Target = str | os.PathLike[str]

_MEMORY = ":memory:"
_MEMORY_DIR = "/kvarts"
_HOLDER_CHARS_MAX = 500
_REMAINS = re.compile(r"LOCK|MANIFEST\.tmp|\d{6,}\.(log|table)|\d{6,}-\d{6,}\.floor")
"""What a crash can leave of a store that was just being made: such a directory may become one."""

_open_databases: "weakref.WeakSet[_native.Database]" = weakref.WeakSet()


@overload
def open(target: Target = ..., **options: Unpack[OpenOptions]) -> Store[bytes, bytes]: ...
@overload
def open(target: Target = ..., *, key: Codec[K], **options: Unpack[OpenOptions]) -> Store[K, bytes]: ...
@overload
def open(target: Target = ..., *, value: Codec[V], **options: Unpack[OpenOptions]) -> Store[bytes, V]: ...
@overload
def open(target: Target = ..., *, key: Codec[K], value: Codec[V], **options: Unpack[OpenOptions]) -> Store[K, V]: ...
def open(target: Target = _MEMORY, *, key: Any = codecs.Bytes, value: Any = codecs.Bytes, **options: Any) -> Any:
    """Open the store at a path, making it if there is none, or ":memory:" for one that is gone after close.

    Only the last directory of a path is made. `key` and `value` are codecs (Bytes, Str, U64, Tuple, Json, yours); they
    are kept with the store. Options: create=True, mode="rw" | "r", durability="batch" | "sync" | "none",
    memory="256MiB"; the others are in kvarts.base.options.Options. Close it, or use `with`; what is open at exit is
    closed then.
    Raises StoreNotFound, NotAStore, UnsafeStore, LockedError, CodecMismatch, EncryptionKeyError, CorruptionError,
    NewerFormat, StorageFull, StorageError, InvalidArgument (an unknown option, with the near one).
    """
    codecs.check_codec(key, "key")
    codecs.check_codec(value, "value")
    encryption_key = options.pop("encryption_key", None)
    checked = validate(options)
    database = open_database(target, checked, encryption_key=encryption_key)
    return _first_keyspace(database, target, key, value, create=checked.mode != "r")


def open_as_made(target: Target, **options: Unpack[OpenOptions]) -> EmbeddedStore[Any, Any]:
    """Open a store with the codecs it was made with, or Bytes where they are not built in: for tools."""
    encryption_key = options.pop("encryption_key", None)
    checked = validate(options)
    database = open_database(target, checked, encryption_key=encryption_key)
    return _first_keyspace(database, target, None, None, create=checked.mode != "r")


def open_database(
    target: Target,
    options: Options,
    clock: "_native.ManualClock | None" = None,
    encryption_key: EncryptionKey | None = None,
) -> _native.Database:
    """Open the engine at a target. `clock` takes the place of the machine's clock in tests."""
    in_memory = target == _MEMORY
    if options.mode == "r" and options.fix_permissions:
        raise InvalidArgument('mode="r" changes nothing on disk', hint="`kvarts doctor PATH --fix-permissions` does")
    if in_memory and options.mode == "r":
        raise InvalidArgument("a new store in memory has nothing to read", hint='leave mode="r" out')
    if in_memory and encryption_key is not None:
        raise InvalidArgument("encryption_key= is for a store on disk", hint="leave it out: nothing is written")
    path = _MEMORY_DIR if in_memory else _checked_path(target, options)
    settings = {name: getattr(options, name) for name in Options.__dataclass_fields__}

    holder = _holder(arguments=encryption_key is None)

    def opened(keys: list[bytearray]) -> _native.Database:
        return _native.Database(path, in_memory=in_memory, holder=holder, options=settings, keys=keys, clock=clock)

    if encryption_key is None:
        database = opened([])
    else:
        with Keyring(encryption_key) as ring:
            database = _with_keys(ring, opened)
    if not _open_databases:
        atexit.unregister(_close_all)
        atexit.register(_close_all)
    _open_databases.add(database)
    exposed = database.exposed()
    if exposed is not None:
        what, cure = exposed
        warnings.warn(f"{what}; {cure}", ExposedWarning, stacklevel=4)
    return database


def _with_keys(ring: Keyring, opened: Callable[[list[bytearray]], _native.Database]) -> _native.Database:
    """Open with the keys of a ring, which is asked for each that proves to be needed."""
    while True:
        try:
            return opened(ring.keys)
        except EncryptionKeyError as error:
            if error.needed is None or not ring.find(error.needed):
                raise


def _first_keyspace(
    database: _native.Database, target: Target, key: Any, value: Any, *, create: bool
) -> EmbeddedStore[Any, Any]:
    try:
        return keyspace_of(database, DEFAULT_KEYSPACE, key, value, create=create, target=os.fspath(target))
    except BaseException:
        database.close()
        raise


def _checked_path(target: object, options: Options) -> str:
    """Return the path as text, after the checks that the engine cannot explain as well."""
    text = text_path(target, "target")
    if not text:
        raise InvalidArgument("target is empty", hint=f"a path, or {_MEMORY!r}")
    if "://" in text:
        raise InvalidArgument(f"target {text!r} is a URI", hint="this kvarts opens paths and ':memory:'")
    path = Path(text).absolute()
    try:
        _check_place(path, text, options)
    except KvartsError:
        raise
    except OSError as error:
        raise refused(f"looking for a store at {text}", error, text) from error
    return str(path)


def _check_place(path: Path, text: str, options: Options) -> None:
    if path.exists() and not path.is_dir():
        raise NotAStore(f"{path} is not a directory", hint="a store is a directory", filename=text)
    if path.is_symlink() and not path.exists():
        hint = "make what it points to, or remove it"
        raise StoreNotFound(f"{path} is a symbolic link to nothing", hint=hint, filename=text)
    if not path.exists() and not path.parent.is_dir():
        hint = "a file lies there" if path.parent.exists() else f"make {path.parent} first"
        raise StoreNotFound(f"no directory {path.parent} to hold the store", hint=hint, filename=text)
    if path.exists() and not _is_store(path) and not all(_REMAINS.fullmatch(entry.name) for entry in path.iterdir()):
        raise NotAStore(f"{path} is a directory with other things in it", hint="give an empty one", filename=text)
    # Tables without a manifest are damage, which the engine tells.
    is_there = _is_store(path) or (path.is_dir() and any(entry.suffix == ".table" for entry in path.iterdir()))
    if not (options.create and options.mode == "rw") and not is_there:
        raise StoreNotFound(f"no store at {path}", hint='create=True makes one, without mode="r"', filename=text)


def _is_store(path: Path) -> bool:
    # A link there is no store, but what is wrong with it is said by the engine.
    return os.path.lexists(path / _native.MANIFEST)


def _holder(*, arguments: bool) -> str:
    """Return what a second opener is told about us: JSON with pid and argv (cut short).

    Without `arguments` the program alone: it is written in plain, and a command line may hold what a store encrypts.
    """
    argv: list[str] = []
    room = _HOLDER_CHARS_MAX
    for word in getattr(sys, "argv", [])[: None if arguments else 1]:
        argv.append(word[:room])
        room -= len(word)
        if room <= 0:
            break
    return json.dumps({"pid": os.getpid(), "argv": argv})


def _close_all() -> None:
    """Close what the program left open: called at exit, in the process that opened it."""
    for database in list(_open_databases):
        try:
            database.close()
        except KvartsError as error:
            warnings.warn(f"closing {database.path} at exit: {error}", RuntimeWarning, stacklevel=1)
