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
    """Fetches the rows of a range, page by page. A page that is lost is asked for again, of any leader."""

    def __init__(
        self,
        speaker: Speaker[Any, Any],
        keys: Range,
        fresh: Fresh,
        timeout_ms: int,
        *,
        reverse: bool,
        limit: int | None,
    ) -> None:
        self.speaker = speaker
        self.fresh = fresh
        self.timeout_ms = timeout_ms
        self.keys = keys
        self._reverse = reverse
        self._limit = self._left = limit
        self._last: bytes | None = None
        self.more = not keys.empty and limit != 0

    def again(self) -> "Pages":
        """Return the same rows from the first on, at the same revision."""
        return Pages(self.speaker, self.keys, self.fresh, self.timeout_ms, reverse=self._reverse, limit=self._limit)

    async def fetch(self, *, keys_only: bool) -> tuple[list[bytes], list[bytes]]:
        """Return the next page; an empty one is the last."""
        first = self._last is None
        request = self._request(ROWS_FIRST if first else 0, keys_only=keys_only)
        keys, values, self.more, revision, now_ms, _ = await self.speaker._send(request, self.timeout_ms)
        level, max_staleness_ms = self.fresh[:2] if self.fresh else (0, 0)
        self.fresh = (level, max_staleness_ms, revision, now_ms)
        if self._left is not None:
            self._left -= len(keys)
            self.more = self.more and self._left > 0
        if keys:
            self._last = keys[-1]
        else:
            self.more = False
        return keys, values

    async def count(self) -> int:
        """Return the number of rows that are left."""
        if not self.more:
            return 0
        answer = await self.speaker._send(self._request(0, count_only=True), self.timeout_ms)
        counted: int = answer[5]
        return counted

    def _request(self, rows: int, *, keys_only: bool = False, count_only: bool = False) -> _native.Request:
        start, stop, last = self.keys.start, self.keys.stop, self._last
        exclude_start, include_stop = not self.keys.include_start, self.keys.include_stop
        if last is not None and self._reverse:
            stop, include_stop = last, False
        elif last is not None:
            start, exclude_start = last, True
        return _native.Request.scan(
            self.speaker._id,
            start,
            stop,
            exclude_start=exclude_start,
            include_stop=include_stop,
            reverse=self._reverse,
            limit=min(self._left or 0, 2**63),
            rows=rows,
            keys_only=keys_only,
            count_only=count_only,
            fresh=self.fresh,
        )


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
