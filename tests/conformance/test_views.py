"""Snapshots, keyspaces, prefixed views, close."""

from collections.abc import Iterator
from typing import Any

import pytest

import kvarts
from tests.conformance.kinds import Make, skip_where_remote, skip_where_tiny_cluster, skip_where_together

Db = kvarts.Store[bytes, bytes]


def test_snapshot_does_not_move(db: Db) -> None:
    db.update({b"a": b"1", b"b": b"2"})
    snapshot = db.snapshot()
    at = db.revision
    db[b"a"] = b"new"
    db.delete(b"b")
    db[b"c"] = b"3"
    db.flush()
    db.compact()
    assert dict(snapshot) == {b"a": b"1", b"b": b"2"}
    assert snapshot.get(b"c") is None
    assert snapshot.get_many([b"a", b"c"]) == [b"1", None]
    assert list(reversed(snapshot)) == [b"b", b"a"]
    assert snapshot.revision == at
    assert len(snapshot) == 2
    assert dict(db) == {b"a": b"new", b"c": b"3"}
    snapshot.close()
    assert snapshot.closed
    assert not db.closed


def test_snapshot_takes_no_writes(db: Db) -> None:
    db[b"a"] = b"1"
    with db.snapshot() as snapshot:
        for write in (
            lambda: snapshot.put(b"a", b"2"),
            lambda: snapshot.delete(b"a"),
            lambda: snapshot.update({b"a": b"2"}),
            lambda: snapshot.put_many({b"a": b"2"}),
            lambda: snapshot.incr(b"n"),
            lambda: snapshot.pop(b"a"),
            snapshot.popitem,
            snapshot.clear,
            lambda: snapshot.setdefault(b"z", b"1"),
            lambda: snapshot.__setitem__(b"a", b"2"),
            lambda: snapshot.__delitem__(b"a"),
        ):
            with pytest.raises(kvarts.ReadOnlyError):
                write()
    assert dict(db) == {b"a": b"1"}


def test_closed_snapshot_is_refused(db: Db) -> None:
    snapshot = db.snapshot()
    snapshot.close()
    snapshot.close()
    with pytest.raises(kvarts.ClosedError):
        snapshot.get(b"a")
    assert db.get(b"a") is None
    assert db.stats().snapshots == 0


def test_snapshot_closed_while_a_call_is_under_way_is_refused_and_never_newer(db: Db) -> None:
    db[b"n"] = b"old"
    snapshot = db.snapshot()
    db[b"n"] = b"new"

    def keys() -> Iterator[bytes]:
        yield b"n"
        snapshot.close()

    with pytest.raises(kvarts.ClosedError):
        snapshot.get_many(keys())


def test_snapshots_of_different_moments(db: Db) -> None:
    taken = []
    for number in range(20):
        db[b"n"] = b"%d" % number
        db[b"k%d" % number] = b"x"
        taken.append(db.snapshot())
    db.compact()
    for number, snapshot in enumerate(taken):
        assert snapshot[b"n"] == b"%d" % number
        assert len(snapshot) == number + 2


def test_snapshot_of_a_snapshot_and_views_of_one(db: Db) -> None:
    db.update({b"x/1": b"1", b"y": b"2"})
    with db.snapshot() as snapshot:
        db[b"x/2"] = b"3"
        assert dict(snapshot.prefixed(b"x/")) == {b"1": b"1"}
        assert dict(snapshot.snapshot()) == {b"x/1": b"1", b"y": b"2"}
        with pytest.raises(kvarts.ReadOnlyError):
            snapshot.prefixed(b"x/").put(b"3", b"")


def test_prefixed_view_adds_and_takes_away_the_prefix(db: Db) -> None:
    view = db.prefixed(b"v/")
    view[b"a"] = b"1"
    db[b"v/b"] = b"2"
    db[b"v0"] = b"beyond"
    assert db[b"v/a"] == b"1"
    assert dict(view) == {b"a": b"1", b"b": b"2"}
    assert list(reversed(view)) == [b"b", b"a"]
    assert view.popitem() == (b"a", b"1")
    assert view.prefixed(b"deeper/").put(b"c", b"3") == db.revision
    assert db[b"v/deeper/c"] == b"3"
    assert list(view.scan(prefix=b"deep").keys()) == [b"deeper/c"]


def test_prefix_of_ff_has_no_next(db: Db) -> None:
    view = db.prefixed(b"\xff\xff")
    view[b"a"] = b"1"
    view[b"\xff"] = b"2"
    db[b"\xfe"] = b"0"
    assert list(view) == [b"a", b"\xff"]
    assert list(view.scan(reverse=True).keys()) == [b"\xff", b"a"]


def test_keyspaces_are_apart(db: Db) -> None:
    words = db.keyspace("words", key=kvarts.Str, value=kvarts.Json)
    words["a"] = {"n": 1}
    db[b"a"] = b"1"
    assert words["a"] == {"n": 1}
    assert dict(db) == {b"a": b"1"}
    assert db.keyspaces()["words"] == kvarts.KeyspaceInfo("words", "str", "json")
    assert db.keyspace("words", key=kvarts.Str, value=kvarts.Json)["a"] == {"n": 1}


def test_keyspace_with_other_codecs_is_refused(db: Db) -> None:
    db.keyspace("words", key=kvarts.Str)
    with pytest.raises(kvarts.CodecMismatch) as caught:
        db.keyspace("words")
    assert caught.value.stored == ("str", "bytes")
    assert caught.value.given == ("bytes", "bytes")


def test_keyspace_that_is_not_to_be_made(db: Db) -> None:
    with pytest.raises(kvarts.InvalidArgument):
        db.keyspace("none", create=False)
    assert "none" not in db.keyspaces()


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_keyspace_name_limits(db: Db, name: str) -> None:
    with pytest.raises(kvarts.InvalidArgument):
        db.keyspace(name)


def test_close_is_idempotent_and_final(db: Db) -> None:
    db[b"a"] = b"1"
    assert not db.closed
    db.close()
    db.close()
    assert db.closed
    for use in (lambda: db.get(b"a"), lambda: db.put(b"a", b"2"), lambda: list(db), db.flush):
        with pytest.raises(kvarts.ClosedError):
            use()


def test_closing_a_view_leaves_the_store_open() -> None:
    with kvarts.open() as db:
        for view in (db.prefixed(b"p"), db.keyspace("k"), db.snapshot()):
            view.close()
            assert view.closed
        db[b"a"] = b"1"
        assert db[b"a"] == b"1"


def test_closing_the_store_closes_its_views() -> None:
    db = kvarts.open()
    views = [db.prefixed(b"p"), db.keyspace("k"), db.snapshot()]
    db.close()
    for view in views:
        with pytest.raises(kvarts.ClosedError):
            view.get(b"a")


def test_with_closes_also_when_the_block_raises() -> None:
    with pytest.raises(ZeroDivisionError), kvarts.open() as db:
        raise ZeroDivisionError
    assert db.closed


def test_flush_compact_verify_and_stats(db: Db) -> None:
    skip_where_tiny_cluster(db, "a tiny cluster has no tables to count")
    db.put_many((b"%04d" % number, b"v" * 100) for number in range(1000))
    db.flush()
    db.delete_many(b"%04d" % number for number in range(500))
    db.compact()
    report = db.verify()
    assert report.ok
    assert report.bytes > 0
    stats = db.stats()
    assert stats.revision == db.revision
    assert stats.user_bytes >= 1000 * 104
    assert stats.flushes >= 1
    assert len(db) == 500


def test_verify_reports_progress(db: Db) -> None:
    db.put_many((b"%04d" % number, b"v" * 100) for number in range(1000))
    db.flush()
    seen: list[tuple[int, int]] = []
    db.verify(progress=lambda done, total: seen.append((done, total)))
    assert seen
    assert all(done <= total for done, total in seen)
    assert seen == sorted(seen)


@pytest.mark.parametrize("name", ["", "n" * 256, "\u00e4" * 128, "\ud800"], ids=["empty", "long", "bytes", "surrogate"])
def test_name_that_no_keyspace_has(db: Db, name: str) -> None:
    with pytest.raises(kvarts.InvalidArgument) as caught:
        db.keyspace(name)
    assert "UTF-8" in str(caught.value) or "1 to 255 bytes" in str(caught.value)
    with pytest.raises(kvarts.InvalidArgument):
        db.batch().keyspace(name)


def test_prefix_that_is_no_text(make: Make) -> None:
    db = make(key=kvarts.Str)
    with pytest.raises(kvarts.CodecError) as caught:
        db.prefixed("\ud800")
    assert isinstance(caught.value.__cause__, UnicodeEncodeError)


def test_snapshot_has_the_keyspaces_there_were(db: Db) -> None:
    skip_where_together(db, "a snapshot is of one shard, and other keyspaces lie elsewhere")
    db.keyspace("early")[b"a"] = b"1"
    with db.snapshot() as snapshot:
        names = set(snapshot.keyspaces())
        db.keyspace("late")[b"a"] = b"1"
        for at in (snapshot, snapshot.snapshot(), snapshot.prefixed(b"a"), snapshot.keyspace("early")):
            assert set(at.keyspaces()) == names == set(db.keyspaces()) - {"late"}
            assert at.keyspace("early")[b"a"] == b"1"
            for name in ("late", "never"):
                with pytest.raises(kvarts.InvalidArgument) as caught:
                    at.keyspace(name)
                assert "create" not in str(caught.value)
    assert "late" in db.keyspaces()


def test_open_report_is_of_the_whole_store(db: Db) -> None:
    skip_where_remote(db, "a node's opening is in its own events: tests/unit/python/remote")
    assert db.open_report == db.snapshot().open_report == db.keyspace("other").open_report
    assert db.open_report.created


def test_checkpoint_of_no_path(db: Db) -> None:
    untyped: Any = db
    for path in (7, None, b"bytes"):
        with pytest.raises(kvarts.InvalidArgument):
            untyped.checkpoint(path)
