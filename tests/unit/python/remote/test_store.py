"""What only the remote face has; the verbs themselves are in tests/conformance."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import kvarts
from tests.tiny import Tiny


def test_repr_names_the_target(one: Tiny) -> None:
    with kvarts.open(one.uri + "/words", key=kvarts.Str) as db:
        assert repr(db) == f"<kvarts.Store '{one.uri}/words' keyspace=words key=str value=bytes open>"
        view = db.prefixed("a").snapshot()
        assert "prefix=b'a' snapshot revision=" in repr(view)
    assert repr(db).endswith("closed>")


def test_a_store_is_pickled_as_its_target(one: Tiny) -> None:
    with kvarts.open(one.uri + "?timeout=7s", key=kvarts.Str) as db:
        words = db.keyspace("words", value=kvarts.Json)
        words[b"a"] = [1]
        db["a"] = b"1"
        stores: list[tuple[Any, Any, Any]] = [
            (pickle.loads(pickle.dumps(db)), "a", b"1"),
            (pickle.loads(pickle.dumps(words)), b"a", [1]),
            (copy.copy(db), "a", b"1"),
        ]
        for again, key, value in stores:
            with again:
                assert again[key] == value
        for view in (db.prefixed("p"), db.snapshot()):
            with pytest.raises(TypeError):
                pickle.dumps(view)


def test_what_is_of_files_is_refused(one: Tiny) -> None:
    with kvarts.open(one.uri) as db:
        with pytest.raises(kvarts.InvalidArgument, match="not of 'kvarts://"):
            db.checkpoint("/tmp/x")
        with pytest.raises(kvarts.InvalidArgument, match="open_report"):
            _ = db.open_report


def test_other_codecs_than_it_was_made_with(one: Tiny) -> None:
    kvarts.open(one.uri, key=kvarts.Str).close()
    with pytest.raises(kvarts.CodecMismatch) as caught:
        kvarts.open(one.uri)
    assert "Str" in (caught.value.hint or "")


def test_create_false_makes_no_keyspace(one: Tiny) -> None:
    with pytest.raises(kvarts.InvalidArgument, match="words"):
        kvarts.open(one.uri + "/words", create=False)
    with kvarts.open(one.uri) as db:
        assert set(db.keyspaces()) == {"default"}


def test_timeout_is_taken_by_every_verb_that_asks(one: Tiny) -> None:
    """But by update, whose keywords are keys."""
    db: Any
    with kvarts.open(one.uri) as db:
        db.put(b"a", b"1", timeout=5)
        uses: tuple[Callable[[Any], object], ...] = (
            lambda t: db.get(b"a", timeout=t),
            lambda t: db.entry(b"a", timeout=t),
            lambda t: db.get_many([b"a"], timeout=t),
            lambda t: db.put(b"a", b"1", timeout=t),
            lambda t: db.put_many({b"a": b"1"}, timeout=t),
            lambda t: db.delete(b"x", timeout=t),
            lambda t: db.delete_many([b"x"], timeout=t),
            lambda t: db.incr(b"n", timeout=t),
            lambda t: db.pop(b"x", None, timeout=t),
            lambda t: db.popitem(timeout=t),
            lambda t: db.setdefault(b"z", b"", timeout=t),
            lambda t: db.scan(timeout=t),
            lambda t: db.snapshot(timeout=t),
            lambda t: db.keyspace("k", timeout=t),
            lambda t: db.keyspaces(timeout=t),
            lambda t: db.clear(timeout=t),
        )
        for use in uses:
            use("2s")
            with pytest.raises(kvarts.InvalidArgument):
                use("soon")
        one.tell("lead 0")
        for use in uses:
            if use is not uses[-2]:  # A list of keyspaces is given by any node.
                with pytest.raises(kvarts.Unavailable):
                    use(0.02)


def test_ttl_in_a_batch_counts_from_its_call(one: Tiny) -> None:
    with kvarts.open(one.uri) as db, db.batch() as batch:
        batch.put(b"a", b"1", ttl=3600)
    with kvarts.open(one.uri) as db:
        assert db[b"a"] == b"1"


def test_dict_of_a_scan_asks_for_pages_not_for_keys(one: Tiny) -> None:
    with kvarts.open(one.uri) as db:
        rows = {b"%05d" % number: b"%d" % number for number in range(3000)}
        db.put_many(rows)
        scan = db.scan()
        db.clear()
        asked: list[object] = []
        speaker: Any = scan._pages.speaker  # type: ignore[attr-defined]
        send = speaker._send

        def counted(request: object, timeout_ms: int) -> Any:
            asked.append(request)
            return send(request, timeout_ms)

        speaker._send = counted
        assert dict(scan) == rows
        assert len(asked) < 20
        assert scan[b"00007"] == b"7", "out of order, too"
