"""A data block: columns of value offsets, revisions, kinds, keys and values."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from struct import unpack_from
from typing import Final

from kvarts.inspect.format.fields import U64_MAX, FormatError, is_zero, read_varint, u32_at, u64_at
from kvarts.inspect.format.rows import KINDS, Row, fits

_HEAD_BYTES: Final = 32
_LAYOUT: Final = 1
_KINDS_DIFFER: Final = 255
_WIDTHS: Final = {0: "", 1: "B", 2: "H", 4: "I", 8: "Q"}
_ENTRY_BYTES_MIN: Final = 2


@dataclass(frozen=True, slots=True)
class _Head:
    """The head, and where each column begins."""

    rows: int
    interval: int
    kind: int
    width: int
    revision_min: int
    offsets: bool
    revisions_at: int
    kinds_at: int
    keys_at: int
    values_at: int


def read_block(raw: bytes) -> list[Row]:
    """Decode a raw block and check all that the format says of it. Raises FormatError."""
    head = _read_head(raw)
    ends = _value_offsets(raw, head)
    revisions = _revisions(raw, head)
    kinds = raw[head.kinds_at : head.keys_at] if head.kind == _KINDS_DIFFER else bytes([head.kind]) * head.rows
    keys = _keys(raw, head, revisions)
    rows = []
    for number, (key, revision, kind) in enumerate(zip(keys, revisions, kinds, strict=True)):
        stored = raw[head.values_at + ends[number] : head.values_at + ends[number + 1]]
        if not fits(kind, len(stored)):
            raise FormatError(head.kinds_at, f"row {number} is of kind {kind} and has {len(stored)} bytes of value")
        rows.append(Row(key, revision, kind, stored))
    return rows


def _read_head(raw: bytes) -> _Head:
    if len(raw) < _HEAD_BYTES or raw[0] != _LAYOUT or not is_zero(raw, 20, 24):
        raise FormatError(0, "the head of a data block is not one")
    kind, width, offset_width = raw[1], raw[2], raw[3]
    rows, interval, key_bytes, value_bytes = (u32_at(raw, at) for at in (4, 8, 12, 16))
    if kind >= len(KINDS) and kind != _KINDS_DIFFER:
        raise FormatError(1, f"unknown kind {kind}")
    if width not in _WIDTHS or offset_width not in (0, 4):
        raise FormatError(2, "no column has such a width")
    if not rows or not interval or rows > key_bytes // _ENTRY_BYTES_MIN:
        raise FormatError(4, f"{rows} rows with {key_bytes} bytes of keys and restarts every {interval}")
    revisions_at = _HEAD_BYTES + (4 * (rows + 1) if offset_width else 0)
    kinds_at = revisions_at + rows * width
    keys_at = kinds_at + (rows if kind == _KINDS_DIFFER else 0)
    values_at = keys_at + key_bytes
    if values_at + value_bytes != len(raw):
        raise FormatError(12, f"a block of {len(raw)} bytes where the head says {values_at + value_bytes}")
    return _Head(
        rows, interval, kind, width, u64_at(raw, 24), offset_width > 0, revisions_at, kinds_at, keys_at, values_at
    )


def _value_offsets(raw: bytes, head: _Head) -> Sequence[int]:
    size = len(raw) - head.values_at
    if not head.offsets:
        each, rest = divmod(size, head.rows)
        if rest:
            raise FormatError(16, f"{size} bytes of values are not {head.rows} of one length")
        return range(0, size + 1, each) if each else [0] * (head.rows + 1)
    ends = unpack_from(f"<{head.rows + 1}I", raw, _HEAD_BYTES)
    if ends[0] or ends[-1] != size or any(left > right for left, right in pairwise(ends)):
        raise FormatError(_HEAD_BYTES, "the value offsets of a block are damaged")
    return ends


def _revisions(raw: bytes, head: _Head) -> list[int]:
    if not head.width:
        return [head.revision_min] * head.rows
    above = unpack_from(f"<{head.rows}{_WIDTHS[head.width]}", raw, head.revisions_at)
    revisions = [head.revision_min + each for each in above]
    if max(revisions) > U64_MAX:
        raise FormatError(head.revisions_at, "a revision of a block is too large")
    return revisions


def _keys(raw: bytes, head: _Head, revisions: Sequence[int]) -> list[bytes]:
    """Walk the keys: each is after the one before it, or equal with a smaller revision, and shares what it says."""
    keys: list[bytes] = []
    at, last = head.keys_at, b""
    for number in range(head.rows):
        start = at
        shared, at = read_varint(raw, at, head.values_at)
        size, at = read_varint(raw, at, head.values_at)
        if size > head.values_at - at:
            raise FormatError(start, f"key {number} goes beyond the keys")
        key = last[:shared] + raw[at : at + size]
        at += size
        is_restart = number % head.interval == 0
        shares_more = last[shared : shared + 1] == key[shared : shared + 1] != b""
        if shared > len(last) or (shared if is_restart else shares_more):
            raise FormatError(start, f"key {number} says that it shares {shared} bytes with the one before")
        if number and not (last < key or (last == key and revisions[number - 1] > revisions[number])):
            raise FormatError(start, f"row {number} does not come after the one before")
        keys.append(key)
        last = key
    if at != head.values_at:
        raise FormatError(at, "bytes follow the last key of a block")
    return keys
