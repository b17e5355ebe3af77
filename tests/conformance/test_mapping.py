"""The verbs of a mapping: what a dict does, in key order."""

from typing import Any

import pytest

import kvarts
from tests.conformance.kinds import skip_where_remote

Db = kvarts.Store[bytes, bytes]


def test_put_then_get(db: Db) -> None:
    db[b"a"] = b"1"
    assert db[b"a"] == b"1"
    assert db.get(b"a") == b"1"
    assert b"a" in db


def test_overwrite_keeps_the_newest(db: Db) -> None:
    db[b"a"] = b"1"
    db[b"a"] = b"2"
    assert db[b"a"] == b"2"
    assert list(db.items()) == [(b"a", b"2")]


def test_empty_value_is_not_absent(db: Db) -> None:
    db[b"a"] = b""
    assert db[b"a"] == b""
    assert b"a" in db


def test_bytearray_and_memoryview_are_bytes(db: Db) -> None:
    db.put(bytearray(b"a"), memoryview(b"1"))  # type: ignore[arg-type]
    assert db[b"a"] == b"1"
    assert db.get(memoryview(b"a")) == b"1"  # type: ignore[call-overload]


def test_absent_key_is_none_default_or_key_error(db: Db) -> None:
    assert db.get(b"a") is None
    assert db.get(b"a", b"d") == b"d"
    assert b"a" not in db
    assert db.entry(b"a") is None
    with pytest.raises(KeyError) as caught:
        db[b"a"]
    assert isinstance(caught.value, kvarts.KeyNotFound)
    assert caught.value.key == b"a"


def test_delete_makes_absent_and_absent_is_no_error(db: Db) -> None:
    db[b"a"] = b"1"
    revision = db.delete(b"a")
    assert revision == db.revision
    assert db.get(b"a") is None
    db.delete(b"a")
    with pytest.raises(kvarts.KeyNotFound):
        del db[b"a"]


def test_iteration_is_in_key_order_both_ways(db: Db) -> None:
    keys = [b"b", b"\xff\xff", b"a\0", b"a", b"\0", b"a\0\0", b"\xff"]
    for key in keys:
        db[key] = key * 2
    assert list(db) == sorted(keys)
    assert list(reversed(db)) == sorted(keys, reverse=True)
    assert list(db.keys()) == sorted(keys)
    assert list(db.values()) == [key * 2 for key in sorted(keys)]
    assert list(db.items()) == [(key, key * 2) for key in sorted(keys)]


def test_views_are_sets_over_the_live_store(db: Db) -> None:
    keys = db.keys()
    db.update({b"a": b"1", b"b": b"2"})
    assert keys == {b"a", b"b"}
    assert keys & {b"a", b"c"} == {b"a"}
    assert (b"a", b"1") in db.items()
    assert b"2" in db.values()
    assert len(db.items()) == 2


def test_len_is_exact_and_bool_is_whether_any(db: Db) -> None:
    assert len(db) == 0
    assert not db
    db.put_many((b"%03d" % number, b"") for number in range(300))
    db.delete(b"000")
    assert len(db) == 299
    assert db


def test_get_many_keeps_the_order_asked(db: Db) -> None:
    db.update({b"a": b"1", b"b": b"2"})
    assert db.get_many([b"b", b"x", b"a", b"b"]) == [b"2", None, b"1", b"2"]
    assert db.get_many([]) == []
    assert db.get_many(iter([b"a"])) == [b"1"]


def test_put_many_writes_in_order_from_mapping_and_pairs(db: Db) -> None:
    revision = db.put_many([(b"a", b"1"), (b"a", b"2")])
    assert db[b"a"] == b"2"
    assert revision == db.revision
    db.put_many({b"b": b"3"})
    db.put_many((key, b"4") for key in [b"c"])
    assert dict(db) == {b"a": b"2", b"b": b"3", b"c": b"4"}
    assert db.put_many([]) == db.revision


def test_put_many_over_several_chunks(db: Db) -> None:
    rows = {b"%06d" % number: b"v" * 1000 for number in range(3000)}
    db.put_many(rows)
    assert len(db) == 3000
    assert db.get_many(list(rows)[::500]) == [b"v" * 1000] * 6


def test_delete_many(db: Db) -> None:
    db.update({b"a": b"1", b"b": b"2", b"c": b"3"})
    revision = db.delete_many([b"a", b"x", b"c"])
    assert revision == db.revision
    assert list(db) == [b"b"]


def test_pop(db: Db) -> None:
    db[b"a"] = b"1"
    assert db.pop(b"a") == b"1"
    assert db.pop(b"a", None) is None
    assert db.pop(b"a", b"d") == b"d"
    with pytest.raises(kvarts.KeyNotFound):
        db.pop(b"a")


def test_popitem_takes_the_first_key(db: Db) -> None:
    db.update({b"b": b"2", b"a": b"1"})
    assert db.popitem() == (b"a", b"1")
    assert db.popitem() == (b"b", b"2")
    with pytest.raises(kvarts.KeyNotFound):
        db.popitem()


def test_setdefault(db: Db) -> None:
    assert db.setdefault(b"a", b"1") == b"1"
    assert db.setdefault(b"a", b"2") == b"1"
    assert db[b"a"] == b"1"


def test_update_takes_mapping_pairs_and_nothing(db: Db) -> None:
    db.update({b"a": b"1"})
    db.update([(b"b", b"2")])
    db.update()
    assert dict(db) == {b"a": b"1", b"b": b"2"}


def test_clear_empties_this_view_only(db: Db) -> None:
    db.update({b"%d" % number: b"x" for number in range(100)})
    db.clear()
    assert list(db) == []
    assert not db
    db[b"a"] = b"1"
    assert dict(db) == {b"a": b"1"}


def test_clear_of_a_view_leaves_its_neighbours() -> None:
    with kvarts.open() as db:
        db.update({b"p": b"1", b"p/a": b"2", b"p0": b"3"})
        other = db.keyspace("other")
        other[b"p/a"] = b"4"
        db.prefixed(b"p/").clear()
        assert dict(db) == {b"p": b"1", b"p0": b"3"}
        assert dict(other) == {b"p/a": b"4"}


def test_equality_is_that_of_mappings(db: Db) -> None:
    db.update({b"a": b"1", b"b": b"2"})
    assert db == {b"b": b"2", b"a": b"1"}
    assert db != {b"a": b"1"}


def test_a_store_is_not_hashable_by_content_nor_pickled(db: Db) -> None:
    import copy
    import pickle

    skip_where_remote(db, "a remote store pickles as its target: tests/unit/python/remote")
    with pytest.raises(TypeError):
        pickle.dumps(db)
    with pytest.raises(TypeError):
        copy.copy(db)


def test_repr_is_one_line_and_never_raises(db: Db) -> None:
    assert "\n" not in repr(db)
    assert repr(db).startswith("<kvarts.")
    db.close()
    assert "closed" in repr(db)


@pytest.mark.parametrize("verb", ["get", "entry", "delete", "__getitem__", "__delitem__", "pop"])
@pytest.mark.parametrize("key", ["text", 7, None, 1.5, (b"a",)], ids=repr)
def test_wrong_type_of_key_is_a_type_error(db: Db, verb: str, key: Any) -> None:
    with pytest.raises(kvarts.WrongType) as caught:
        getattr(db, verb)(key)
    assert isinstance(caught.value, TypeError)


def test_contains_of_wrong_type_is_a_type_error(db: Db) -> None:
    with pytest.raises(kvarts.WrongType):
        "text" in db  # type: ignore[comparison-overlap]  # noqa: B015


def test_wrong_type_of_value_writes_nothing(db: Db) -> None:
    before = db.revision
    with pytest.raises(kvarts.WrongType):
        db[b"a"] = "text"  # type: ignore[assignment]
    with pytest.raises(kvarts.WrongType):
        db.update({b"a": b"1", b"b": 2})
    assert dict(db) == {}
    assert db.revision == before
