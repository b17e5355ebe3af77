"""Tuples as bytes that sort as the tuples do: `docs/formats/tuple.md`. Source: FoundationDB's design/tuple.md.

Plain and pure; stores use the same in the native module, and a test holds the two against each other.
"""

import struct
from functools import total_ordering
from typing import Any, Final, NoReturn, Self

from kvarts.base.errors import CodecError, InvalidArgument, WrongType

NESTING_MAX: Final = 64
"""Tuples within a tuple, at most."""
INT_BYTES_MAX: Final = 255
"""Bytes of an int, without its sign."""

_TR_BYTES = 10
_INCOMPLETE = b"\xff" * _TR_BYTES
_NULL, _BYTES, _TEXT, _NESTED, _NEGATIVE_LONG, _ZERO, _POSITIVE_LONG = 0x00, 0x01, 0x02, 0x05, 0x0B, 0x14, 0x1D
_SINGLE, _DOUBLE, _FALSE, _TRUE, _UUID, _VERSIONSTAMP = 0x20, 0x21, 0x26, 0x27, 0x30, 0x33
_HOLDS = (
    "None, bytes, str, int, float, bool, UUID, tuples and lists of them, kvarts.codecs.SingleFloat and Versionstamp"
)


@total_ordering
class SingleFloat:
    """A float of single precision, as an item of a tuple. -0.0 sorts before 0.0, and NaN has a place."""

    __slots__ = ("bits",)
    bits: Final[int]  # type: ignore[misc]  # set once, in __init__ or from_bits

    def __init__(self, value: float) -> None:
        try:
            packed = struct.pack(">f", value)
        except (struct.error, OverflowError) as error:
            raise InvalidArgument(f"{value!r} is no number in single precision", hint="leave it a float") from error
        object.__setattr__(self, "bits", int.from_bytes(packed, "big"))

    @classmethod
    def from_bits(cls, bits: int) -> Self:
        """Return the number that has these 32 bits: IEEE 754, sign first."""
        made = cls.__new__(cls)
        object.__setattr__(made, "bits", bits)
        return made

    @property
    def value(self) -> float:
        """The number, as a float."""
        number: float = struct.unpack(">f", self.bits.to_bytes(4, "big"))[0]
        return number

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a SingleFloat is not changed: {name}")

    def __eq__(self, other: object) -> bool:
        return self.bits == other.bits if isinstance(other, SingleFloat) else NotImplemented

    def __lt__(self, other: "SingleFloat") -> bool:
        return _turned(self.bits, 32) < _turned(other.bits, 32) if isinstance(other, SingleFloat) else NotImplemented

    def __hash__(self) -> int:
        return hash((SingleFloat, self.bits))

    def __reduce__(self) -> tuple[Any, ...]:
        return SingleFloat.from_bits, (self.bits,)

    def __repr__(self) -> str:
        return f"SingleFloat({self.value!r})"


@total_ordering
class Versionstamp:
    """A complete versionstamp: 10 bytes that a transaction got, 16 bits of the user's. kvarts gives none out."""

    __slots__ = ("tr_version", "user_version")
    tr_version: Final[bytes]  # type: ignore[misc]
    user_version: Final[int]  # type: ignore[misc]

    def __init__(self, tr_version: bytes, user_version: int = 0) -> None:
        if not isinstance(tr_version, bytes) or len(tr_version) != _TR_BYTES or tr_version == _INCOMPLETE:
            raise InvalidArgument(
                "an incomplete versionstamp", hint="a complete one has 10 bytes of its transaction, not all 0xff"
            )
        if not isinstance(user_version, int) or not 0 <= user_version < 1 << 16:
            raise InvalidArgument(f"user_version={user_version!r} of a versionstamp", hint="0 to 65535")
        object.__setattr__(self, "tr_version", tr_version)
        object.__setattr__(self, "user_version", int(user_version))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Versionstamp is not changed: {name}")

    def __bytes__(self) -> bytes:
        return self.tr_version + self.user_version.to_bytes(2, "big")

    def __eq__(self, other: object) -> bool:
        return bytes(self) == bytes(other) if isinstance(other, Versionstamp) else NotImplemented

    def __lt__(self, other: "Versionstamp") -> bool:
        return bytes(self) < bytes(other) if isinstance(other, Versionstamp) else NotImplemented

    def __hash__(self) -> int:
        return hash((Versionstamp, bytes(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Versionstamp, (self.tr_version, self.user_version)

    def __repr__(self) -> str:
        return f"Versionstamp({self.tr_version!r}, {self.user_version})"


def pack(value: tuple[Any, ...]) -> bytes:
    """Return the bytes of a tuple. Raises WrongType, CodecError."""
    if not isinstance(value, tuple):
        what = f"expected tuple, got {type(value).__name__}"
        raise WrongType(what, hint="a tuple of one item is written (item,)")
    return b"".join(_packed(item, 0) for item in value)


def unpack(data: bytes) -> tuple[Any, ...]:
    """Return the tuple of bytes that `pack` wrote; any others are refused. Raises CodecError."""
    items, _ = _Unpacker(data).items(0, 0)
    return items


def after(prefix: bytes) -> bytes:
    """Return a bound above all tuples that begin with the items in `prefix`, and below all others that are greater."""
    return prefix + b"\xff"


def _turned(bits: int, width: int) -> int:
    """Return the bits of a float so that they sort as numbers do."""
    top = 1 << (width - 1)
    return bits ^ (2 * top - 1) if bits & top else bits | top


def _turned_back(bits: int, width: int) -> int:
    top = 1 << (width - 1)
    return bits ^ top if bits & top else bits ^ (2 * top - 1)


def _packed(item: Any, depth: int) -> bytes:  # noqa: PLR0911  # one answer for each type
    match item:
        case str():
            try:
                return _ended_by_zero(_TEXT, item.encode())
            except UnicodeEncodeError as error:
                raise CodecError("the text has no UTF-8 form") from error
        case None:
            return b"\x00\xff" if depth else b"\x00"
        case bool():
            return bytes((_TRUE if item else _FALSE,))
        case int():
            return _packed_int(item)
        case bytes():
            return _ended_by_zero(_BYTES, item)
        case float():
            (bits,) = struct.unpack(">Q", struct.pack(">d", item))
            return bytes((_DOUBLE,)) + _turned(bits, 64).to_bytes(8, "big")
        case tuple() | list():
            if depth == NESTING_MAX:
                what = f"tuples lie within one another more than {NESTING_MAX} deep"
                raise CodecError(what, hint="store it flat, or as a value of kvarts.Json")
            return bytes((_NESTED,)) + b"".join(_packed(inner, depth + 1) for inner in item) + b"\x00"
        case SingleFloat():
            return bytes((_SINGLE,)) + _turned(item.bits, 32).to_bytes(4, "big")
        case Versionstamp():
            return bytes((_VERSIONSTAMP,)) + bytes(item)
    if isinstance(item, _uuid_class()):
        return bytes((_UUID, *item.bytes))
    raise WrongType(f"a tuple holds no {type(item).__name__}", hint=_HOLDS)


def _packed_int(number: int) -> bytes:
    magnitude = abs(int(number))
    size = (magnitude.bit_length() + 7) // 8
    if size > INT_BYTES_MAX:
        what = f"a whole number has more than {INT_BYTES_MAX} bytes"
        raise CodecError(what, hint="store it as bytes, or as text")
    data = (magnitude if number >= 0 else (1 << 8 * size) - 1 - magnitude).to_bytes(size, "big")
    # 2**64 - 1 would fit 8 bytes; the source's own Python binding writes it as the longer ones.
    if magnitude >= (1 << 64) - 1:
        return bytes((_POSITIVE_LONG, size) if number >= 0 else (_NEGATIVE_LONG, size ^ 0xFF)) + data
    return bytes((_ZERO + (size if number >= 0 else -size),)) + data


def _ended_by_zero(code: int, data: bytes) -> bytes:
    return bytes((code,)) + data.replace(b"\x00", b"\x00\xff") + b"\x00"


def _uuid_class() -> Any:
    # Loaded here: whoever imports kvarts without a UUID in a key does not pay for it.
    from uuid import UUID

    return UUID


class _Unpacker:
    """Reads the items of `data`; each step returns where the next one begins."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def items(self, at: int, depth: int) -> tuple[tuple[Any, ...], int]:
        """Read the items of one tuple up to its end."""
        found: list[Any] = []
        data = self._data
        while at < len(data):
            if data[at] == _NULL and depth:
                if data[at + 1 : at + 2] != b"\xff":
                    return tuple(found), at + 1
                found.append(None)
                at += 2
                continue
            if data[at] == _NESTED:
                if depth == NESTING_MAX:
                    raise _refused(at, "tuples lie too deep within one another")
                item, at = self.items(at + 1, depth + 1)
            else:
                item, at = self._plain(at)
            found.append(item)
        if depth:
            raise _refused(at, "a tuple has no end")
        return tuple(found), at

    def _plain(self, at: int) -> tuple[Any, int]:  # noqa: PLR0911  # one answer for each code
        code, at = self._data[at], at + 1
        if code == _NULL:
            return None, at
        if code == _BYTES:
            return self._until_zero(at)
        if code == _TEXT:
            raw, end = self._until_zero(at)
            try:
                return raw.decode(), end
            except UnicodeDecodeError:
                raise _refused(at, "text is not UTF-8") from None
        if _NEGATIVE_LONG <= code <= _POSITIVE_LONG:
            return self._int(code, at)
        if code in (_FALSE, _TRUE):
            return code == _TRUE, at
        if code == _SINGLE:
            return SingleFloat.from_bits(_turned_back(int.from_bytes(self._take(at, 4), "big"), 32)), at + 4
        if code == _DOUBLE:
            bits = _turned_back(int.from_bytes(self._take(at, 8), "big"), 64)
            return struct.unpack(">d", bits.to_bytes(8, "big"))[0], at + 8
        if code == _UUID:
            return _uuid_class()(bytes=self._take(at, 16)), at + 16
        if code == _VERSIONSTAMP:
            stamp = self._take(at, _TR_BYTES + 2)
            if stamp.startswith(_INCOMPLETE):
                raise _refused(at - 1, "an incomplete versionstamp")
            return Versionstamp(stamp[:_TR_BYTES], int.from_bytes(stamp[_TR_BYTES:], "big")), at + len(stamp)
        raise _refused(at - 1, "no item of a tuple begins so")

    def _int(self, code: int, at: int) -> tuple[int, int]:
        negative = code < _ZERO
        begun, size = at, abs(code - _ZERO)
        if code in (_NEGATIVE_LONG, _POSITIVE_LONG):
            size, at = self._take(at, 1)[0] ^ (0xFF if negative else 0), at + 1
        number = int.from_bytes(self._take(at, size), "big")
        if negative:
            number -= (1 << 8 * size) - 1
        if _packed_int(number) != self._data[begun - 1 : at + size]:
            raise _refused(begun, "a number is not in its one form")
        return number, at + size

    def _until_zero(self, at: int) -> tuple[bytes, int]:
        data, end = self._data, at
        while (end := data.find(b"\x00", end)) >= 0:
            if data[end + 1 : end + 2] != b"\xff":
                return data[at:end].replace(b"\x00\xff", b"\x00"), end + 1
            end += 2
        raise _refused(at, "a text has no end")

    def _take(self, at: int, size: int) -> bytes:
        if at + size > len(self._data):
            raise _refused(at, "cut short")
        return self._data[at : at + size]


def _refused(at: int, what: str) -> CodecError:
    return CodecError(f"stored bytes are no tuple: damaged at offset {at}: {what}", hint="open it with kvarts.Bytes")
