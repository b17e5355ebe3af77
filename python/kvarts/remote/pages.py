"""Rows of a scan: fetched a page at a time, all as of the first page's revision, handed out one by one."""

from typing import Any

from kvarts import _native
from kvarts.base.errors import InvalidArgument
from kvarts.remote.ranges import Range, check_count
from kvarts.remote.space import Fresh, Speaker

ROWS_FIRST = 256
"""Rows of the first page, so that a short scan pays for little; later pages are as long as the node likes."""

ITEMS, KEYS, VALUES = range(3)
_KINDS = ("items", "keys", "values")


class Pages:
    """Fetches the rows of a range, page by page. A page that is lost is asked for again, of any leader.

    The rows of several shards are merged on their way here; those of each shard are as of one revision.
    """

    def __init__(
        self,
        speaker: Speaker[Any, Any],
        keys: Range,
        fresh: Fresh,
        timeout_ms: int,
        *,
        reverse: bool,
        limit: int | None,
        cursor: _native.Cursor | None = None,
    ) -> None:
        self.speaker = speaker
        self.fresh = fresh
        self.timeout_ms = timeout_ms
        self.keys = keys
        self._reverse = reverse
        self._limit = limit
        self._cursor = cursor or _native.Cursor(
            speaker._id,
            keys.start,
            keys.stop,
            exclude_start=not keys.include_start,
            include_stop=keys.include_stop,
            reverse=reverse,
            limit=min(limit or 0, 2**63),
            fresh=fresh,
        )
        self._rows = ROWS_FIRST
        self.more = not keys.empty and limit != 0

    def again(self) -> "Pages":
        """Return the same rows from the first on, at the same revision."""
        cursor = self._cursor.again()
        return Pages(
            self.speaker,
            self.keys,
            self.fresh,
            self.timeout_ms,
            reverse=self._reverse,
            limit=self._limit,
            cursor=cursor,
        )

    async def fetch(self, *, keys_only: bool) -> tuple[list[bytes], list[bytes]]:
        """Return the next page; an empty one is the last."""
        request = self._cursor.page(self._rows, keys_only)
        keys, values, self.more = await self.speaker._send(request, self.timeout_ms)
        self._rows = 0
        if not keys:
            self.more = False
        return keys, values

    async def count(self) -> int:
        """Return the number of rows that are left."""
        if not self.more:
            return 0
        counted: int = await self.speaker._send(self._cursor.count(), self.timeout_ms)
        return counted

    async def look_up(self, key: bytes) -> bytes | None:
        """Return the value of a key at the scan's revision."""
        asked: bytes | None = await self.speaker._send(self._cursor.get(key), self.timeout_ms)
        return asked


class Rows:
    """What the sync and the async scan share: the page at hand, and what a row is."""

    def __init__(self, pages: Pages, mode: int = ITEMS) -> None:
        self._pages = pages
        self._mode = mode
        self._list_rows = 0
        self._started = False
        self._keys: list[bytes] = []
        self._values: list[bytes] = []
        self._at = 0

    def __repr__(self) -> str:
        ended = self._at >= len(self._keys) and not self._pages.more
        state = "new" if not self._started else "ended" if ended else "begun"
        return f"<kvarts.Scan of {_KINDS[self._mode]} {state}>"

    def _turn(self, verb: str, mode: int) -> None:
        if self._started or self._mode != ITEMS:
            raise InvalidArgument(f"{verb}() comes before the first row, once", hint="start another scan")
        self._mode = mode

    def _list(self, rows: int) -> None:
        if self._started or self._list_rows:
            raise InvalidArgument("chunks() comes before the first row, once", hint="start another scan")
        if check_count(rows) == 0:
            raise InvalidArgument("chunks(0)", hint="1 or more rows")
        self._list_rows = rows

    def _end(self) -> None:
        self._started = True
        self._keys, self._values, self._at = [], [], 0
        self._pages.more = False

    async def _fill(self) -> bool:
        """Get the next page, if there is one, and return whether there is a row at hand."""
        while self._at >= len(self._keys):
            if not self._pages.more:
                return False
            self._keys, self._values = await self._pages.fetch(keys_only=self._mode == KEYS)
            self._at = 0
        return True

    async def _pass(self, key: bytes) -> bytes | None:
        """Return the value of the row at hand, and go on, if that is the key's; None else."""
        if not await self._fill() or self._keys[self._at] != key:
            return None
        self._at += 1
        return self._values[self._at - 1]

    def _row(self) -> Any:
        """Return the row at hand and go on to the next."""
        at, speaker = self._at, self._pages.speaker
        self._at += 1
        if self._mode == KEYS:
            return speaker._key_back(self._keys[at])
        if self._mode == VALUES:
            return speaker._value(self._values[at])
        return speaker._key_back(self._keys[at]), speaker._value(self._values[at])
