"""Bytes as text, hexadecimal, base64 and fields of JSON lines."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvarts.base import tuples
from kvarts.cli.text import Form, from_fields, parse, parse_duration, plain, shown, size, to_fields

ITEM = st.none() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])) | st.binary() | st.floats()
PACKED = st.lists(ITEM).map(tuple).map(tuples.pack)


@pytest.mark.parametrize(
    ("given_text", "form", "codec", "meant"),
    [
        ("hello", Form.TEXT, "bytes", b"hello"),
        ("å", Form.TEXT, "str", b"\xc3\xa5"),
        ("\udcff", Form.TEXT, "bytes", b"\xff"),
        ("7", Form.TEXT, "u64", bytes(7) + b"\x07"),
        ('{"a": [1, "å"]}', Form.TEXT, "json", '{"a":[1,"å"]}'.encode()),
        ("('å', 258)", Form.TEXT, "tuple", b"\x02\xc3\xa5\0\x16\x01\x02"),
        ("00ff", Form.HEX, "u64", b"\x00\xff"),
        ("AP8=", Form.BASE64, "json", b"\x00\xff"),
    ],
)
def test_parse_reads_what_was_meant(given_text: str, form: Form, codec: str, meant: bytes) -> None:
    assert parse(given_text, form, codec) == meant


@pytest.mark.parametrize(
    ("given_text", "form", "codec", "word"),
    [
        ("0g", Form.HEX, "bytes", "hexadecimal"),
        ("A", Form.BASE64, "bytes", "base64"),
        ("-1", Form.TEXT, "u64", "number"),
        (str(1 << 64), Form.TEXT, "u64", "number"),
        ("blue", Form.TEXT, "json", "JSON"),
        ("blue", Form.TEXT, "tuple", "not a tuple"),
        ("'blue'", Form.TEXT, "tuple", "expected tuple"),
        ("({1},)", Form.TEXT, "tuple", "holds no set"),
        ("(" * 5000, Form.TEXT, "tuple", "not a tuple"),
    ],
)
def test_parse_refuses_with_a_sentence(given_text: str, form: Form, codec: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        parse(given_text, form, codec)


@given(data=st.binary(), form=st.sampled_from([Form.HEX, Form.BASE64]), codec=st.sampled_from(["bytes", "u64", "json"]))
def test_exact_forms_read_back_any_bytes(data: bytes, form: Form, codec: str) -> None:
    written = plain(data, form, codec)
    assert written is not None
    assert parse(written, form, codec) == data


@given(data=st.binary() | st.text().map(str.encode), codec=st.sampled_from(["bytes", "str", "u64"]))
def test_fields_read_back_any_bytes(data: bytes, codec: str) -> None:
    if codec == "u64" and len(data) != 8:
        data = data[:8].rjust(8, b"\0")
    assert from_fields("key", to_fields("key", data, codec), codec) == data


@given(data=st.binary() | PACKED)
def test_fields_read_back_tuples_and_what_is_none(data: bytes) -> None:
    assert from_fields("key", to_fields("key", data, "tuple"), "tuple") == data


def test_a_tuple_is_shown_as_python_writes_it() -> None:
    assert shown(tuples.pack(("user", 42, None)), Form.TEXT, "tuple") == "('user', 42, None)"
    assert shown(tuples.pack((UUID(int=7),)), Form.TEXT, "tuple", 20) == "(UUID('00000000-000…"
    assert to_fields("key", tuples.pack((float("nan"),)), "tuple") == {"key_base64": "If/4AAAAAAAA"}


@given(data=st.binary() | st.text().map(str.encode), width=st.none() | st.integers(2, 50))
def test_shown_is_one_printable_line(data: bytes, width: int | None) -> None:
    line = shown(data, Form.TEXT, "bytes", width)
    assert line.isprintable()
    assert width is None or len(line) <= width


@pytest.mark.parametrize(
    ("row", "sentence"),
    [({}, "neither"), ({"key": 7}, "not a string"), ({"key_base64": "?"}, "not base64")],
)
def test_from_fields_refuses_with_a_sentence(row: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        from_fields("key", row, "bytes")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("250ms", 0.25), ("1.5s", 1.5), ("5m", 300), ("2h", 7200), ("7d", 604800)]
)
def test_duration_has_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "1w", "five"])
def test_duration_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (102_300_000, "102.3 MB")])
def test_size_is_short(count: int, text: str) -> None:
    assert size(count) == text
