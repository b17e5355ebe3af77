"""A cluster is copied while it serves, and put into one of another size: rows, expiries, keyspaces, options."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kvarts
from kvarts.base.errors import BackupIncomplete, CodecMismatch, CorruptionError, InvalidArgument, LockedError
from kvarts.remote.admin import call
from kvarts.remote.backing_up import backup
from kvarts.remote.backups import MANIFEST, UNDER_WAY, load
from kvarts.remote.restoring import ALL, Wish, restore
from tests.unit.python.serve.nodes import Cluster, cluster, until

SHARDS = 8
LONG_S = 600.0
PLAIN = {b"k%05d" % number: b"v%d" % number * 5 for number in range(3000)}
PARTED = {b"user%d/%d" % (number % 40, number): b"%d" % number for number in range(800)}
ORDERED = {f"{number:04d}": {"n": number} for number in range(1000)}


def made(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(made(tmp_path / "nodes")) as running:
        yield running


def open_named(nodes: Cluster, name: str) -> Any:
    return kvarts.open(f"{nodes.uri}/{name}?timeout=30")


def open_plain(nodes: Cluster) -> Any:
    return kvarts.open(f"{nodes.uri}/plain?timeout=30", shards=SHARDS)


def fill(nodes: Cluster) -> None:
    """Make keyspaces of every kind, with rows that last, that expire some day, and that soon do."""
    with open_plain(nodes) as db:
        db.put_many(PLAIN)
        with db.keyspace("parted", shards=3, partition=kvarts.Until(b"/")) as parted:
            parted.put_many(PARTED)
        bounds = ["0300", "0600"]
        with db.keyspace("ordered", key=kvarts.Str, value=kvarts.Json, ordered=bounds) as ordered:
            ordered.put_many(ORDERED)
        with db.keyspace("meta") as meta, meta.batch() as batch:
            for number in range(50):
                batch.put(b"long%d" % number, b"x", ttl=LONG_S)
                batch.put(b"soon%d" % number, b"x", ttl=0.2)
                batch.put(b"ever%d" % number, b"x")


def contents(nodes: Cluster) -> dict[str, Any]:
    with open_plain(nodes) as db:
        return {
            "plain": dict(db),
            "parted": dict(db.keyspace("parted")),
            "ordered": dict(db.keyspace("ordered", key=kvarts.Str, value=kvarts.Json)),
            "meta": {key: value for key, value in db.keyspace("meta").items() if not key.startswith(b"soon")},
        }


def shards_of(nodes: Cluster) -> dict[str, int]:
    told = [each["keyspace"] for each in call(nodes.uri, "shards")["shards"]]
    return {name: told.count(name) for name in sorted(set(told))}


class Changes:
    """Writes without end to keys that all have one shard, in such a way that a torn copy of them shows."""

    def __init__(self, nodes: Cluster) -> None:
        self._stop = threading.Event()
        self._db = kvarts.open(f"{nodes.uri}/pairs?timeout=30", shards=SHARDS, partition=kvarts.Until(b"/"))
        self.laps = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.laps += 1
            for user in range(30):
                with self._db.prefixed(b"%d/" % user).batch() as batch:
                    for field in (b"first", b"last"):
                        batch[field] = b"%d" % self.laps
                self._db[b"counter/%d" % user] = b"%d" % self.laps

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._db.close()


def test_a_cluster_under_load_is_copied_and_put_into_others(nodes: Cluster, tmp_path: Path) -> None:
    fill(nodes)
    before = contents(nodes)
    changes = Changes(nodes)
    until(lambda: changes.laps > 2, "nothing is written")
    try:
        seen: list[int] = []
        moved: list[object] = []

        def told(rows: int, _size: int) -> None:
            seen.append(rows)
            if rows > 500 and not moved:
                moved.append(call(nodes.uri, "split", {"keyspace": "plain", "into": SHARDS + 3}))
                for each in call(nodes.uri, "shards")["shards"][:6]:
                    call(nodes.uri, "move-leader", {"shard": each["id"]})

        manifest = backup(nodes.uri, tmp_path / "copy", told=told)
    finally:
        changes.stop()
    assert moved
    assert seen[-1] == manifest.rows == sum(each.rows for each in manifest.keyspaces)
    meta = next(each for each in manifest.keyspaces if each.name == "meta")
    assert (meta.layout, 50 <= meta.expiring <= 100) == (None, True)
    # An ordinary store, which the ordinary tools read.
    with kvarts.open(tmp_path / "copy" / "rows", mode="r") as rows:
        assert dict(rows.keyspace("plain")) == PLAIN
        assert rows.verify().ok
        pairs = rows.keyspace("pairs")
        for user in range(30):
            # Each shard is as of one moment: what was written together is there together.
            assert pairs[b"%d/first" % user] == pairs[b"%d/last" % user]

    for count, shards in ((1, {ALL: 3}), (3, {"plain": 5, "ordered": 2})):
        with cluster(made(tmp_path / f"other{count}"), count) as other:
            found = {each.name: each for each in restore(tmp_path / "copy", other.uri, Wish(shards=shards))}
            assert contents(other) == before
            expected = (
                {"plain": 5, "parted": 3, "ordered": 2, "pairs": SHARDS}
                if count == 3
                else dict.fromkeys(("plain", "parted", "ordered", "pairs"), 3)
            )
            assert shards_of(other) == expected
            assert found["meta"].rows + found["meta"].expired == meta.rows
            assert sum(each.rows + each.expired for each in found.values()) == manifest.rows
            _expires_as_before(other)


def _expires_as_before(other: Cluster) -> None:
    """Copied once more: what is left of the rows' lives is what it was."""
    folder = Path(other.nodes[1]._data).parent / "again"
    again = backup(other.uri, folder)
    assert next(each for each in again.keyspaces if each.name == "meta").expiring == 50


def test_rows_expire_when_they_would_have(nodes: Cluster, tmp_path: Path) -> None:
    with nodes.open("short") as db:
        begun_s = time.monotonic()
        for number in range(20):
            db.put(b"%d" % number, b"x", ttl=3.0)
        db[b"ever"] = b"x"
        backup(nodes.uri, tmp_path / "copy")
        (found,) = restore(tmp_path / "copy", nodes.uri, Wish(replace=True))
        assert (found.rows, found.expired) == (21, 0)
        until(lambda: list(db) == [b"ever"], "they live on")
        # Not anew for three seconds from the restore on; the clock of the test is no node's.
        assert 2.5 < time.monotonic() - begun_s < 6
        (found,) = restore(tmp_path / "copy", nodes.uri, Wish(replace=True))
        assert (found.rows, found.expired) == (1, 20)


def test_what_exists_is_not_touched_unless_it_is_wished(nodes: Cluster, tmp_path: Path) -> None:
    with open_named(nodes, "one") as one, one.keyspace("two", shards=2) as two:
        one[b"a"], two[b"b"] = b"1", b"2"
        backup(nodes.uri, tmp_path / "copy")
        one[b"a"], one[b"c"] = b"other", b"3"
        two.clear()
        with pytest.raises(InvalidArgument, match="'one' exists and is not empty"):
            restore(tmp_path / "copy", nodes.uri)
        # Nothing was begun with: all is checked first.
        assert len(two) == 0
        restore(tmp_path / "copy", nodes.uri, Wish(keyspaces=("two",)))
        assert (dict(one), dict(two)) == ({b"a": b"other", b"c": b"3"}, {b"b": b"2"})
        restore(tmp_path / "copy", nodes.uri, Wish(into_existing=True))
        assert dict(one) == {b"a": b"1", b"c": b"3"}
        restore(tmp_path / "copy", nodes.uri, Wish(replace=True))
        assert dict(one) == {b"a": b"1"}
        with pytest.raises(InvalidArgument, match="no keyspace 'three'"):
            restore(tmp_path / "copy", nodes.uri, Wish(keyspaces=("three",)))
    with cluster(made(tmp_path / "other"), 1) as other:
        with kvarts.open(f"{other.uri}/one?timeout=30", key=kvarts.Str):
            pass
        with pytest.raises(CodecMismatch):
            restore(tmp_path / "copy", other.uri)


def test_a_copy_that_ends_early_is_none_and_begins_anew(nodes: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    with nodes.open("one") as one:
        one.put_many(PLAIN)

        def stop(rows: int, _size: int) -> None:
            if rows > 1000:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            backup(nodes.uri, folder, told=stop)
        assert (folder / UNDER_WAY).exists()
        with pytest.raises(BackupIncomplete, match="did not come to its end"):
            restore(folder, nodes.uri, Wish(replace=True))
        assert dict(one) == PLAIN

        def intrude(_rows: int, _size: int) -> None:
            with pytest.raises(LockedError):
                backup(nodes.uri, folder)

        one[b"more"] = b"1"
        assert backup(nodes.uri, folder, told=intrude).rows == len(PLAIN) + 1
        assert load(folder).rows == len(PLAIN) + 1
        with pytest.raises(InvalidArgument, match="holds a backup already"):
            backup(nodes.uri, folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    for wrong, why in ((tmp_path / "full", "other things"), (folder, "already")):
        with pytest.raises(InvalidArgument, match=why):
            backup(nodes.uri, wrong)
    with pytest.raises(BackupIncomplete, match="no whole backup"):
        restore(tmp_path / "absent", nodes.uri)


def test_a_damaged_backup_is_refused_before_anything_is_written(nodes: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    with nodes.open("one") as one:
        one.put_many(PLAIN)
        backup(nodes.uri, folder)
        one.clear()
        table = max((folder / "rows").glob("*.table"), key=lambda each: each.stat().st_size)
        whole = table.read_bytes()
        table.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
        with pytest.raises(CorruptionError):
            restore(folder, nodes.uri)
        assert len(one) == 0
        table.write_bytes(whole)
        manifest = folder / MANIFEST
        said = manifest.read_text()
        for wrong in (
            "",
            "{}",
            "[]",
            said.replace('"format": 1', '"format": 9'),
            said.replace('"rows": 3000', '"rows": 3001'),
        ):
            manifest.write_text(wrong)
            with pytest.raises(kvarts.KvartsError):
                restore(folder, nodes.uri, Wish(replace=True))
        manifest.write_text(said)
        restore(folder, nodes.uri, Wish(replace=True))
        assert dict(one) == PLAIN
