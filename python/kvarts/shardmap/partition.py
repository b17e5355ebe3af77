"""Which part of a key decides where it lies: keys with the same part lie in one shard, whatever follows.

A part is a prefix of its key, and its length is a function of the key alone, the same in every language.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from kvarts.base.errors import InvalidArgument
from kvarts.shardmap.tuples import first_item_bytes

PREFIX_BYTES_MAX = 64 * 1024
DELIMITER_BYTES_MAX = 255


class Partition(Protocol):
    """A way to tell the partition part of a key."""

    @property
    def text(self) -> str:
        """The way in a word, as it stands in the configuration."""

    def part_bytes(self, key: bytes) -> int:
        """Return how many bytes of a key are its partition part."""

    def span_end(self, key: bytes) -> bytes | None:
        """Return a bound below which every key from `key` on has its part; empty: all up to the last one.

        None: the next key may have another part already.
        """


@dataclass(frozen=True, slots=True)
class _WholeKey:
    """Every key lies for itself."""

    @property
    def text(self) -> str:
        return "whole"

    def part_bytes(self, key: bytes) -> int:
        return len(key)

    def span_end(self, key: bytes) -> bytes | None:
        return None

    def __repr__(self) -> str:
        return "WholeKey"


@dataclass(frozen=True, slots=True)
class Until:
    """Keys lie together that are the same up to the first `delimiter`, itself left out. Without one: the whole key."""

    delimiter: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.delimiter, bytes) or not 1 <= len(self.delimiter) <= DELIMITER_BYTES_MAX:
            raise InvalidArgument(f"a delimiter has 1 to {DELIMITER_BYTES_MAX} bytes", hint='partition=Until(b"/")')

    @property
    def text(self) -> str:
        """`until:` and the delimiter in hexadecimal."""
        return f"until:{self.delimiter.hex()}"

    def part_bytes(self, key: bytes) -> int:
        """Return where the delimiter begins."""
        at = key.find(self.delimiter)
        return len(key) if at < 0 else at

    def span_end(self, key: bytes) -> bytes | None:
        """Return the end of the keys that begin with the part and the delimiter."""
        at = key.find(self.delimiter)
        return None if at < 0 else after_prefix(key[: at + len(self.delimiter)])


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys lie together whose first `size` bytes are the same."""

    size: int

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= PREFIX_BYTES_MAX:
            raise InvalidArgument(f"a prefix has 1 to {PREFIX_BYTES_MAX} bytes", hint="partition=Prefix(8)")

    @property
    def text(self) -> str:
        """`prefix:` and the number of bytes."""
        return f"prefix:{self.size}"

    def part_bytes(self, key: bytes) -> int:
        """Return the size, or less for a shorter key."""
        return min(self.size, len(key))

    def span_end(self, key: bytes) -> bytes | None:
        """Return the end of the keys with this prefix."""
        return None if len(key) < self.size else after_prefix(key[: self.size])


@dataclass(frozen=True, slots=True)
class _FirstItem:
    """Keys of the Tuple codec lie together that have the same first item. A key that is no tuple: the whole key."""

    @property
    def text(self) -> str:
        return "first-item"

    def part_bytes(self, key: bytes) -> int:
        return first_item_bytes(key) or len(key)

    def span_end(self, key: bytes) -> bytes | None:
        size = first_item_bytes(key)
        if not size:
            return None
        # Behind a zero that ends a text or a nested tuple, 0xff would make it one that goes on.
        return key[:size] + b"\xff" if key[0] in _ENDED_BY_ZERO else after_prefix(key[:size])

    def __repr__(self) -> str:
        return "FirstItem"


_ENDED_BY_ZERO = b"\x01\x02\x05"

WholeKey = _WholeKey()
FirstItem = _FirstItem()


def partition_of(text: str) -> Partition:
    """Return the partition that a word of the configuration names. Raises InvalidArgument."""
    kind, _, detail = text.partition(":")
    found: Partition | None = None
    try:
        match kind:
            case "whole":
                found = WholeKey
            case "first-item":
                found = FirstItem
            case "until":
                found = Until(bytes.fromhex(detail))
            case "prefix":
                found = Prefix(int(detail))
    except ValueError:
        found = None
    if found is None or found.text != text:
        raise InvalidArgument(f"no partition {text!r}", hint="whole, first-item, until:HEX or prefix:N")
    return found


def after_prefix(prefix: bytes) -> bytes:
    """Return the bound above every key that begins with `prefix`; empty: there is none."""
    left = prefix.rstrip(b"\xff")
    return left[:-1] + bytes((left[-1] + 1,)) if left else b""
