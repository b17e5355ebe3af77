"""Numbers, lengths and lists in bytes that may be damaged: beyond the end is a FormatError, never an IndexError."""

from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

U64_MAX: Final = (1 << 64) - 1
_VARINT_BYTES_MAX = 10


class FormatError(Exception):
    """Bytes that are not what the format says. `offset` counts from the start of what was decoded."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.offset = offset
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} (at {self.offset})"


def u32_at(data: bytes, at: int) -> int:
    """Return the u32 that the caller knows to lie there."""
    return int.from_bytes(data[at : at + 4], "little")


def u64_at(data: bytes, at: int) -> int:
    """Return the u64 that the caller knows to lie there."""
    return int.from_bytes(data[at : at + 8], "little")


def is_zero(data: bytes, start: int = 0, stop: int | None = None) -> bool:
    """Tell whether all bytes of a range are zero."""
    stop = len(data) if stop is None else stop
    return data.count(0, start, stop) == max(0, stop - start)


def read_varint(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """Return the number at `at` and where it ends, at most at `stop`."""
    value = 0
    for length in range(_VARINT_BYTES_MAX):
        if at + length >= stop:
            raise FormatError(at, "a varint is cut short")
        byte = data[at + length]
        value |= (byte & 0x7F) << 7 * length
        if byte < 0x80:
            if value > U64_MAX or (length and not byte):
                break
            return value, at + length + 1
    raise FormatError(at, "a varint is longer than it may be")


class Reader:
    """Reads fields one after another."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self.data) - self.at

    def take(self, size: int) -> bytes:
        """Read that many bytes."""
        if size > self.left:
            raise FormatError(self.at, f"cut short: {size} bytes should follow, {self.left} do")
        self.at += size
        return self.data[self.at - size : self.at]

    def u32(self) -> int:
        """Read a u32."""
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        """Read a u64."""
        return int.from_bytes(self.take(8), "little")

    def bytes_(self) -> bytes:
        """Read a length u32 and that many bytes."""
        return self.take(self.u32())

    def text(self) -> str:
        """Read a length u32 and that many bytes of UTF-8."""
        at = self.at
        try:
            return self.bytes_().decode()
        except UnicodeDecodeError:
            raise FormatError(at, "a name is not UTF-8") from None

    def list_(self, size_min: int, read: "Callable[[Reader], T]") -> list[T]:
        """Read a length u32 and that many things, of at least `size_min` bytes each."""
        at = self.at
        count = self.u32()
        if count > self.left // size_min:
            raise FormatError(at, f"a list of {count} things is longer than the bytes that follow")
        return [read(self) for _ in range(count)]

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.left:
            raise FormatError(self.at, f"{self.left} bytes are left over")
