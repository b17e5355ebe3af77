"""Writes gathered for one commit: what the sync and the async batch share."""

import time
import warnings
from typing import Any, Generic

from kvarts.base.api import Ttl
from kvarts.base.errors import InvalidArgument
from kvarts.base.types import Revision
from kvarts.remote.space import K, V
from kvarts.remote.writing import Write, Writing, ttl_milliseconds


class Gathered:
    """The writes of a batch, which all its faces share. `times`: when each one's ttl began, if it has one."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.times: list[float] = []
        self.open = True
        self.entered = False
        self.revision: Revision | None = None

    def __del__(self) -> None:
        """Say that writes were gathered and never committed, as Python says it of files that nobody closed."""
        if self.open and self.writes:
            what = f"a batch of {len(self.writes)} writes was dropped and nothing of it written: use it in a with block"
            warnings.warn(what, ResourceWarning, stacklevel=2, source=self)

    def take(self) -> list[Write]:
        """End the batch and return its writes; ttls count from the calls that gave them."""
        self.open = False
        now = time.monotonic()
        taken = [
            (space, key, value, max(1, ttl_ms - int((now - then) * 1000)) if ttl_ms else 0)
            for (space, key, value, ttl_ms), then in zip(self.writes, self.times, strict=True)
        ]
        self.writes, self.times = [], []
        return taken


class BatchFace(Generic[K, V]):
    """A face of a batch: the keyspace it writes to, and what all faces share."""

    def __init__(self, verbs: Writing[K, V], gathered: Gathered | None = None) -> None:
        verbs._check_writable()
        self._verbs = verbs
        self._root = gathered is None
        self._gathered = gathered or Gathered()

    def put(self, key: K, value: V, *, ttl: Ttl | None = None) -> None:
        """Gather a write; `ttl` counts from this call."""
        ttl_ms = 0 if ttl is None else ttl_milliseconds(ttl)
        verbs = self._verbs
        self._add((verbs._id, verbs._key_to_write(key), verbs._value_to_write(value), ttl_ms))

    def delete(self, key: K) -> None:
        """Gather a delete; an absent key is no error."""
        self._add((self._verbs._id, self._verbs._key_to_write(key), None, 0))

    def __setitem__(self, key: K, value: V, /) -> None:
        self.put(key, value)

    def __delitem__(self, key: K, /) -> None:
        self.delete(key)

    def __len__(self) -> int:
        return len(self._gathered.writes)

    def __bool__(self) -> bool:
        """Return True, however few writes it holds: it is no collection."""
        return True

    @property
    def revision(self) -> Revision | None:
        """The revision of the commit; None before, and where there was nothing to write."""
        return self._gathered.revision

    def __repr__(self) -> str:
        gathered = self._gathered
        if gathered.open:
            return f"<kvarts.Batch open writes={len(gathered.writes)}>"
        state = "discarded" if gathered.revision is None else f"committed revision={gathered.revision}"
        return f"<kvarts.Batch {state}>"

    def _add(self, write: Write) -> None:
        if not self._gathered.open:
            raise _ended()
        self._gathered.writes.append(write)
        self._gathered.times.append(time.monotonic() if write[3] else 0.0)

    def _begin(self) -> None:
        if not self._root:
            return
        if not self._gathered.open:
            raise _ended()
        if self._gathered.entered:
            what = "this batch is in its with block already"
            raise InvalidArgument(what, hint="one block commits it; db.batch() begins another")
        self._gathered.entered = True

    async def _finish(self, error: Any) -> None:
        if not self._root:
            return
        if not self._gathered.open:
            raise _ended()
        writes = self._gathered.take()
        if error is None:
            self._verbs._check_writable()
            self._gathered.revision = await self._verbs._commit(writes, self._verbs._timeout_ms)


def _ended() -> InvalidArgument:
    return InvalidArgument("this batch has ended", hint="db.batch() begins another")
