"""Tuple keys in every kind of store: order, ranges, prefixes item by item, views, and what is refused."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvarts
from kvarts.codecs import SingleFloat, Versionstamp
from tests.conformance.kinds import Make

USERS: list[tuple[Any, ...]] = [
    ("user",),
    ("user", None),
    ("user", ("a", None)),
    ("user", -1),
    ("user", 7),
    ("user", 7, "name"),
    ("user", 42),
    ("user\0",),
    ("user\0", 7),
    ("users",),
    ("users", 7),
]
IN_ORDER: list[tuple[Any, ...]] = [
    (None,),
    (b"z",),
    ("a",),
    ((),),
    ((None,),),
    (-(1 << 2000),),
    (-(1 << 64),),
    (-1,),
    (0,),
    (1,),
    (1 << 64,),
    (1 << 2000,),
    (SingleFloat(1.5),),
    (float("-inf"),),
    (-0.0,),
    (0.0,),
    (5e-324,),
    (False,),
    (True,),
    (UUID(int=1),),
    (Versionstamp(b"0123456789", 1),),
]


def test_keys_of_every_type_come_back_in_order(make: Make) -> None:
    db = make(key=kvarts.Tuple)
    db.put_many((key, b"%d" % place) for place, key in reversed(list(enumerate(IN_ORDER))))
    assert list(map(repr, db)) == list(map(repr, IN_ORDER))
    assert [int(value) for value in db.values()] == list(range(len(IN_ORDER)))
    assert list(map(repr, reversed(db))) == list(map(repr, reversed(IN_ORDER)))
    assert db.get_many(IN_ORDER) == [b"%d" % place for place in range(len(IN_ORDER))]


def test_prefix_is_of_items_not_of_bytes(make: Make) -> None:
    db = make(key=kvarts.Tuple)
    db.put_many((key, b"") for key in USERS)
    assert list(db.scan(prefix=("user",)).keys()) == USERS[:7]
    assert list(db.scan(prefix=("user", 7)).keys()) == [("user", 7), ("user", 7, "name")]
    assert list(db.scan(prefix=("user", 7), reverse=True).keys()) == [("user", 7, "name"), ("user", 7)]
    assert list(db.scan(prefix=("use",)).keys()) == []
    assert list(db.scan(prefix=()).keys()) == USERS
    assert list(db.scan(("user", 0), prefix=("user",)).keys()) == [("user", 7), ("user", 7, "name"), ("user", 42)]
    assert list(db.scan(prefix=("user",), limit=1).keys()) == [("user",)]


def test_ranges_of_tuples(make: Make) -> None:
    db = make(key=kvarts.Tuple)
    db.put_many((key, b"") for key in USERS)
    assert list(db.scan(("user", 7), ("user", 42)).keys()) == [("user", 7), ("user", 7, "name")]
    assert list(db[("user", 42) : ("users",)].keys()) == [("user", 42), ("user\0",), ("user\0", 7)]
    del db[("user",) : ("users",)]
    assert list(db) == [("users",), ("users", 7)]


def test_a_prefixed_view_adds_and_takes_away_items(make: Make) -> None:
    db = make(key=kvarts.Tuple, value=kvarts.Str)
    db.put_many((key, "old") for key in USERS)
    view = db.prefixed(("user",))
    assert list(view) == [key[1:] for key in USERS[:7]]
    assert len(view) == 7
    assert list(view.prefixed((7,))) == [(), ("name",)]
    view[()] = "the user"
    view[(8,)] = "new"
    assert (db["user",], db["user", 8], view[(42,)]) == ("the user", "new", "old")
    assert list(view.scan((8,), (42,)).keys()) == [(8,)]
    view.clear()
    assert list(db) == USERS[7:]


KEYS = st.lists(st.sampled_from(["", "a", "a\0", "a\0\xff", b"a", b"a\0", None, 0, 1, -1, (), ("a",), ("a", None)]))


@settings(derandomize=True, deadline=None)
@given(keys=st.lists(KEYS.filter(bool).map(tuple), max_size=30), prefix=KEYS.map(tuple))
def test_any_prefix_finds_what_begins_with_it(keys: list[tuple[Any, ...]], prefix: tuple[Any, ...]) -> None:
    with kvarts.open(key=kvarts.Tuple) as db:
        db.put_many((key, b"") for key in keys)
        expected = {key for key in keys if key[: len(prefix)] == prefix}
        found = list(db.scan(prefix=prefix).keys())
        assert (len(found), set(found)) == (len(expected), expected)
        if prefix:
            assert [prefix + rest for rest in db.prefixed(prefix)] == found
            assert len(db.prefixed(prefix)) == len(found)


def test_what_is_no_key_is_refused_and_nothing_is_written(make: Make) -> None:
    db = make(key=kvarts.Tuple)
    deep: tuple[Any, ...] = ()
    for _ in range(70):
        deep = (deep,)
    for bad, error in (
        ("user", kvarts.WrongType),
        (["user"], kvarts.WrongType),
        ((object(),), kvarts.WrongType),
        (("\ud800",), kvarts.CodecError),
        ((1 << 2040,), kvarts.CodecError),
        (deep, kvarts.CodecError),
        (("x" * 70_000,), kvarts.LimitExceeded),
    ):
        for rows in ([(bad, b"")], [(("ok",), b""), (bad, b"")]):
            with pytest.raises(error) as caught:
                db.put_many(rows)
            assert caught.value.code.startswith("KV-")
    assert list(db) == []


def test_values_may_be_tuples_too(make: Make) -> None:
    db = make(value=kvarts.Tuple)
    db[b"a"], db[b"b"] = (), (1, ("x", None), 1.5)
    assert dict(db) == {b"a": (), b"b": (1, ("x", None), 1.5)}
    assert db.pop(b"b") == (1, ("x", None), 1.5)
    with pytest.raises(kvarts.KvartsError):
        db.incr(b"a")
    assert db[b"a"] == ()


def test_name_is_kept_and_other_codecs_are_refused(tmp_path: Path) -> None:
    with kvarts.open(tmp_path / "db", key=kvarts.codecs.Tuple, value=kvarts.Json) as db:
        db["user", 42] = {"name": "Ada"}
        assert db.keyspaces()["default"] == kvarts.KeyspaceInfo("default", "tuple", "json")
    with pytest.raises(kvarts.CodecMismatch, match="key=tuple") as caught:
        kvarts.open(tmp_path / "db", key=kvarts.Str, value=kvarts.Json)
    assert "key=kvarts.Tuple" in (caught.value.hint or "")
    with kvarts.open(tmp_path / "db", key=kvarts.Tuple, value=kvarts.Json) as db:
        assert dict(db.scan(prefix=("user",))) == {("user", 42): {"name": "Ada"}}


def test_stored_bytes_that_are_no_tuple_are_a_codec_error() -> None:
    with kvarts.open() as db:
        raw = db.keyspace("mixed", key=_Named("tuple"))
        raw[b"\x02cut"] = b""
        mixed = db.keyspace("mixed", key=kvarts.Tuple)
        with pytest.raises(kvarts.CodecError, match="offset 1") as caught:
            list(mixed)
        assert caught.value.hint


class _Named:
    """Bytes under another codec's name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, data: bytes) -> bytes:
        return data
