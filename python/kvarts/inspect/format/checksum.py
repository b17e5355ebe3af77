"""The tag of every header, block and record: CRC-64/NVME in plain Python, and rapidhash over it.

A long content is folded before it goes through the CRC byte by byte: it is a polynomial over GF(2), of which a part may
be replaced by anything congruent to it modulo the CRC's polynomial P. Its first part ends d bits before its end, so
that part times (x^d mod P) takes its place, within the last d bits: with d half of the content, half is left. That
is some 32 shifts of one large int, five times as fast as bytes from 8 KiB on.
"""

from functools import cache
from struct import Struct
from typing import Final

from kvarts.base.rapidhash import rapidhash

TAG_BYTES: Final = 16

_POLYNOMIAL = 0x9A6C9329AC4BC9B5
_FOLDED_BITS_MAX = 2048
_MASK = (1 << 64) - 1
_PLACE = Struct("<4Q")
_TAG = Struct("<2Q")


def tag(file: int, offset: int, content: bytes) -> bytes:
    """Return the 16 bytes that end `content` where it is stored at `offset` of the file with that id."""
    crc = crc64(content)
    return _TAG.pack(crc, rapidhash(_PLACE.pack(file, offset, len(content), crc)))


def matches(file: int, offset: int, sealed: bytes) -> bool:
    """Tell whether the last 16 bytes are the tag of those before them."""
    return len(sealed) >= TAG_BYTES and tag(file, offset, sealed[:-TAG_BYTES]) == sealed[-TAG_BYTES:]


def crc64(data: bytes) -> int:
    """Return the CRC-64/NVME."""
    crc = _MASK
    if 8 * len(data) > _FOLDED_BITS_MAX:
        data, crc = _folded(data), 0
    bytewise = _bytewise()
    for byte in data:
        crc = bytewise[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ _MASK


def _folded(data: bytes) -> bytes:
    """Return few bytes that have, from a register of zeros, the CRC that `data` has from a register of ones.

    Bit 0 of a little-endian int is the highest power of x, as in the CRC's register.
    """
    bits = 8 * len(data)
    value = int.from_bytes(data, "little") ^ _MASK
    while bits > _FOLDED_BITS_MAX:
        # The distance is 2^power + 64, the smallest such that the product ends within it.
        power = (bits - 66).bit_length() - 1
        distance = (1 << power) + 64
        first_bits = bits - distance
        first = value & ((1 << first_bits) - 1)
        product = 0
        for shift in _shifts(power):
            product ^= first << shift
        value = value >> first_bits ^ product << distance - first_bits - 63
        bits = distance
    return value.to_bytes(bits // 8, "little")


@cache
def _shifts(power: int) -> tuple[int, ...]:
    """Return the set bits of x^(2^power + 64) mod P, where bit 63 is x^0."""
    factor = _product(_square_of_x(power), _POLYNOMIAL)
    return tuple(bit for bit in range(64) if factor >> bit & 1)


@cache
def _square_of_x(times: int) -> int:
    """Return x squared so many times, mod P."""
    if times == 0:
        return 1 << 62
    root = _square_of_x(times - 1)
    return _product(root, root)


def _product(a: int, b: int) -> int:
    """Return a * b mod P."""
    product = 0
    for bit in reversed(range(64)):
        product ^= a if b >> bit & 1 else 0
        a = a >> 1 ^ (_POLYNOMIAL if a & 1 else 0)
    return product


@cache
def _bytewise() -> tuple[int, ...]:
    """Return what each byte in the register becomes."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)
