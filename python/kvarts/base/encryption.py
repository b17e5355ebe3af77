"""Keys of encrypted stores: where they come from. No key is ever shown; what is read of one is wiped after its use."""

import base64
import binascii
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias, TypeGuard

from kvarts.base.errors import EncryptionKeyError, InvalidArgument, WrongType, refused
from kvarts.base.hkdf import key_id

KEY_BYTES = 32

_FILE_BYTES_MAX = 1024
_FORMS = "32 bytes, or 64 hexadecimal digits, or base64 of 32 bytes; `kvarts keygen FILE` makes one"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key in a file that its owner alone may read: 32 bytes, or 64 hexadecimal digits, or base64."""

    path: str | os.PathLike[str]

    def read(self) -> bytearray:
        """Return the key. Raises EncryptionKeyError (others may read the file, or it holds no key), StorageError."""
        name = os.fspath(self.path)
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except ValueError as error:  # a NUL in the path
            raise InvalidArgument(f"the key file {name!r}: {error}", hint="give the path of a file") from error
        except FileNotFoundError as error:
            hint = "check the path; `kvarts keygen FILE` makes one"
            raise EncryptionKeyError(f"there is no key file {name}", hint=hint) from error
        except OSError as error:
            raise refused(f"reading the key file {name}", error, name) from error
        content = bytearray(_FILE_BYTES_MAX)
        try:
            _check_file(name, os.fstat(descriptor))
            size = os.readv(descriptor, [content])
        finally:
            os.close(descriptor)
        if size == KEY_BYTES:
            return _cut(content, size)
        return _parsed(_cut(content, size), f"the key file {name}")


@dataclass(frozen=True, slots=True)
class KeyFromEnv:
    """A key in an environment variable: 64 hexadecimal digits, or base64 of 32 bytes."""

    name: str

    def read(self) -> bytearray:
        """Return the key. Raises EncryptionKeyError."""
        text = os.environ.get(self.name)
        if text is None:
            raise EncryptionKeyError(f"the environment variable {self.name!r} is not set", hint=_FORMS)
        return _parsed(bytearray(os.fsencode(text)), f"the environment variable {self.name}")


KeyFinder: TypeAlias = Callable[[str | None], "bytes | bytearray | None"]
"""Called with the id of a key that is needed, or with None for the one that new files get. None: there is none."""

OneKey: TypeAlias = bytes | bytearray | os.PathLike[str] | KeyFile | KeyFromEnv | KeyFinder
EncryptionKey: TypeAlias = OneKey | Sequence[OneKey]
"""Of several keys the first is the one that new files get; the others open older files."""


class Keyring:
    """The keys that one call was given: a context manager that wipes them at the end of its block."""

    def __init__(self, given: EncryptionKey) -> None:
        sources: list[object] = list(given) if isinstance(given, list | tuple) else [given]
        if not sources:
            raise InvalidArgument("encryption_key= holds no key", hint="None for a store that is not encrypted")
        self._finders: list[Callable[[str | None], object]] = [each for each in sources if _is_finder(each)]
        self._keys: list[bytearray] = []
        try:
            for source in sources:
                self._keys.append(_read(source))
        except BaseException:
            self.wipe()
            raise

    @property
    def keys(self) -> list[bytearray]:
        """The keys, the one that new files get first."""
        return self._keys

    def find(self, needed: str) -> bool:
        """Ask for the key with this id, and tell whether it is there now and was not before."""
        for finder in self._finders:
            key = _checked(finder(needed), "the key that the function returned", may_be_none=True)
            if key is not None and key_id(key) == needed and key not in self._keys:
                self._keys.append(key)
                return True
        return False

    def wipe(self) -> None:
        """Overwrite the keys."""
        for key in self._keys:
            _wipe(key)
        self._keys = []

    def __repr__(self) -> str:
        return f"<Keyring keys={len(self._keys)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()


def _is_finder(source: object) -> TypeGuard[Callable[[str | None], object]]:
    return callable(source) and not isinstance(source, KeyFile | KeyFromEnv | type)


def _read(source: object) -> bytearray:
    """Return the key of a source, as bytes that can be wiped."""
    if isinstance(source, KeyFile | KeyFromEnv):
        return source.read()
    if isinstance(source, os.PathLike):
        return KeyFile(source).read()
    if isinstance(source, bytes | bytearray):
        key = _checked(source, "encryption_key=")
    elif _is_finder(source):
        key = _checked(source(None), "the key that the function returned")
    else:
        hint = "kvarts.KeyFile(path) for a file, kvarts.KeyFromEnv(name), 32 bytes, or a function"
        raise WrongType(f"encryption_key= is no key, but {type(source).__name__}", hint=hint)
    assert key is not None
    return key


def _checked(given: object, what: str, *, may_be_none: bool = False) -> bytearray | None:
    if given is None and may_be_none:
        return None
    if not isinstance(given, bytes | bytearray):
        raise WrongType(f"{what} is {type(given).__name__}, not bytes", hint=_FORMS)
    if len(given) != KEY_BYTES:
        raise InvalidArgument(f"{what} has {len(given)} bytes, not {KEY_BYTES}", hint="secrets.token_bytes(32) is one")
    return bytearray(given)


def _check_file(name: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise EncryptionKeyError(f"the key file {name} is no file", hint=_FORMS)
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        hint = f"chmod 600 {name}, and consider whether the key is still a secret"
        raise EncryptionKeyError(f"the key file {name} is open to others (mode {mode:04o})", hint=hint)
    if found.st_uid not in (os.geteuid(), 0):
        raise EncryptionKeyError(f"the key file {name} belongs to another user", hint="make a copy of your own")


def _cut(content: bytearray, size: int) -> bytearray:
    """Return the first bytes, and wipe what they were read into."""
    kept = content[:size]
    _wipe(content)
    return kept


def _parsed(content: bytearray, what: str) -> bytearray:
    """Return the key that text holds, and wipe the text."""
    text = content.strip()
    try:
        key = binascii.unhexlify(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    finally:
        _wipe(content)
        _wipe(text)
    if len(key) != KEY_BYTES:
        raise EncryptionKeyError(f"{what} holds no key", hint=_FORMS)
    return bytearray(key)


def _wipe(secret: bytearray) -> None:
    secret[:] = bytes(len(secret))
