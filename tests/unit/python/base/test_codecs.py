"""Codecs in Python say the same as those in the native module (tests/conformance checks the latter)."""

import pickle
from typing import Any

import pytest

from kvarts.base.codecs import BUILT_IN, U64, Bytes, Json, Str, Tuple, check_codec
from kvarts.base.errors import WrongType


@pytest.mark.parametrize(
    ("codec", "value", "stored"),
    [
        (Bytes, b"\x00\xff", b"\x00\xff"),
        (Str, "å", b"\xc3\xa5"),
        (U64, 258, b"\0\0\0\0\0\0\x01\x02"),
        (Tuple, ("å", 258), b"\x02\xc3\xa5\0\x16\x01\x02"),
        (Json, {"å": [1, None]}, '{"å":[1,null]}'.encode()),
    ],
    ids=["bytes", "str", "u64", "tuple", "json"],
)
def test_codec_both_ways(codec: Any, value: Any, stored: bytes) -> None:
    assert codec.encode(value) == stored
    assert codec.decode(stored) == value


@pytest.mark.parametrize("codec", BUILT_IN.values(), ids=BUILT_IN)
def test_codec_is_one_object_also_after_a_pickle(codec: Any) -> None:
    assert pickle.loads(pickle.dumps(codec)) is codec
    assert repr(codec).startswith("kvarts.")
    check_codec(codec, "key")


def test_class_without_decode_is_no_codec() -> None:
    class Half:
        name = "half"

        def encode(self, value: str) -> bytes:
            return value.encode()

    with pytest.raises(WrongType, match="value="):
        check_codec(Half(), "value")
