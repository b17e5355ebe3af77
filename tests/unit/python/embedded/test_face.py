"""What only the embedded face has; the verbs themselves are in tests/conformance."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

import kvarts
from kvarts import _native
from kvarts.base.options import Options
from kvarts.embedded.opening import open_as_made, open_database
from kvarts.embedded.store import keyspace_of


def test_repr_is_one_line_for_people(tmp_path: Path) -> None:
    db = kvarts.open(tmp_path / "s", key=kvarts.Str, value=kvarts.Json)
    assert repr(db) == f"<kvarts.Store {str(tmp_path / 's')!r} key=str value=json revision=0>"
    assert "keyspace=x" in repr(db.keyspace("x"))
    assert "prefix=b'p'" in repr(db.prefixed("p"))
    assert "snapshot" in repr(db.snapshot())
    assert "keyspace='two\\nlines'" in repr(db.keyspace("two\nlines"))
    scan = db.scan().keys()
    assert repr(scan) == "<kvarts.Scan of keys new>"
    assert list(scan) == []
    db.close()
    assert repr(db).endswith("closed>")


@pytest.mark.parametrize(
    "remains",
    [
        {"LOCK": b"{}"},
        {"LOCK": b"", "000001.log": b""},
        {"LOCK": b"", "000001.log": bytes(64 << 10)},
        {"LOCK": b"", "000001.log": bytes(64 << 10), "MANIFEST.tmp": b"half"},
    ],
    ids="+".join,
)
def test_remains_of_a_store_that_was_being_made_become_one(tmp_path: Path, remains: dict[str, bytes]) -> None:
    for name, content in remains.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(kvarts.StoreNotFound):
        kvarts.open(tmp_path, create=False)
    with kvarts.open(tmp_path) as db:
        db[b"a"] = b"1"
    (tmp_path / "MANIFEST").unlink()
    with pytest.raises(kvarts.KvartsError):
        kvarts.open(tmp_path)


def test_store_refuses_pickle_and_copy() -> None:
    with kvarts.open() as db:
        for use in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="open it in one process"):
                use(db)


def test_open_as_made_takes_the_codecs_of_the_store(tmp_path: Path) -> None:
    class Reverse:
        name = "reverse"

        def encode(self, value: str, /) -> bytes:
            return value[::-1].encode()

        def decode(self, data: bytes, /) -> str:
            return data.decode()[::-1]

    with kvarts.open(tmp_path / "s", key=kvarts.Str, value=kvarts.Json) as db:
        db["a"] = [1]
        db.keyspace("own", value=Reverse())[b"k"] = "abc"
    with open_as_made(tmp_path / "s") as db:
        assert db["a"] == [1]
        assert db.keyspace_as_made("own")[b"k"] == b"cba"
        assert db.keyspaces()["own"] == kvarts.KeyspaceInfo("own", "bytes", "reverse")


def test_hot_verbs_are_native() -> None:
    with kvarts.open() as db:
        for verb in ("get", "put", "delete", "__getitem__", "__setitem__", "__contains__", "scan", "incr", "pop"):
            assert getattr(type(db), verb) is getattr(_native.Tree, verb)


@pytest.mark.parametrize("give", [bytearray, memoryview])
def test_buffers_are_copied(give: Any) -> None:
    with kvarts.open() as db:
        value = bytearray(b"value")
        db[give(b"key")] = give(value)
        value[:] = b"other"
        assert db[b"key"] == b"value"
        assert db.get(give(b"key")) == b"value"


def test_ttl_by_a_clock_that_is_moved() -> None:
    clock = _native.ManualClock(1_000_000)
    database = open_database(":memory:", Options(), clock)
    with keyspace_of(database, "default", None, None, create=True, target=":memory:") as db:
        db.put(b"a", b"1", ttl=0.5)
        db.put(b"b", b"5", ttl=2)
        clock.advance_ms(499)
        assert db.get(b"a") == b"1"
        clock.advance_ms(1)
        assert db.get(b"a") is None
        assert db.incr(b"b") == 6
        clock.advance_ms(1500)
        assert list(db) == []


def test_batch_is_discarded_when_its_block_raises() -> None:
    with kvarts.open() as db:
        batch = db.batch()
        batch[b"a"] = b"1"
        with pytest.raises(ZeroDivisionError), batch:
            batch[b"b"] = bytes(1 // 0)
        assert not db
        assert batch.revision is None
        with pytest.raises(kvarts.InvalidArgument, match="has ended"):
            batch.put(b"a", b"1")


def test_batch_ends_once() -> None:
    with kvarts.open() as db:
        with db.batch() as batch:
            batch[b"a"] = b"1"
            with pytest.raises(kvarts.InvalidArgument, match="already"), batch:
                pass
            batch[b"b"] = b"2"
        assert dict(db) == {b"a": b"1", b"b": b"2"}
        for use in (batch.__enter__, lambda: batch.delete(b"a"), lambda: batch.keyspace("x").put(b"a", b"1")):
            with pytest.raises(kvarts.InvalidArgument, match=r"has ended.*another"):
                use()


def test_refused_put_is_not_in_the_batch() -> None:
    with kvarts.open(memory="1MiB") as db:
        with db.batch() as batch:
            batch[b"a"] = bytes(200 << 10)
            for key, value in ((b"b", bytes(100 << 10)), (b"", b"1"), (b"k" * (65 << 10), b"1")):
                with pytest.raises(kvarts.LimitExceeded):
                    batch[key] = value
            assert len(batch) == 1
            batch[b"c"] = b"3"
        assert list(db) == [b"a", b"c"]
        with pytest.raises(kvarts.LimitExceeded):
            db.update({b"d": bytes(200 << 10), b"e": bytes(200 << 10)})
        with pytest.raises(kvarts.LimitExceeded):
            db.put_many([(b"d", bytes(300 << 10))])
        assert list(db) == [b"a", b"c"]


def test_error_of_a_progress_callback_is_raised() -> None:
    with kvarts.open() as db:
        db[b"a"] = b"1"
        db.flush()

        def progress(_done: int, _total: int) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            db.verify(progress=progress)
        untyped: Any = 3
        with pytest.raises(kvarts.WrongType):
            db.verify(progress=untyped)


def test_checkpoint_of_a_store_in_memory_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with kvarts.open() as db, pytest.raises(kvarts.InvalidArgument, match="put_many"):
        db.checkpoint(tmp_path / "c")


def test_undecodable_value_is_not_lost_by_pop() -> None:
    with kvarts.open(value=kvarts.Str) as db:
        database = db._database  # type: ignore[attr-defined]
        keyspace = _native.Tree[bytes, bytes](database, "default", "bytes", "bytes", b"", None)
        keyspace[b"a"] = b"\xff"
        for use in (lambda: db.pop(b"a"), db.popitem):
            with pytest.raises(kvarts.CodecError) as caught:
                use()
            assert isinstance(caught.value.__cause__, UnicodeDecodeError)
        assert b"a" in db
