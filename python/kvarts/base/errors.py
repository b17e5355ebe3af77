# ruff: noqa: N818  # the names say what is wrong; which of them end in Error is the design's
"""The tree of errors: few kinds, by what the caller should do. The kind and the code are API, the message is not."""

import errno
import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar

from kvarts.base.error_table import BY_NAME, ERRORS, ErrorInfo

__all__ = [
    "ERRORS",
    "ClosedError",
    "CodecError",
    "CodecMismatch",
    "CommitUnknown",
    "Compacted",
    "ConditionFailed",
    "CorruptionError",
    "CrossShard",
    "DeadlineExceeded",
    "EncryptionKeyError",
    "ErrorInfo",
    "ExposedWarning",
    "FenceRejected",
    "ForkedHandle",
    "InvalidArgument",
    "JoinRefused",
    "KeyNotFound",
    "KvartsError",
    "LimitExceeded",
    "LockedError",
    "NewerFormat",
    "NotAStore",
    "NotLeader",
    "ReadOnlyError",
    "SessionExpired",
    "StorageError",
    "StorageFull",
    "StoreFailed",
    "StoreNotFound",
    "Unavailable",
    "UnsafeStore",
    "WrongShard",
    "WrongThread",
    "WrongType",
    "explain",
]


_EXPECTED = "expected "


class KvartsError(Exception):
    """Any failure of kvarts. `hint` says what to do about this one; `kvarts explain CODE` tells more."""

    code: ClassVar[str] = "KV-1000"
    retryable: ClassVar[bool] = False
    maybe_applied: ClassVar[bool] = False
    deterministic: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Take the code and the flags from the table, so that they are written once.

        A user's subclass inherits them.
        """
        info = BY_NAME.get(cls.__name__)
        if info is not None and cls.__module__ == __name__:
            cls.code = info.code
            cls.retryable = info.retryable
            cls.maybe_applied = info.maybe_applied
            cls.deterministic = info.deterministic

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.message}{hint} [{self.code}]"


class InvalidArgument(KvartsError, ValueError):
    """An argument or option has a value that cannot be."""


class WrongType(InvalidArgument, TypeError):
    """A key or value is of another type than the codec takes."""

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        """Take the hint from the message, where that is "expected ..., got ..."."""
        expected, got, _ = message.removeprefix(_EXPECTED).partition(", got ")
        if hint is None and got and message.startswith(_EXPECTED):
            hint = f"give {expected}"
        super().__init__(message, hint=hint)


class LimitExceeded(InvalidArgument):
    """A key, value or batch is too small or too large."""


class WrongThread(InvalidArgument):
    """A scan is used by another thread than its own."""


class CodecMismatch(InvalidArgument):
    """The keyspace was made with other codecs. `stored` and `given` are (key codec, value codec)."""

    def __init__(
        self,
        message: str = "",
        *,
        hint: str | None = None,
        stored: tuple[str, str] = ("", ""),
        given: tuple[str, str] = ("", ""),
    ) -> None:
        super().__init__(message, hint=hint)
        self.stored = stored
        self.given = given


class KeyNotFound(KvartsError, KeyError):
    """The key is absent, or has expired. `key` is the key asked for."""

    def __init__(self, key: object = None) -> None:
        KeyError.__init__(self, key)
        self.key = key
        self.message = repr(key)
        self.hint = None

    def __str__(self) -> str:
        return repr(self.key)


class CodecError(KvartsError):
    """A codec failed; `__cause__` is what it raised."""


class ConditionFailed(KvartsError):
    """`if_=` did not hold and nothing was written. `entry` is what was found: an Entry, or None where absent."""

    def __init__(self, message: str = "", *, hint: str | None = None, entry: Any = None) -> None:
        super().__init__(message, hint=hint)
        self.entry = entry


class ReadOnlyError(KvartsError):
    """A write through something that only reads."""


class ClosedError(KvartsError):
    """Used after close."""


class ForkedHandle(KvartsError):
    """Opened in the parent, used in a forked child."""


class StorageError(KvartsError, OSError):
    """The operating system refused. `errno`, `strerror` and `filename` are its answer."""

    def __init__(
        self, message: str = "", *, hint: str | None = None, number: int = 0, filename: str | None = None
    ) -> None:
        if filename is None:
            OSError.__init__(self, number, message)
        else:
            OSError.__init__(self, number, message, filename)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return KvartsError.__str__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message,), {**self.__dict__, "errno": self.errno, "filename": self.filename}


class StoreNotFound(StorageError, FileNotFoundError):
    """There is no store at the path, and none was to be made there."""


class NotAStore(StorageError):
    """Something else lies at the path."""


class UnsafeStore(StorageError, PermissionError):
    """Others can change the store's files, or something that is no file lies in the place of one."""


class StorageFull(StorageError):
    """No space left; nothing of the failed call is kept."""


class LockedError(KvartsError):
    """Another open handle holds the store. `pid` and `argv` name the process, None and () where unknown."""

    def __init__(
        self, message: str = "", *, hint: str | None = None, pid: int | None = None, argv: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.pid = pid
        self.argv = argv


class CorruptionError(KvartsError):
    """Bytes on disk are not what was written. `file` and `offset` say where."""

    def __init__(self, message: str = "", *, hint: str | None = None, file: str = "", offset: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.file = file
        self.offset = offset


class NewerFormat(KvartsError):
    """Written by a newer kvarts: `found` is its format, `supported` the newest this one reads."""

    def __init__(self, message: str = "", *, hint: str | None = None, found: int = 0, supported: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.found = found
        self.supported = supported


class EncryptionKeyError(KvartsError):
    """The key does not fit the store, or cannot be had. `needed` and `given` are ids of keys, or None."""

    def __init__(
        self, message: str = "", *, hint: str | None = None, needed: str | None = None, given: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.needed = needed
        self.given = given


class BackupIncomplete(KvartsError):
    """There is no whole backup where one was to be restored from, or what it holds is not what its manifest says."""


class StoreFailed(KvartsError):
    """An earlier write failed; the store takes no more writes until it is opened again."""


class NotLeader(KvartsError):
    """A node that does not lead was asked. `leader` is the address of the one that does, where known."""

    def __init__(self, message: str = "", *, hint: str | None = None, leader: str = "") -> None:
        super().__init__(message, hint=hint)
        self.leader = leader


class WrongShard(KvartsError):
    """A shard was asked for what it does not own. `shard` and `epoch` are the owner as it is known there, 0 where not.

    `version` is that of the map there, where the owner is not known.
    """

    def __init__(
        self, message: str = "", *, hint: str | None = None, shard: int = 0, epoch: int = 0, version: int = 0
    ) -> None:
        super().__init__(message, hint=hint)
        self.shard = shard
        self.epoch = epoch
        self.version = version


class CrossShard(KvartsError):
    """What must lie in one shard touches several; `shards` names them as far as they were looked at."""

    def __init__(self, message: str = "", *, hint: str | None = None, shards: tuple[int, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.shards = shards


class Unavailable(KvartsError, ConnectionError):
    """No leader answered in time; nothing was written."""


class DeadlineExceeded(KvartsError, TimeoutError):
    """A node was asked and did not answer in time; nothing was written."""


class CommitUnknown(KvartsError, TimeoutError):
    """A write was sent and no answer came in time: it may have taken place, or still will."""


class SessionExpired(KvartsError):
    """The cluster forgot this client's session: a write that was asked for again may have taken place before."""


class FenceRejected(KvartsError):
    """The write carried an old token of a lock."""


class Compacted(KvartsError):
    """The revision to read at is older than the history that is kept."""


class ReplicaFenced(KvartsError):
    """This node's replica was found to differ from the others: it serves nobody."""


class JoinRefused(KvartsError):
    """The cluster does not let this node in: it needs a join token, or another one."""


class ExposedWarning(UserWarning):
    """Everybody on this machine can read the files of a store that was opened."""


def explain(code: str) -> ErrorInfo:
    """Return what is known of an error code ("KV-2003", "2003") or name ("LockedError").

    Raises InvalidArgument for an unknown one.
    """
    if not isinstance(code, str):
        raise WrongType(f"an error code is a str, not {type(code).__name__}", hint='"KV-2003"')
    asked = code.strip()
    found = ERRORS.get(asked.upper()) or ERRORS.get(f"KV-{asked}") or BY_NAME.get(asked)
    if found is not None:
        return found
    near = get_close_matches(asked, [*ERRORS, *BY_NAME], n=1)
    hint = f"did you mean {near[0]}?" if near else f"codes run from {min(ERRORS)} to {max(ERRORS)}"
    raise InvalidArgument(f"no error code {asked!r}", hint=hint)


def from_engine(kind: str, message: str, fields: Mapping[str, Any]) -> KvartsError:
    """Return the error for one that the native module reports by the engine's name for it."""
    maker = _FROM_ENGINE.get(kind)
    return maker(message, fields) if maker else KvartsError(f"{kind}: {message}")


def from_wire(kind: str, message: str, hint: str, maybe_applied: bool, leader: str) -> KvartsError:
    """Return the error for one of kvarts.v1.Error: `kind` is the name of its class, `leader` an address."""
    if kind == "NotLeader":
        return NotLeader(message, hint=hint or None, leader=leader)
    if kind == "ClosedError":
        return ClosedError(message, hint=hint or _CLOSED)
    made = _WIRE.get(kind)
    if made is None:
        return CommitUnknown(message, hint=hint or None) if maybe_applied else KvartsError(f"{kind}: {message}")
    return made(message, hint=hint or None)


def refused(doing: str, error: OSError, path: str) -> StorageError:
    """Return the error for what the operating system refused to Python code of ours."""
    number = error.errno or 0
    return StorageError(
        f"{doing}: {error.strerror}", hint=_ERRNO_HINTS.get(number, _OTHER_ERRNO), number=number, filename=path
    )


def not_of_codec(expected: str, given: object) -> WrongType:
    """Return the error for a key or value that the codec does not take."""
    return WrongType(f"expected {expected}, got {type(given).__name__}", hint=_OTHER_CODECS)


def _locked(_message: str, fields: Mapping[str, Any]) -> KvartsError:
    path, holder = fields["path"], fields["holder"]
    pid: int | None = None
    argv: tuple[str, ...] = ()
    try:
        told = json.loads(holder)
        pid, argv = int(told["pid"]), tuple(str(word) for word in told["argv"])
    except (ValueError, KeyError, TypeError):
        pass  # An old or foreign lock file: the error still says that it is held.
    who = f"process {pid} ({' '.join(argv)})" if pid is not None else "another process"
    hint = "close it there, or share one Store between threads"
    return LockedError(f"{path} is held by {who}", hint=hint, pid=pid, argv=argv)


def _storage(message: str, fields: Mapping[str, Any]) -> KvartsError:
    number = fields.get("errno") or 0
    hint = _ERRNO_HINTS.get(number, _OTHER_ERRNO)
    return StorageError(message, hint=hint, number=number, filename=fields["path"])


def _keys(fields: Mapping[str, Any]) -> dict[str, str]:
    return {"needed": fields["needed"], "given": fields["given"]}


_NOT_ENCRYPTED = "leave the key out; to encrypt it, put_many(db.items()) into a new store that is opened with the key"
_OTHER_CODECS = "other types need other codecs: kvarts.open(path, key=kvarts.Str, value=kvarts.Json)"
_CLOSED = "open it again, or close it after its last use"
_ERRNO_HINTS = {
    errno.EACCES: "check who owns the directory and its mode",
    errno.EPERM: "check who owns the directory and its mode",
    errno.EROFS: "the file system is mounted read-only",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ELOOP: "a symbolic link in it leads in a circle",
}
_OTHER_ERRNO = "`kvarts doctor PATH` looks at the disk, modes and limits there"

_FROM_ENGINE: dict[str, Callable[[str, Mapping[str, Any]], KvartsError]] = {
    "InvalidArgument": lambda message, f: InvalidArgument(message, hint=f["hint"]),
    "LimitExceeded": lambda message, f: LimitExceeded(message, hint=f["hint"]),
    "WrongType": lambda message, f: WrongType(message, hint=f.get("hint")),
    "NotOfCodec": lambda message, f: WrongType(message, hint=_OTHER_CODECS),
    "WrongThread": lambda message, f: WrongThread(message, hint="start a scan in each thread"),
    "CodecError": lambda message, f: CodecError(message, hint=f.get("hint")),
    "ReadOnly": lambda message, f: ReadOnlyError(message, hint="write to the store it was taken from"),
    "OpenedToRead": lambda message, f: ReadOnlyError(message, hint='open it without mode="r"'),
    "Forked": lambda message, f: ForkedHandle(message, hint="open the store after the fork, in one process"),
    "Closed": lambda message, f: ClosedError(message, hint=_CLOSED),
    "ConditionFailed": lambda message, f: ConditionFailed(
        message, hint="decide again by error.entry", entry=f["entry"]
    ),
    "Locked": _locked,
    "NotFound": lambda message, f: StoreNotFound(
        message, hint="check the path; its parent directory must exist", number=errno.ENOENT, filename=f["path"]
    ),
    "Corruption": lambda message, f: CorruptionError(
        message,
        hint='`kvarts verify` lists all damage; `kvarts repair` salvages the rest; mode="r" reads past damaged tables',
        file=f["file"],
        offset=f["offset"],
    ),
    "NewerFormat": lambda message, f: NewerFormat(
        message, hint="upgrade kvarts", found=f["found"], supported=f["supported"]
    ),
    "KeyMissing": lambda message, f: EncryptionKeyError(
        message, hint="give it: encryption_key=kvarts.KeyFile(file), or --key-file", needed=f["needed"]
    ),
    "WrongKey": lambda message, f: EncryptionKeyError(
        message, hint="give the key with that id, beside the other one if both are needed", **_keys(f)
    ),
    "NotEncrypted": lambda message, f: EncryptionKeyError(message, hint=_NOT_ENCRYPTED),
    "StorageFull": lambda message, f: StorageFull(
        message, hint="free some space and try again", number=errno.ENOSPC, filename=f["path"]
    ),
    "Unsafe": lambda message, f: UnsafeStore(message, hint=f["hint"], number=errno.EPERM, filename=f["path"]),
    "Poisoned": lambda message, f: StoreFailed(message, hint="close the store and open it again"),
    "Io": _storage,
}

_WIRE: dict[str, Callable[..., KvartsError]] = {
    kind.__name__: kind
    for kind in (
        InvalidArgument,
        WrongType,
        LimitExceeded,
        CodecError,
        ReadOnlyError,
        StorageError,
        StorageFull,
        UnsafeStore,
        StoreFailed,
        CorruptionError,
        Unavailable,
        DeadlineExceeded,
        CommitUnknown,
        SessionExpired,
        FenceRejected,
        JoinRefused,
        Compacted,
        WrongShard,
        CrossShard,
    )
}
"""Errors that nodes send and that a message and a hint say whole."""
