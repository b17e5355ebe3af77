"""The model of a store: dicts with revisions. What a store answers must be what this answers."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Row(NamedTuple):
    """A value as the model holds it. `expiry_ms` is the first moment at which it is absent."""

    value: bytes
    revision: int
    expiry_ms: int | None


@dataclass
class Model:
    """Rows per keyspace under a clock of its own, and the last revision seen."""

    now_ms: int
    revision: int = 0
    spaces: dict[str, dict[bytes, Row]] = field(default_factory=dict)

    def live(self, space: str, prefix: bytes) -> dict[bytes, Row]:
        """Rows of a view that have not expired, in key order, keys without the prefix."""
        rows = self.spaces.setdefault(space, {})
        return {
            key[len(prefix) :]: row
            for key, row in sorted(rows.items())
            if key.startswith(prefix) and not self._expired(row)
        }

    def _expired(self, row: Row) -> bool:
        return row.expiry_ms is not None and row.expiry_ms <= self.now_ms

    def wrote(self, revision: int) -> None:
        """Takes note of a commit: revisions strictly increase."""
        assert revision > self.revision, f"revision {revision} after {self.revision}"
        self.revision = revision

    def put(self, space: str, key: bytes, value: bytes, revision: int, ttl_ms: int | None = None) -> None:
        """Takes note of a write at a revision that `wrote` was told."""
        expiry = None if ttl_ms is None else self.now_ms + ttl_ms
        self.spaces.setdefault(space, {})[key] = Row(value, revision, expiry)

    def keep_expiry(self, space: str, key: bytes, value: bytes, revision: int) -> None:
        """Takes note of an incr, which leaves a ttl as it is; an expired one is gone."""
        old = self.spaces.setdefault(space, {}).get(key)
        expiry = None if old is None or self._expired(old) else old.expiry_ms
        self.spaces[space][key] = Row(value, revision, expiry)

    def delete(self, space: str, key: bytes) -> None:
        """Takes note of a delete."""
        self.spaces.setdefault(space, {}).pop(key, None)


def within(
    rows: dict[bytes, Row],
    start: bytes | None,
    stop: bytes | None,
    *,
    prefix: bytes = b"",
    include_start: bool = True,
    include_stop: bool = False,
) -> list[tuple[bytes, bytes]]:
    """Rows within bounds, in key order."""
    return [
        (key, row.value)
        for key, row in sorted(rows.items())
        if key.startswith(prefix)
        if start is None or key > start or (include_start and key == start)
        if stop is None or key < stop or (include_stop and key == stop)
    ]
