"""How long the first item of an encoded tuple is. Source: FoundationDB's tuple layer, design/tuple.md."""

from __future__ import annotations

NULL, BYTES, TEXT, NESTED = 0x00, 0x01, 0x02, 0x05
NEGATIVE_LONG, POSITIVE_LONG, ZERO = 0x0B, 0x1D, 0x14
ESCAPE = 0xFF

FIXED_BYTES = {
    **{ZERO + size: size for size in range(9)},
    **{ZERO - size: size for size in range(9)},
    0x20: 4,
    0x21: 8,
    0x22: 10,
    0x26: 0,
    0x27: 0,
    0x30: 16,
    0x31: 8,
    0x32: 10,
    0x33: 12,
}
"""Bytes behind the code of items whose code tells their size: numbers, floats, booleans, ids, versionstamps."""


def first_item_bytes(key: bytes) -> int:
    """Return the length of the first item, code included; 0 where none is there whole, or its code is unknown."""
    if not key or key[0] != NESTED:
        return _plain_end(key, 0)
    at, depth = 1, 1
    while depth and at < len(key):
        if key[at] == NESTED:
            at, depth = at + 1, depth + 1
        elif key[at] != NULL:
            at = _plain_end(key, at)
            if not at:
                return 0
        elif key[at + 1 : at + 2] == b"\xff":
            at += 2
        else:
            at, depth = at + 1, depth - 1
    return 0 if depth else at


def _plain_end(key: bytes, at: int) -> int:
    """Return where the item at `at`, which is not nested, ends; 0 if it does not."""
    if at >= len(key):
        return 0
    code = key[at]
    if code == NULL:
        return at + 1
    if code in (BYTES, TEXT):
        return _zero_end(key, at + 1)
    if code in FIXED_BYTES:
        end = at + 1 + FIXED_BYTES[code]
    elif code in (NEGATIVE_LONG, POSITIVE_LONG) and at + 1 < len(key):
        end = at + 2 + (key[at + 1] ^ (ESCAPE if code == NEGATIVE_LONG else 0))
    else:
        return 0
    return end if end <= len(key) else 0


def _zero_end(key: bytes, at: int) -> int:
    """Return the place behind the zero that ends a text: 0x00 0xff within is an escaped zero."""
    while True:
        at = key.find(b"\x00", at)
        if at < 0:
            return 0
        if key[at + 1 : at + 2] != b"\xff":
            return at + 1
        at += 2
