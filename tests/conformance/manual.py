"""A store on disk under a clock that stands still until it is told to move."""

from pathlib import Path
from typing import Any, Self

import kvarts
from kvarts import _native
from kvarts.base.options import validate
from kvarts.embedded.opening import open_database
from kvarts.embedded.store import DEFAULT_KEYSPACE, keyspace_of


class ManualStore:
    """Opens a store at `path` with a manual clock, and can close and reopen it: `db` is the one now open."""

    def __init__(self, path: Path, *, now_ms: int, **options: Any) -> None:
        self.path = path
        self.now_ms = now_ms
        self.options = options
        self.clock = _native.ManualClock(now_ms)
        self.db = self._open()

    def advance(self, by_ms: int) -> None:
        """Moves the clock."""
        self.now_ms += by_ms
        self.clock.advance_ms(by_ms)

    def reopen(self, **options: Any) -> None:
        """Closes the store and opens it, with some options changed."""
        self.db.close()
        self.options |= options
        self.db = self._open()

    def _open(self) -> "kvarts.Store[bytes, bytes]":
        database = open_database(self.path, validate(self.options), clock=self.clock)
        bytes_ = kvarts.Bytes
        return keyspace_of(database, DEFAULT_KEYSPACE, bytes_, bytes_, create=True, target=str(self.path), owner=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.db.close()
