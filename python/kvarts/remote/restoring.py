"""Puts a backup into a cluster of any size: keyspaces are made, rows are put, with what is left of their lives."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kvarts import _native
from kvarts.base.codecs import mismatch
from kvarts.base.errors import BackupIncomplete, CorruptionError, InvalidArgument
from kvarts.base.options import validate
from kvarts.embedded.opening import open_database
from kvarts.remote.backups import ROWS, KeyspaceBackup, load
from kvarts.remote.layout import Layout
from kvarts.remote.operator import Operator, operator
from kvarts.shardmap.space import SHARDS_MAX

PAGE_ROWS = 4096
PAGE_BYTES = 1 << 20
CLOCK_S = 10.0
"""How often the cluster's clock is asked, by which rows expire."""

ALL = ""
"""Name in `shards` that stands for every keyspace that had shards."""

Told = Callable[[str, int, int], object]
"""Hears what is done ("verifying", "restoring", "counting"), how much of it, and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of one keyspace. `expired`: rows whose time was over before they were put."""

    name: str
    rows: int
    expired: int
    shards: int
    """0: it lies in the meta group."""

    def told(self) -> dict[str, object]:
        """Return it for programs."""
        return {"keyspace": self.name, "rows": self.rows, "expired": self.expired, "shards": self.shards}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a backup is restored. `keyspaces`: only these. `shards`: how many, by keyspace, or for ALL that had some."""

    keyspaces: Collection[str] = ()
    shards: Mapping[str, int] | None = None
    into_existing: bool = False
    """Rows are put beside and over those that a keyspace has."""
    replace: bool = False
    """Rows that a keyspace has are removed first."""


def restore(
    folder: Path,
    uri: str,
    wish: Wish | None = None,
    *,
    told: Told = lambda _what, _done, _all: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Restored]:
    """Put the backup in `folder` into the cluster at `uri`, and return what came of each keyspace.

    All is checked before anything is written: the backup's manifest and every block of it, and that keyspaces which
    exist are empty, or may be written to. Not atomic: whoever reads meanwhile sees rows come. Asked again after an
    interruption, with into_existing, it puts the same rows again. Raises BackupIncomplete, CorruptionError,
    InvalidArgument, CodecMismatch, Unavailable.
    """
    wish = wish or Wish()
    manifest = load(folder)
    chosen = _chosen(manifest.keyspaces, wish)
    database = open_database(folder / ROWS, validate({"mode": "r"}))
    try:
        _verify(database, folder, told)
        with operator(uri) as cluster:
            total = sum(each.rows for each in chosen)
            restorer = _Restorer(cluster, database, wish, told, clock=clock, total=total)
            plan = [(each, restorer.layout(each)) for each in chosen]
            for each, _ in plan:
                restorer.check(each)
            return [restorer.restore(each, layout) for each, layout in plan]
    finally:
        database.close()


def _chosen(keyspaces: Collection[KeyspaceBackup], wish: Wish) -> list[KeyspaceBackup]:
    names = {each.name for each in keyspaces}
    shards = wish.shards or {}
    for name in (*wish.keyspaces, *(each for each in shards if each != ALL)):
        if name not in names:
            raise InvalidArgument(f"the backup has no keyspace {name!r}", hint=f"it has {', '.join(sorted(names))}")
    for count in shards.values():
        if not 1 <= count <= SHARDS_MAX:
            raise InvalidArgument(f"shards={count} is out of range", hint=f"1 to {SHARDS_MAX}")
    return [each for each in keyspaces if not wish.keyspaces or each.name in wish.keyspaces]


def _verify(database: _native.Database, folder: Path, told: Told) -> None:
    _, _, _, damage = database.verify(lambda done, total: told("verifying", done, total))
    if damage:
        first = damage[0]
        raise CorruptionError(
            f"the backup in {folder} is damaged: {first['file']}, offset {first['offset']}: {first['what']}",
            hint="restore from another backup; `kvarts verify` lists all damage",
        )


class _Restorer:
    def __init__(
        self,
        cluster: Operator,
        database: _native.Database,
        wish: Wish,
        told: Told,
        *,
        clock: Callable[[], float],
        total: int,
    ) -> None:
        self._cluster = cluster
        self._database = database
        self._snapshot = database.snapshot()
        self._wish = wish
        self._told = told
        self._clock = clock
        self._total = total
        self._done = 0
        self._asked_s = 0.0
        self._asked_ms = 0
        self._known = {name: (number, key, value) for number, name, key, value in cluster.send(_keyspaces())}

    def layout(self, backup: KeyspaceBackup) -> Layout | None:
        """Return what the shards of a keyspace are to be like, if it is made here."""
        shards = self._wish.shards or {}
        count = shards.get(backup.name, shards.get(ALL, 0) if backup.layout is not None else 0)
        layout = backup.layout or (Layout() if count else None)
        if layout is None or not count or count == layout.shards:
            return layout
        bounds = self._bounds(backup, count) if layout.ordered else ()
        return replace(layout, shards=len(bounds) + 1 if layout.ordered else count, bounds=bounds)

    def check(self, backup: KeyspaceBackup) -> None:
        """Refuse what cannot be, or was not wished: nothing has been written yet."""
        known = self._known.get(backup.name)
        if self._database.tree(backup.name) != (backup.key, backup.value):
            raise BackupIncomplete(f"the rows of keyspace {backup.name!r} are not there", hint="restore another backup")
        if known is None:
            return
        if known[1:] != (backup.key, backup.value):
            raise mismatch(backup.name, known[1:], (backup.key, backup.value))
        if not (self._wish.into_existing or self._wish.replace) and self._count(known[0], limit=1):
            raise InvalidArgument(
                f"keyspace {backup.name!r} exists and is not empty",
                hint="into_existing puts rows beside its own, replace removes those first",
            )

    def restore(self, backup: KeyspaceBackup, layout: Layout | None) -> Restored:
        """Make a keyspace, put its rows, and count them."""
        fields = () if layout is None else layout.fields
        request = _native.Request.make_keyspace(backup.name, backup.key, backup.value, True, *fields)
        ((space, *_),) = self._cluster.send(request)
        if self._wish.replace and backup.name in self._known:
            self._cluster.send(_native.Request.delete_range(space, b"", b""))
        put, expired, lasting = self._put_all(backup, space)
        self._compare(backup, space, put, lasting)
        shards = len(self._cluster.send(_native.Request.shards(space, b"", b""))) if layout is not None else 0
        return Restored(name=backup.name, rows=put, expired=expired, shards=shards)

    def _put_all(self, backup: KeyspaceBackup, space: int) -> tuple[int, int, int]:
        """Return how many rows were put, how many had expired, and how many of the former never do."""
        after: bytes | None = None
        seen, put, lasting, more = 0, 0, 0, True
        while more:
            page = _native.Page.read(self._database, backup.name, self._snapshot, after, PAGE_ROWS, PAGE_BYTES)
            request, rows = page.request(space, self._now_ms())
            if request is not None:
                self._cluster.send(request)
            seen, put, lasting = seen + len(page), put + rows, lasting + len(page) - page.expiring
            after, more = page.last, page.more
            self._done += len(page)
            self._told("restoring", self._done, self._total)
        # A store shows no rows that have expired.
        gone = backup.rows - seen
        if gone < 0 or gone > backup.expiring or lasting != backup.rows - backup.expiring:
            raise BackupIncomplete(
                f"keyspace {backup.name!r}: the backup has {seen} rows, its manifest counts {backup.rows}",
                hint="restore another backup; what was put is in the cluster",
            )
        return put, backup.rows - put, lasting

    def _compare(self, backup: KeyspaceBackup, space: int, put: int, lasting: int) -> None:
        """See that what was put is there: rows that expire may have gone meanwhile."""
        self._told("counting", self._done, self._total)
        found = self._count(space)
        most = found if self._wish.into_existing else put
        if not lasting <= found <= most:
            raise BackupIncomplete(
                f"keyspace {backup.name!r}: {put} rows were put, {found} are there",
                hint="somebody else writes to the keyspace, or removes from it",
            )

    def _count(self, space: int, limit: int = 0) -> int:
        cursor = _native.Cursor(
            space, b"", b"", exclude_start=False, include_stop=False, reverse=False, limit=limit, fresh=None
        )
        counted: int = self._cluster.send(cursor.count())
        return counted

    def _bounds(self, backup: KeyspaceBackup, count: int) -> tuple[bytes, ...]:
        """Return keys that part the rows of an ordered keyspace into so many shards, about alike; fewer of few rows."""
        after: bytes | None = None
        bounds: list[bytes] = []
        seen, more = 0, count > 1
        while more and len(bounds) < count - 1:
            page = _native.Page.read(self._database, backup.name, self._snapshot, after, PAGE_ROWS, PAGE_BYTES)
            while len(bounds) < count - 1 and (at := (len(bounds) + 1) * backup.rows // count - seen) < len(page):
                key = page.key(max(0, at))
                if bounds and key <= bounds[-1]:
                    return tuple(bounds)
                bounds.append(key)
            seen, after, more = seen + len(page), page.last, page.more
        return tuple(bounds)

    def _now_ms(self) -> int:
        """Return the cluster's clock, about."""
        now_s = self._clock()
        if not self._asked_ms or now_s > self._asked_s + CLOCK_S:
            self._asked_ms = self._cluster.ask("clock", {})["now_ms"]
            self._asked_s = now_s
        return self._asked_ms + int((now_s - self._asked_s) * 1000)


def _keyspaces() -> _native.Request:
    return _native.Request.keyspaces()
