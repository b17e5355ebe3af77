"""Copies a serving cluster into a store on this machine: each shard as of one moment, none for long behind another."""

import random
import time
from collections.abc import Callable
from pathlib import Path

from kvarts import _native
from kvarts.base.codecs import Bytes
from kvarts.base.errors import Compacted, InvalidArgument, KvartsError, Unavailable
from kvarts.base.options import validate
from kvarts.embedded.opening import open_database
from kvarts.embedded.store import DEFAULT_KEYSPACE
from kvarts.remote.backups import KeyspaceBackup, Manifest, finish, layout_of_told, prepare
from kvarts.remote.operator import Operator, operator

HOLD_MS = 120_000
RENEW_S = 10.0

Told = Callable[[int, int], object]
"""Hears how many rows are copied, and their bytes."""


def backup(
    uri: str,
    folder: Path,
    *,
    told: Told = lambda _rows, _size: None,
    clock: Callable[[], float] = time.monotonic,
    rng: random.Random | None = None,
) -> Manifest:
    """Copy all keyspaces of the cluster at `uri` into `folder`, which is made, and return what it holds.

    The rows of a shard are all as of one moment, shortly after the copy of its keyspace has begun. Writers, splits,
    moves and elections go on meanwhile. All or nothing: a copy that ends early leaves nothing that can be restored, and
    is begun anew by the next one into the same directory. Raises InvalidArgument, LockedError, StorageError,
    StorageFull, Unavailable.
    """
    with operator(uri) as cluster:
        listed = cluster.ask("layouts", {})["keyspaces"]
        begun_ms = cluster.ask("clock", {})["now_ms"]
        rows = prepare(folder)
        database = open_database(rows, validate({"durability": "none"}))
        try:
            copier = _Copier(cluster, database, clock, rng or random.SystemRandom(), told)
            try:
                keyspaces = tuple(copier.keyspace(each) for each in listed)
            finally:
                copier.release()
            # Whoever opens a store begins with this one.
            if database.tree(DEFAULT_KEYSPACE) is None:
                database.make_tree(DEFAULT_KEYSPACE, Bytes.name, Bytes.name)
            database.flush()
        finally:
            database.close()
        manifest = Manifest(
            cluster=cluster.cluster(), version=_native.__version__, begun_ms=begun_ms, keyspaces=keyspaces
        )
    finish(folder, manifest)
    return manifest


class _Copier:
    """Copies keyspace by keyspace, while all nodes keep what is to be read."""

    def __init__(
        self,
        cluster: Operator,
        database: _native.Database,
        clock: Callable[[], float],
        rng: random.Random,
        told: Told,
    ) -> None:
        self._cluster = cluster
        self._database = database
        self._clock = clock
        self._told = told
        self._number = rng.randrange(1, 2**62)
        self._since_ms = 0
        self._renew_s = 0.0
        self._rows = 0
        self._size = 0

    def keyspace(self, listed: dict[str, object]) -> KeyspaceBackup:
        """Copy one keyspace."""
        name, key, value = str(listed["name"]), str(listed["key"]), str(listed["value"])
        self._database.make_tree(name, key, value)
        cursor = _native.Cursor(
            int(str(listed["id"])),
            b"",
            b"",
            exclude_start=False,
            include_stop=False,
            reverse=False,
            limit=0,
            fresh=None,
            expiries=True,
        )
        self._since_ms, self._renew_s = 0, 0.0
        rows, size, expiring, more = 0, 0, 0, True
        while more:
            self._hold()
            page = self._page(cursor, name)
            page.write_to(self._database, name)
            rows, size, expiring, more = rows + len(page), size + page.size, expiring + page.expiring, page.more
            self._rows, self._size = self._rows + len(page), self._size + page.size
            self._told(self._rows, self._size)
        return KeyspaceBackup(
            name=name,
            key=key,
            value=value,
            layout=layout_of_told(listed["layout"]),  # type: ignore[arg-type]  # as the node tells it
            rows=rows,
            size=size,
            expiring=expiring,
            moments=tuple(sorted(cursor.moments())),
        )

    def _page(self, cursor: _native.Cursor, name: str) -> _native.Page:
        try:
            page: _native.Page = self._cluster.send(cursor.rows())
        except Compacted as error:
            raise Unavailable(
                f"keyspace {name!r}: nodes have forgotten what was to be read: {error.message}", hint="begin anew"
            ) from error
        return page

    def _hold(self) -> None:
        """Have all nodes keep what is to be read; again and again, since others may have come."""
        if self._clock() < self._renew_s:
            return
        first = not self._since_ms
        found = self._everywhere(self._since_ms)
        if first:
            # One node may be further than another: all keep what the one that is behind has.
            self._since_ms = min(found)
            self._everywhere(self._since_ms)
        self._renew_s = self._clock() + RENEW_S

    def _everywhere(self, since_ms: int) -> list[int]:
        arguments = {"number": self._number, "since_ms": since_ms, "for_ms": HOLD_MS}
        found, failed = [], []
        for address in self._cluster.addresses():
            try:
                found.append(int(self._cluster.ask("hold", arguments, address)["since_ms"]))
            except InvalidArgument:
                # An older node, which can keep nothing.
                raise
            except KvartsError as error:
                failed.append(error)
        if not found:
            raise failed[0] if failed else Unavailable("no node is known")
        return found

    def release(self) -> None:
        """Let nodes forget again. One that is out of reach does it by itself."""
        for address in self._addresses():
            try:
                self._cluster.ask("hold", {"number": self._number, "for_ms": 0}, address)
            except KvartsError:
                continue

    def _addresses(self) -> list[str]:
        try:
            return self._cluster.addresses()
        except KvartsError:
            return []
