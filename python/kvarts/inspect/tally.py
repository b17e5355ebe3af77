"""What the rows of a table add up to, to be held against what the table says of itself."""

from collections.abc import Iterator, Sequence

from kvarts.inspect.format.fields import U64_MAX, FormatError
from kvarts.inspect.format.filter import Filter
from kvarts.inspect.format.rows import DELETE, Row
from kvarts.inspect.format.table import NEVER_MS, IndexEntry, Properties

_EXACT_EXPIRIES_MAX = 4096
"""Beyond so many the properties say when half of the rows have expired from a sample: not compared."""


class Tally:
    """Counts rows in the order of the table."""

    def __init__(self, filter_: Filter | None) -> None:
        """Take the filter that every key must pass, if there is one."""
        self._filter = filter_
        self._last: Row | None = None
        self._end: tuple[bytes, int] | None = None
        self._smallest = b""
        self._numbers = dict.fromkeys(("rows", "tombstones", "expiring", "raw_bytes", "keys"), 0)
        self._revision_min = U64_MAX
        self._revision_max = 0
        self._expiries_ms: list[int] = []

    def add(self, rows: Sequence[Row], entry: IndexEntry, *, is_last: bool) -> None:
        """Count a block. Raises FormatError where it does not go on where the last one ended, or as the index says."""
        last = self._last
        if last and (last.key, -last.revision) >= (rows[0].key, -rows[0].revision):
            raise FormatError(0, "its rows do not come after those of the block before")
        after, end = self._end, (entry.end_key, -entry.end_revision)
        self._end = end
        if after and after >= (rows[0].key, -rows[0].revision):
            raise FormatError(0, "the index and the rows differ")
        found = (rows[-1].key, -rows[-1].revision)
        if found > end or (is_last and found != end):
            raise FormatError(0, "the index and the rows differ")
        if last is None:
            self._smallest = rows[0].key
        previous = last.key if last else None
        for row in rows:
            if row.key != previous:
                self._add_key(row.key)
                previous = row.key
            self._add_row(row)
        self._last = rows[-1]

    def _add_key(self, key: bytes) -> None:
        self._numbers["keys"] += 1
        if self._filter and not self._filter.may_hold(key):
            raise FormatError(0, "the filter misses a key")

    def _add_row(self, row: Row) -> None:
        numbers = self._numbers
        numbers["rows"] += 1
        numbers["tombstones"] += row.kind == DELETE
        numbers["raw_bytes"] += len(row.key) + len(row.stored)
        self._revision_min = min(self._revision_min, row.revision)
        self._revision_max = max(self._revision_max, row.revision)
        if row.expires_ms is not None:
            numbers["expiring"] += 1
            self._expiries_ms.append(row.expires_ms)

    def differences(self, properties: Properties) -> Iterator[str]:
        """Yield what the properties say otherwise than the rows."""
        assert self._last is not None, "a table has rows"
        counted = self._numbers | {
            "revision_min": self._revision_min,
            "revision_max": self._revision_max,
            "expiry_min_ms": min(self._expiries_ms, default=NEVER_MS),
            "smallest": self._smallest,
            "largest": self._last.key,
        }
        if len(self._expiries_ms) <= _EXACT_EXPIRIES_MAX:
            counted["expiry_half_ms"] = self._expiry_half_ms()
        for name, value in counted.items():
            if getattr(properties, name) != value:
                yield f"properties: {name} is {getattr(properties, name)!r}, but the rows have {value!r}"

    def _expiry_half_ms(self) -> int:
        half = (self._numbers["rows"] + 1) // 2
        return sorted(self._expiries_ms)[half - 1] if half <= len(self._expiries_ms) else NEVER_MS
