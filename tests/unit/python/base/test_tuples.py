"""Tuples in Python, in the native module and in FoundationDB's binding: the same bytes, the same order, and back."""

import ast
import copy
import pickle
import struct
from enum import IntEnum, StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvarts import _native
from kvarts.base import tuples
from kvarts.base.errors import CodecError, InvalidArgument, KvartsError, WrongType
from kvarts.base.tuples import NESTING_MAX, SingleFloat, Versionstamp
from tests.unit.python.base import values
from tests.unit.python.base.values import exact

MODEL = SimpleNamespace(pack=tuples.pack, unpack=tuples.unpack)
NATIVE = SimpleNamespace(pack=_native.tuple_pack, unpack=_native.tuple_unpack)
BOTH = pytest.mark.parametrize("codec", [MODEL, NATIVE], ids=["model", "native"])
VECTORS = Path(__file__).with_name("tuple_vectors.txt")
NAMES = {
    "UUID": UUID,
    "SingleFloat": SingleFloat,
    "Versionstamp": Versionstamp,
    "bits": lambda bits: struct.unpack(">d", bits.to_bytes(8, "big"))[0],
}


def vectors() -> list[tuple[str, bytes, Any]]:
    """Return the committed vectors: text, bytes as fdb.tuple 8.0.0 wrote them, and value."""
    lines = [line for line in VECTORS.read_text().splitlines() if line and not line.startswith("#")]
    found = []
    for line in lines:
        packed, _, text = line.partition(" ")
        ast.parse(text, mode="eval")
        found.append((text, bytes.fromhex(packed.removeprefix("-")), eval(text, {"__builtins__": {}}, NAMES)))
    return found


@BOTH
@pytest.mark.parametrize(("text", "packed", "value"), vectors(), ids=[text[:40] for text, _, _ in vectors()])
def test_vector(codec: Any, text: str, packed: bytes, value: Any) -> None:
    assert codec.pack(value) == packed, text
    assert exact(codec.unpack(packed)) == exact(_as_tuples(value))


def test_vectors_are_listed_in_order() -> None:
    packed = [packed for _, packed, _ in vectors()]
    assert len(packed) > 80
    assert packed == sorted(set(packed))


@given(value=values.tuples)
def test_native_and_model_agree_both_ways(value: tuple[Any, ...]) -> None:
    packed = NATIVE.pack(value)
    assert packed == MODEL.pack(value)
    assert exact(NATIVE.unpack(packed)) == exact(MODEL.unpack(packed)) == exact(value)


@given(data=st.binary() | st.lists(st.sampled_from([0, 1, 2, 5, 0xB, 0x13, 0x15, 0x1D, 0x20, 0x27, 0xFF])).map(bytes))
def test_native_and_model_refuse_the_same_bytes(data: bytes) -> None:
    found: list[Any] = []
    for codec in (MODEL, NATIVE):
        try:
            value = codec.unpack(data)
            assert codec.pack(value) == data, "there is one way to write a tuple"
            found.append(exact(value))
        except CodecError as error:
            assert error.hint
            found.append(error.message)
    assert found[0] == found[1]


def _fdb() -> Any:
    """Return FoundationDB's own tuple layer: pure Python, but for a class that Versionstamp.to_bytes asks about.

    That class is of the wrapper around their C library, which is not here; nothing of ours is an instance of it.
    """
    fdb = pytest.importorskip("fdb")
    if not hasattr(fdb, "impl"):
        fdb.impl = SimpleNamespace(Value=type("Value", (), {}))
    return pytest.importorskip("fdb.tuple")


def _theirs(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_theirs(item) for item in value)
    if isinstance(value, SingleFloat):
        return _fdb().SingleFloat(value.value)
    if isinstance(value, Versionstamp):
        return _fdb().Versionstamp(value.tr_version, value.user_version)
    return value


def _ours(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_ours(item) for item in value)
    if isinstance(value, _fdb().SingleFloat):
        return SingleFloat(value.value)
    if isinstance(value, _fdb().Versionstamp):
        return Versionstamp(value.tr_version, value.user_version)
    return value


def _quiet(value: Any) -> Any:
    """Return the value as their SingleFloat can hold it: as a C double, which quiets a signalling NaN."""
    if isinstance(value, tuple):
        return tuple(_quiet(item) for item in value)
    return SingleFloat(value.value) if isinstance(value, SingleFloat) else value


@given(value=values.tuples.map(_quiet))
def test_foundationdb_agrees_on_bytes_and_back(value: tuple[Any, ...]) -> None:
    fdb = _fdb()
    packed = fdb.pack(_theirs(value))
    assert NATIVE.pack(value) == packed
    assert exact(NATIVE.unpack(packed)) == exact(value) == exact(_ours(fdb.unpack(packed)))


@given(a=values.tuples.map(_quiet), b=values.tuples.map(_quiet), shared=st.integers(0, 6))
def test_foundationdb_agrees_on_order(a: tuple[Any, ...], b: tuple[Any, ...], shared: int) -> None:
    b = a[:shared] + b
    left, right = NATIVE.pack(a), NATIVE.pack(b)
    assert _fdb().compare(_theirs(a), _theirs(b)) == (left > right) - (left < right)


@given(a=values.tuples, b=values.tuples, within=st.booleans())
def test_what_lies_before_after_begins_with_the_items(a: tuple[Any, ...], b: tuple[Any, ...], within: bool) -> None:
    key = a + b if within else b
    prefix = tuples.pack(a)
    found = prefix <= tuples.pack(key) < tuples.after(prefix) or not a
    assert found == (exact(key[: len(a)]) == exact(a))


@given(left=values.singles | values.stamps, right=values.singles | values.stamps)
def test_items_compare_as_their_bytes(left: Any, right: Any) -> None:
    if type(left) is not type(right):
        assert left != right
        return
    assert (left < right) == (tuples.pack((left,)) < tuples.pack((right,)))
    assert (left == right) == (tuples.pack((left,)) == tuples.pack((right,)))
    assert left != right or hash(left) == hash(right)
    for again in (copy.copy(left), copy.deepcopy(left), pickle.loads(pickle.dumps(left))):
        assert again == left


class Colour(IntEnum):
    RED = 3


class Name(StrEnum):
    USER = "user"


class Point(NamedTuple):
    x: int
    y: int


class Loud(int):
    """An int that answers wrongly."""

    def __abs__(self) -> int:
        return 7

    def __lt__(self, other: object) -> bool:
        return False


@BOTH
def test_subclasses_are_what_they_derive_from(codec: Any) -> None:
    assert codec.unpack(codec.pack((Colour.RED, Name.USER, Point(1, 2)))) == (3, "user", (1, 2))
    assert codec.unpack(codec.pack(Point(1, 2))) == (1, 2)
    for number in (-5, -(1 << 70), 1 << 70):
        assert codec.unpack(codec.pack((Loud(number),))) == (number,)


def _nested(depth: int, kind: Any = tuple) -> Any:
    value: Any = ()
    for _ in range(depth):
        value = kind([value])
    return value


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@BOTH
@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("user", WrongType, r"expected tuple, got str; a tuple of one item is written \(item,\)"),
        (["user"], WrongType, "expected tuple, got list"),
        (None, WrongType, "expected tuple, got NoneType"),
        (({1},), WrongType, "a tuple holds no set"),
        ((1, ("a", {"b": 1})), WrongType, "a tuple holds no dict"),
        ((bytearray(b"a"),), WrongType, "a tuple holds no bytearray"),
        ((1j,), WrongType, "a tuple holds no complex"),
        (("a\ud800",), CodecError, "UTF-8"),
        ((1 << 8 * 255,), CodecError, "more than 255 bytes"),
        ((-(1 << 8 * 255),), CodecError, "more than 255 bytes"),
        (_nested(NESTING_MAX + 1), CodecError, "more than 64 deep"),
        ((_nested(100_000, list),), CodecError, "more than 64 deep"),
        ((CYCLE,), CodecError, "more than 64 deep"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_a_tuple_cannot_hold(codec: Any, value: Any, error: type[KvartsError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        codec.pack(value)
    assert caught.value.hint or words == "UTF-8"


@BOTH
def test_as_deep_as_may_be(codec: Any) -> None:
    deep = _nested(NESTING_MAX)
    assert codec.unpack(codec.pack(deep)) == deep
    with pytest.raises(CodecError, match="offset 64"):
        codec.unpack(b"\x05" * 1_000_000)


@pytest.mark.parametrize("tr_version", [b"\xff" * 10, b"short", "0123456789", None], ids=repr)
def test_incomplete_versionstamp_is_refused(tr_version: Any) -> None:
    with pytest.raises(InvalidArgument, match="incomplete"):
        Versionstamp(tr_version)


@BOTH
def test_incomplete_versionstamp_in_bytes_is_refused(codec: Any) -> None:
    with pytest.raises(CodecError, match="incomplete"):
        codec.unpack(b"\x33" + b"\xff" * 10 + b"\0\1")


def test_items_of_ours_hold_what_they_say() -> None:
    assert repr(SingleFloat(1.5)) == "SingleFloat(1.5)"
    assert SingleFloat(0.1).value == struct.unpack(">f", struct.pack(">f", 0.1))[0]
    assert repr(Versionstamp(b"0123456789", 7)) == "Versionstamp(b'0123456789', 7)"
    for make in (lambda: SingleFloat(1e300), lambda: Versionstamp(b"0123456789", 65536)):
        with pytest.raises(InvalidArgument):
            make()
    for item, name in ((SingleFloat(1.5), "bits"), (Versionstamp(b"0123456789"), "user_version")):
        with pytest.raises(AttributeError):
            setattr(item, name, 1)


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, tuple | list) else value
