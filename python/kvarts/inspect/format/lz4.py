"""A decoder of LZ4's block format: sequences of literals and of copies from what was already decoded."""

from kvarts.inspect.format.fields import FormatError

_COPY_BYTES_MIN = 4


def expand(data: bytes, size: int) -> bytes:
    """Return the `size` bytes that `data` stands for. Raises FormatError."""
    out = bytearray()
    at = 0
    while True:
        if at >= len(data):
            raise FormatError(at, "LZ4: a sequence is cut short")
        token = data[at]
        count, at = _length(data, at + 1, token >> 4)
        if at + count > len(data) or len(out) + count > size:
            raise FormatError(at, "LZ4: literals go beyond the end")
        out += data[at : at + count]
        at += count
        if at == len(data):
            break
        at = _copy(data, at, token & 15, out, size)
    if len(out) != size:
        raise FormatError(at, f"LZ4: {len(out)} bytes where {size} should be")
    return bytes(out)


def _copy(data: bytes, at: int, count: int, out: bytearray, size: int) -> int:
    """Append a copy of what lies some way back, which may overlap what it appends; return where its sequence ends."""
    if at + 2 > len(data):
        raise FormatError(at, "LZ4: a copy is cut short")
    back = data[at] | data[at + 1] << 8
    count, end = _length(data, at + 2, count)
    count += _COPY_BYTES_MIN
    if not 0 < back <= len(out) or len(out) + count > size:
        raise FormatError(at, "LZ4: a copy from outside, or beyond the end")
    source = out[len(out) - back : len(out) - back + count]
    out += (source * (count // back + 1))[:count] if back < count else source
    return end


def _length(data: bytes, at: int, count: int) -> tuple[int, int]:
    """Return a length whose low part is `count`: 15 says that bytes follow, 255 that one more does."""
    if count < 15:
        return count, at
    while True:
        if at >= len(data):
            raise FormatError(at, "LZ4: a length is cut short")
        count += data[at]
        at += 1
        if data[at - 1] < 255:
            return count, at
