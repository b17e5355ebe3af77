"""Files as they are found: read at an offset, never written, and what their names say."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kvarts.base.errors import InvalidArgument, refused
from kvarts.base.types import Damage
from kvarts.inspect.format.fields import FormatError, u64_at
from kvarts.inspect.format.header import HEADER_BYTES, Header, read_header
from kvarts.inspect.format.seal import HiddenError, Keys, Seal

Target = str | os.PathLike[str]

FILE_IDS_END = 1 << 32
_NUMBERED = re.compile(r"(\d{6,})\.(table|log)")
_FLOOR = re.compile(r"(\d{6,})-(\d{6,})\.floor")
_FILE_ID_AT = 16


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file open for reading. `size` is what it was when it was opened."""

    path: str
    size: int
    descriptor: int

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes at an offset: fewer where the file ends. Raises StorageError."""
        pieces = []
        with _refusals(self.path):
            while size > 0 and (piece := os.pread(self.descriptor, min(size, 1 << 30), offset)):
                pieces.append(piece)
                offset += len(piece)
                size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@contextmanager
def open_file(target: Target) -> Iterator[OpenFile]:
    """Open a file. Raises StorageError, InvalidArgument where it is no file."""
    path = os.fspath(target)
    with _refusals(path):
        # Nonblocking: a pipe without a writer would hold us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        with _refusals(path):
            found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            hint = "`kvarts inspect store` takes a directory" if stat.S_ISDIR(found.st_mode) else None
            raise InvalidArgument(f"{path} is not a file", hint=hint)
        yield OpenFile(path, found.st_size, descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _refusals(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refused(f"reading {path}", error, path) from error
    except ValueError as error:
        raise InvalidArgument(f"{path!r} can be no file's path") from error


def numbered(path: str) -> tuple[int, str] | None:
    """Return number and suffix where a name is that of a table or a log: (12, "table") of "000012.table"."""
    match = _NUMBERED.fullmatch(os.path.basename(path))
    return (int(match[1]), match[2]) if match and int(match[1]) < FILE_IDS_END else None


def floor(path: str) -> tuple[int, int] | None:
    """Return manifest and revision where a name is that of a floor: (17, 5) of "000017-000005.floor"."""
    match = _FLOOR.fullmatch(os.path.basename(path))
    return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Identity:
    """Header of a file, None where it is damaged, and how its tags are checked all the same.

    `seal` is None where the file is encrypted with a key that is not here: `hidden` names it.
    """

    header: Header | None
    seal: Seal | None
    problem: FormatError | None = None
    hidden: str | None = None


def identify(path: str, data: bytes, kind: str, keys: Keys) -> Identity:
    """Read the header of a file that should be of this kind, from the first bytes of it."""
    named = numbered(path)
    try:
        header = read_header(data, kind)
    except FormatError as error:
        stated = u64_at(data, _FILE_ID_AT) if len(data) >= HEADER_BYTES else 0
        return Identity(None, Seal(named[0] if named else stated), error)
    problem = None
    if named and named != (header.file, kind):
        problem = FormatError(_FILE_ID_AT, f"it is {kind} {header.file} under another's name")
    try:
        return Identity(header, keys.seal(header), problem)
    except HiddenError as error:
        return Identity(header, None, problem, error.needed)
    except FormatError as error:
        return Identity(header, Seal(header.file), error)


def damage(path: str, offset: int, what: str, smallest: bytes = b"", largest: bytes = b"") -> Damage:
    """Return a damaged place; no keys where no range is concerned."""
    return Damage(file=path, offset=offset, what=what, smallest=smallest, largest=largest)


def damage_of(path: str, error: FormatError, offset: int = 0) -> Damage:
    """Return the damage that an error tells; `offset` is where in the file the decoded bytes lie."""
    return damage(path, offset + error.offset, error.what)
