"""Codecs: what goes in comes out, keys keep their order, what does not fit is refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvarts
from tests.conformance.kinds import Make

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@settings(derandomize=True, deadline=None)
@given(rows=st.dictionaries(TEXT, JSON, max_size=20))
def test_str_and_json_round_trip_in_order_of_code_points(rows: dict[str, Any]) -> None:
    with kvarts.open(key=kvarts.Str, value=kvarts.Json) as db:
        db.put_many(rows)
        assert dict(db) == rows
        assert list(db) == sorted(rows)
        assert list(reversed(db)) == sorted(rows, reverse=True)


@settings(derandomize=True, deadline=None)
@given(numbers=st.sets(st.integers(0, 2**64 - 1), max_size=30))
def test_u64_keys_keep_the_order_of_numbers(numbers: set[int]) -> None:
    with kvarts.open(key=kvarts.U64, value=kvarts.U64) as db:
        db.update({number: number for number in numbers})
        assert list(db.items()) == [(number, number) for number in sorted(numbers)]
        assert list(db.scan(2**32, 2**63).keys()) == sorted(n for n in numbers if 2**32 <= n < 2**63)


@pytest.mark.parametrize("codec", [kvarts.Bytes, kvarts.Str, kvarts.U64, kvarts.Tuple, kvarts.Json], ids=repr)
def test_codec_has_a_name_and_shows_itself(codec: Any) -> None:
    import pickle

    assert repr(codec) == f"kvarts.{type(codec).__name__.strip('_')}"
    assert pickle.loads(pickle.dumps(codec)) is codec
    assert codec.name == type(codec).__name__.strip("_").lower()


@pytest.mark.parametrize(
    ("codec", "bad"),
    [
        (kvarts.Str, b"bytes"),
        (kvarts.Str, 3),
        (kvarts.U64, "3"),
        (kvarts.U64, 3.0),
        (kvarts.Bytes, "text"),
        (kvarts.Bytes, 3),
    ],
    ids=repr,
)
def test_wrong_type(make: Make, codec: Any, bad: Any) -> None:
    db = make(value=codec)
    with pytest.raises(kvarts.WrongType):
        db[b"a"] = bad
    assert b"a" not in db


@pytest.mark.parametrize(
    ("codec", "bad"),
    [
        (kvarts.U64, -1),
        (kvarts.U64, 2**64),
        (kvarts.Str, "\ud800"),
        (kvarts.Json, float("nan")),
        (kvarts.Json, {1, 2}),
        (kvarts.Json, float("inf")),
    ],
    ids=repr,
)
def test_value_that_the_codec_cannot_write(make: Make, codec: Any, bad: Any) -> None:
    db = make(value=codec)
    with pytest.raises((kvarts.CodecError, kvarts.InvalidArgument)):
        db[b"a"] = bad
    assert b"a" not in db


class Reversed:
    """A codec of a user's own."""

    name = "reversed"

    def encode(self, value: str) -> bytes:
        """Return the text backwards."""
        return value[::-1].encode()

    def decode(self, data: bytes) -> str:
        """Return the text forwards."""
        return data.decode()[::-1]


class Failing(Reversed):
    """A codec that cannot read what it wrote."""

    name = "failing"

    def decode(self, data: bytes) -> str:
        """Fail."""
        raise ZeroDivisionError(data)


def test_codec_of_a_users_own() -> None:
    with kvarts.open(key=Reversed(), value=Reversed()) as db:
        db["abc"] = "xyz"
        assert db["abc"] == "xyz"
        assert db.keyspaces()["default"] == kvarts.KeyspaceInfo("default", "reversed", "reversed")


def test_codec_that_fails_is_a_codec_error_with_its_cause() -> None:
    with kvarts.open(value=Failing()) as db:
        db[b"a"] = "x"
        for read in (lambda: db[b"a"], lambda: list(db.items()), lambda: db.get_many([b"a"]), lambda: db.pop(b"a")):
            with pytest.raises(kvarts.CodecError) as caught:
                read()
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert b"a" in db


@pytest.mark.parametrize("codec", [None, "str", str, 7], ids=repr)
def test_what_is_no_codec_is_refused(codec: Any) -> None:
    with pytest.raises(kvarts.WrongType):
        kvarts.open(value=codec)


@pytest.mark.parametrize("name", ["", "n" * 256, "\ud800", "two\nlines"], ids=["empty", "long", "surrogate", "lines"])
def test_codec_with_a_name_that_cannot_be_kept(name: str) -> None:
    codec = type("Codec", (), {"name": name, "encode": bytes, "decode": bytes})()
    with pytest.raises(kvarts.InvalidArgument, match="1 to 255"):
        kvarts.open(key=codec)


def test_json_takes_typed_values(make: Make) -> None:
    db: kvarts.Store[bytes, kvarts.JsonValue] = make(value=kvarts.Json)
    counts: dict[str, int] = {"a": 1}
    names: list[str] = ["b"]
    db[b"counts"], db[b"names"] = counts, names
    assert dict(db.scan()) == {b"counts": counts, b"names": names}
