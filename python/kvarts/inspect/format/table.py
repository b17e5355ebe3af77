"""The tail of a table: footer, properties, index."""

from dataclasses import dataclass
from itertools import pairwise
from struct import unpack_from
from typing import Final

from kvarts.inspect.format.fields import U64_MAX, FormatError, Reader, is_zero, u32_at, u64_at
from kvarts.inspect.format.header import HEADER_BYTES
from kvarts.inspect.format.seal import Seal

FOOTER_BYTES: Final = 128
NEVER_MS: Final = U64_MAX
_FOOTER_MAGIC = b"kvtable\n"
_PARTS = ("index", "filter", "properties")
_INDEX_HEAD_BYTES = 16
_INDEX_ROW_BYTES = 24
_LAYOUT = 1


@dataclass(frozen=True, slots=True)
class Handle:
    """Where a sealed block lies, its tag included."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Footer:
    """Where the parts of a table lie. A filter of size 0 is none."""

    index: Handle
    filter: Handle
    properties: Handle


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """What a table says of its rows. Expiries are Unix milliseconds, NEVER_MS where there is none."""

    rows: int
    tombstones: int
    expiring: int
    raw_bytes: int
    revision_min: int
    revision_max: int
    expiry_min_ms: int
    expiry_half_ms: int
    keys: int
    smallest: bytes
    largest: bytes


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A data block: where it lies, and an end at or after its last row and before the next block."""

    handle: Handle
    end_key: bytes
    end_revision: int


def read_footer(seal: Seal, offset: int, data: bytes) -> Footer:
    """Decode the footer at `offset`; its parts then follow one another up to it. Raises FormatError."""
    hides = seal.aead is not None
    if len(data) != FOOTER_BYTES or not (hides or data.startswith(_FOOTER_MAGIC)):
        raise FormatError(0, "the file does not end in the footer of a table")
    content = seal.open(offset, data)
    if content is None:
        raise FormatError(0, "the checksum of the footer differs")
    data = content
    if not data.startswith(_FOOTER_MAGIC):
        raise FormatError(0, "the file does not end in the footer of a table")
    if not is_zero(data, 56, 112) or any(u32_at(data, 20 + 16 * part) for part in range(3)):
        raise FormatError(56, "a reserved field of the footer is not zero")
    index, filter_, properties = (Handle(u64_at(data, at), u32_at(data, at + 8)) for at in (8, 24, 40))
    parts = [filter_] * (filter_.size > 0) + [index, properties]
    follow = all(left.end == right.offset for left, right in pairwise(parts))
    if (
        not follow
        or parts[0].offset < HEADER_BYTES
        or properties.end != offset
        or not index.size
        or not properties.size
    ):
        raise FormatError(8, f"{', '.join(_PARTS)} do not follow one another up to the footer")
    return Footer(index, filter_, properties)


def read_properties(raw: bytes) -> Properties:
    """Decode raw properties. Raises FormatError."""
    reader = Reader(raw)
    if reader.u64() != _LAYOUT:
        raise FormatError(0, "unknown layout of properties")
    names = list(Properties.__dataclass_fields__)[:9]
    numbers = {name: reader.u64() for name in names}
    found = Properties(**numbers, smallest=reader.bytes_(), largest=reader.bytes_())
    reader.finish()
    counted = found.tombstones + found.expiring <= found.rows and found.keys <= found.rows
    ordered = found.revision_min <= found.revision_max and found.expiry_min_ms <= found.expiry_half_ms
    if not counted or not ordered or found.smallest > found.largest:
        raise FormatError(8, "the properties of a table contradict each other")
    return found


def read_index(raw: bytes, stop: int) -> list[IndexEntry]:
    """Decode a raw index, whose blocks fill all from the header up to `stop`. Raises FormatError."""
    if len(raw) < _INDEX_HEAD_BYTES or u32_at(raw, 0) != _LAYOUT or u32_at(raw, 12):
        raise FormatError(0, "the head of an index is not one")
    blocks, key_bytes = u32_at(raw, 4), u32_at(raw, 8)
    keys_at = _INDEX_HEAD_BYTES + _INDEX_ROW_BYTES * blocks
    if len(raw) != keys_at + key_bytes:
        raise FormatError(4, f"an index of {len(raw)} bytes where its head says {keys_at + key_bytes}")
    columns = unpack_from(f"<{2 * blocks}Q{2 * blocks}I", raw, _INDEX_HEAD_BYTES)
    offsets, revisions, sizes, ends = (columns[n * blocks : (n + 1) * blocks] for n in range(4))
    keys = raw[keys_at:]
    if not blocks or ends[-1] != key_bytes or any(left > right for left, right in pairwise(ends)):
        raise FormatError(_INDEX_HEAD_BYTES, "the keys of an index are damaged, or there are none")
    entries = [
        IndexEntry(Handle(offset, size), keys[start:end], revision)
        for offset, revision, size, start, end in zip(offsets, revisions, sizes, (0, *ends), ends, strict=False)
    ]
    _check_index(entries, stop)
    return entries


def _check_index(entries: list[IndexEntry], stop: int) -> None:
    place = HEADER_BYTES
    last: IndexEntry | None = None
    for number, entry in enumerate(entries):
        if entry.handle.offset != place:
            raise FormatError(
                _INDEX_HEAD_BYTES, f"block {number} of the index does not begin where the one before ends"
            )
        place = entry.handle.end
        if last and (last.end_key, -last.end_revision) >= (entry.end_key, -entry.end_revision):
            raise FormatError(_INDEX_HEAD_BYTES, f"block {number} of the index is not sorted")
        last = entry
    if place != stop:
        raise FormatError(_INDEX_HEAD_BYTES, f"the blocks of the index end at {place}, not at {stop}")
