"""Codecs: how keys and values become bytes. Their names are kept with the keyspace; a mismatch at open is an error.

Keys are ordered by their bytes. Str keeps the order of code points, U64 of numbers, Tuple of tuples; Json as a key has
no useful order.
"""

import json
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from kvarts.base import tuples
from kvarts.base.errors import CodecError, CodecMismatch, InvalidArgument, WrongType, not_of_codec

T = TypeVar("T")

JsonValue: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
"""What Json takes and returns. Parts are Any: a list[int] would be no list[JsonValue], since a list may be added to."""


class Codec(Protocol[T]):
    """Turns values into bytes and back. `name` is stored with the keyspace: 1 to 255 bytes, never changed later."""

    @property
    def name(self) -> str:
        """Return the name, for instance "str"."""

    def encode(self, value: T, /) -> bytes:
        """Return the bytes of a value. Raises what it likes: callers see CodecError from it."""

    def decode(self, data: bytes, /) -> T:
        """Return the value of such bytes."""


class _Named:
    """A codec of ours: stateless, compared by identity, shown by its name."""

    name: str
    _shown: str

    def __repr__(self) -> str:
        return f"kvarts.{self._shown}"

    def __reduce__(self) -> str:
        return self._shown


class _Bytes(_Named):
    name = "bytes"
    _shown = "Bytes"

    def encode(self, value: bytes, /) -> bytes:
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        raise not_of_codec("bytes", value)

    def decode(self, data: bytes, /) -> bytes:
        return data


class _Str(_Named):
    name = "str"
    _shown = "Str"

    def encode(self, value: str, /) -> bytes:
        if not isinstance(value, str):
            raise not_of_codec("str", value)
        return value.encode()

    def decode(self, data: bytes, /) -> str:
        return data.decode()


class _U64(_Named):
    name = "u64"
    _shown = "U64"

    def encode(self, value: int, /) -> bytes:
        if not isinstance(value, int):
            raise not_of_codec("int", value)
        return value.to_bytes(8, "big")

    def decode(self, data: bytes, /) -> int:
        if len(data) != 8:
            raise CodecError(f"a u64 has 8 bytes, not {len(data)}")
        return int.from_bytes(data, "big")


class _Tuple(_Named):
    name = "tuple"
    _shown = "Tuple"

    def encode(self, value: tuple[Any, ...], /) -> bytes:
        return tuples.pack(value)

    def decode(self, data: bytes, /) -> tuple[Any, ...]:
        return tuples.unpack(data)


class _Json(_Named):
    name = "json"
    _shown = "Json"

    def encode(self, value: JsonValue, /) -> bytes:
        return _DUMPS(value).encode()

    def decode(self, data: bytes, /) -> JsonValue:
        result: JsonValue = json.loads(data)
        return result


_NAME_BYTES_MAX = 255
_DUMPS = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

Bytes: Final[Codec[bytes]] = _Bytes()
"""Bytes as they are. Takes bytes, bytearray and memoryview; returns bytes."""
Str: Final[Codec[str]] = _Str()
"""Text as UTF-8."""
U64: Final[Codec[int]] = _U64()
"""An int from 0 to 2**64 - 1 as 8 bytes, big-endian, so that keys keep the order of numbers."""
Tuple: Final[Codec[tuple[Any, ...]]] = _Tuple()
"""A tuple of None, bytes, str, int, float, bool, UUID and further tuples, in bytes that sort as the tuples do."""
Json: Final[Codec[JsonValue]] = _Json()
"""None, bool, int, float, str, list and dict as compact JSON in UTF-8. NaN and infinities are refused."""

BUILT_IN: Final[dict[str, Codec[Any]]] = {codec.name: codec for codec in (Bytes, Str, U64, Tuple, Json)}


def check_codec(codec: object, argument: str) -> None:
    """Raise WrongType where `codec` is no codec; `argument` is the keyword it was given as."""
    name = getattr(codec, "name", None)
    if isinstance(name, str) and callable(getattr(codec, "encode", None)) and callable(getattr(codec, "decode", None)):
        if 1 <= len(name.encode(errors="replace")) <= _NAME_BYTES_MAX and name.isprintable():
            return
        raise InvalidArgument(f"{argument}= has the name {name!r}", hint="a codec's name is 1 to 255 printable bytes")
    raise WrongType(
        f"{argument}={codec!r} is not a codec",
        hint="kvarts.Bytes, Str, U64, Tuple, Json, or an object with name, encode and decode",
    )


def has_prefixes(codec: Codec[Any]) -> bool:
    """Tell whether keys that begin alike also have bytes that begin alike, so that they can be scanned as one range."""
    return codec is Bytes or codec is Str or codec is Tuple


def mismatch(name: str, stored: tuple[str, str], given: tuple[str, str]) -> CodecMismatch:
    """Return the error for a keyspace made with the codecs `stored`, (key, value) by name, and opened with `given`."""
    made, got = (f"key={key}, value={value}" for key, value in (stored, given))
    return CodecMismatch(
        f"keyspace {name!r} was made with {made}; given were {got}",
        hint=f"open it with key={_spelled(stored[0])}, value={_spelled(stored[1])}",
        stored=stored,
        given=given,
    )


def _spelled(name: str) -> str:
    return repr(BUILT_IN[name]) if name in BUILT_IN else f"your codec named {name!r}"
