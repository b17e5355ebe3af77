"""Log records, and where a log of them ends."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kvarts.inspect.format.checksum import TAG_BYTES
from kvarts.inspect.format.fields import is_zero, u32_at, u64_at
from kvarts.inspect.format.header import HEADER_BYTES
from kvarts.inspect.format.seal import Seal

KINDS: Final = {
    1: "batch",
    2: "end",
    3: "hard state",
    4: "entry",
    5: "snapshot mark",
    6: "compacted",
    7: "group",
    8: "resumed",
    9: "removed",
}
_MARKER = b"vK"
_HEAD_BYTES = 24
_ATTEMPT_AT = 12
_ALIGN = 8
_PAYLOAD_BYTES_MAX = (1 << 31) - 1
_TAG_PASSES_MAX = 16


class Record(NamedTuple):
    """A whole record. `synced` is how much of the log was on stable storage when it was appended."""

    offset: int
    next: int
    kind: str
    stream: int
    synced: int
    payload: bytes


@dataclass(slots=True)
class Scan:
    """Whole records from the start, and what follows them: verdict is "clean", "torn" or "damaged".

    `why` says what is wrong at `end`, and `later` are whole records beyond it: they do not count.
    """

    records: list[Record]
    end: int
    verdict: str = "clean"
    why: str = ""
    later: list[Record] = field(default_factory=list)


def scan(seal: Seal, data: bytes, progress: Callable[[int], object] = lambda _: None) -> Scan:
    """Read the records of a log, whose header was checked. `progress` gets the bytes done."""
    found = Scan([], min(HEADER_BYTES, len(data)))
    while (record := whole_record(seal, data, found.end)) is not None:
        found.records.append(record)
        found.end = record.next
        progress(found.end)
    if is_zero(data, found.end):
        return found
    found.why = _why_not_whole(seal, data, found.end)
    found.later, is_sure = _later_records(seal, data, found.end)
    is_damaged = not is_sure or any(record.synced > found.end for record in found.later)
    found.verdict = "damaged" if is_damaged else "torn"
    return found


def shows_synced(seal: Seal, data: bytes) -> bool:
    """Tell whether a whole record anywhere in a log was appended when some of the log was on stable storage."""
    records, is_sure = _later_records(seal, data, HEADER_BYTES - _ALIGN)
    return not is_sure or any(record.synced for record in records)


def whole_record(seal: Seal, data: bytes, start: int) -> Record | None:
    """Return the record at `start` if all of it is there and its tag matches."""
    size = _size_of(seal, data, start)
    if size is None:
        return None
    attempt = u32_at(data, start + _ATTEMPT_AT)
    content = seal.open(start, data[start : start + size], clear=_HEAD_BYTES, attempt=attempt)
    if content is None:
        return None
    payload = content[_HEAD_BYTES : _HEAD_BYTES + u32_at(data, start + 4)]
    kind, stream, synced = KINDS[data[start + 2]], u32_at(data, start + 8), u64_at(data, start + 16)
    return Record(start, start + size, kind, stream, synced, payload)


def _size_of(seal: Seal, data: bytes, start: int) -> int | None:
    """Return the bytes of the record at `start` if its head may be one, before any tag is computed."""
    return None if _why_no_head(seal, data, start) else _record_bytes(u32_at(data, start + 4))


def _record_bytes(payload_bytes: int) -> int:
    return (_HEAD_BYTES + payload_bytes + _ALIGN - 1) // _ALIGN * _ALIGN + TAG_BYTES


def _why_no_head(seal: Seal, data: bytes, start: int) -> str:
    """Return what keeps the bytes at `start` from being the head of a record, or nothing."""
    if start + _HEAD_BYTES > len(data):
        return "the file ends within the head of a record"
    payload_bytes = u32_at(data, start + 4)
    is_first = seal.aead is not None or is_zero(data, start + _ATTEMPT_AT, start + _ATTEMPT_AT + 4)
    is_too_long = payload_bytes > _PAYLOAD_BYTES_MAX or start + _record_bytes(payload_bytes) > len(data)
    reasons = (
        (data[start : start + 2] != _MARKER, "no record begins here: the marker is missing"),
        (data[start + 2] not in KINDS, f"unknown kind of record {data[start + 2]}"),
        (data[start + 3] or not is_first, "a reserved field of a record is not zero"),
        (u64_at(data, start + 16) > start, "a record says that more was synced than lies before it"),
        (is_too_long, f"a record of {payload_bytes} bytes goes beyond the end of the file"),
    )
    return next((what for is_so, what in reasons if is_so), "")


def _why_not_whole(seal: Seal, data: bytes, start: int) -> str:
    return _why_no_head(seal, data, start) or "the checksum of a record differs"


def _later_records(seal: Seal, data: bytes, bad: int) -> tuple[list[Record], bool]:
    """Return whole records after `bad`, and whether all were found before too much was checksummed."""
    records: list[Record] = []
    budget = _TAG_PASSES_MAX * len(data)
    start = data.find(_MARKER, bad + _ALIGN)
    while start >= 0:
        size = None if start % _ALIGN else _size_of(seal, data, start)
        if size is None:
            start = data.find(_MARKER, start + 1)
            continue
        if size > budget:
            return records, False
        budget -= size
        record = whole_record(seal, data, start)
        if record is not None:
            records.append(record)
        start = data.find(_MARKER, start + 1 if record is None else record.next)
    return records, True
