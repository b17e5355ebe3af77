"""Rows: what tables and batches say about keys."""

from typing import Final, NamedTuple

KINDS: Final = ("delete", "put", "put_expiring")
DELETE: Final = 0
PUT: Final = 1
PUT_EXPIRING: Final = 2
EXPIRY_BYTES: Final = 8


class Row(NamedTuple):
    """A key at a revision. `stored` is the value with its expiry in front where it has one."""

    key: bytes
    revision: int
    kind: int
    stored: bytes

    @property
    def value(self) -> bytes:
        """The user's value; empty for a delete."""
        return self.stored[EXPIRY_BYTES:] if self.kind == PUT_EXPIRING else self.stored

    @property
    def expires_ms(self) -> int | None:
        """When it becomes absent, in Unix milliseconds; None where it does not."""
        return int.from_bytes(self.stored[:EXPIRY_BYTES], "little") if self.kind == PUT_EXPIRING else None


def fits(kind: int, size: int) -> bool:
    """Tell whether a value of this size can be stored under this kind, and whether there is such a kind."""
    return kind == PUT or (kind == DELETE and size == 0) or (kind == PUT_EXPIRING and size >= EXPIRY_BYTES)
