"""Bytes as people and programs write them: text, hexadecimal, base64, fields of JSON lines. Pure."""

import ast
import base64
import binascii
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from kvarts.base import tuples
from kvarts.base.errors import KvartsError

U64_BYTES = 8
FIELDS = ("key", "key_base64", "value", "value_base64", "ttl")


class Form(StrEnum):
    """How keys and values are written on the command line and in listings."""

    TEXT = "text"
    HEX = "hex"
    BASE64 = "base64"


def parse(given: str, form: Form, codec: str) -> bytes:
    """Return the bytes that were meant. Raises ValueError with a sentence.

    TEXT is read as the keyspace's codec writes it: a number for u64, JSON for json, a tuple as Python
    writes it for tuple, else UTF-8. Other forms are exact.
    """
    if form is Form.HEX:
        try:
            return bytes.fromhex(given)
        except ValueError:
            raise ValueError(f"{given!r} is not hexadecimal") from None
    if form is Form.BASE64:
        try:
            return base64.b64decode(given, validate=True)
        except binascii.Error:
            raise ValueError(f"{given!r} is not base64") from None
    return _parse_text(given, codec)


def _parse_text(given: str, codec: str) -> bytes:
    if codec == "u64":
        if not re.fullmatch(r"\d{1,20}", given) or int(given) >= 1 << 64:
            raise ValueError(f"{given!r} is not a number from 0 to 2**64 - 1, which this keyspace holds")
        return int(given).to_bytes(U64_BYTES, "big")
    if codec == "json":
        try:
            value = json.loads(given)
        except ValueError:
            raise ValueError(
                f"{given!r} is not JSON, which this keyspace holds (text needs quotes of its own)"
            ) from None
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    if codec == "tuple":
        return _parse_tuple(given)
    # surrogateescape: an argument that is not UTF-8 reaches us as surrogates and goes back to its bytes.
    return given.encode("utf-8", "surrogateescape")


def _parse_tuple(given: str) -> bytes:
    try:
        return tuples.pack(ast.literal_eval(given))
    except KvartsError as error:
        raise ValueError(f"{given!r} is no key of this keyspace: {error.message}") from None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(f"{given!r} is not a tuple, such as ('user', 42), which this keyspace holds") from None


def plain(data: bytes, form: Form, codec: str) -> str | None:
    """Return data so that `parse` reads it back, or None where TEXT cannot write it."""
    if form is Form.HEX:
        return data.hex()
    if form is Form.BASE64:
        return base64.b64encode(data).decode()
    if codec == "u64" and len(data) == U64_BYTES:
        return str(int.from_bytes(data, "big"))
    if codec == "tuple":
        return _plain_tuple(data)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _plain_tuple(data: bytes) -> str | None:
    """Return a tuple as Python writes it, or None where Python would not read it back: NaN, UUID and the like."""
    value = _tuple_of(data)
    text = repr(value)
    try:
        return text if value is not None and _parse_tuple(text) == data else None
    except ValueError:
        return None


def _tuple_of(data: bytes) -> tuple[Any, ...] | None:
    try:
        return tuples.unpack(data)
    except KvartsError:
        return None


def shown(data: bytes, form: Form, codec: str, width: int | None = None) -> str:
    """Return data as one printable line of at most `width` columns; control characters and what is no text escaped."""
    value = _tuple_of(data) if codec == "tuple" and form is Form.TEXT else None
    text = repr(value) if value is not None else plain(data if width is None else data[: 4 * width], form, codec)
    if text is None:
        text = data[: None if width is None else width].decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)
    return text if width is None or len(text) <= width else text[: width - 1] + "…"


def to_fields(name: str, data: bytes, codec: str) -> dict[str, str]:
    """Return {"key": text}, or {"key_base64": …} where the bytes are no text."""
    text = plain(data, Form.TEXT, codec)
    if text is not None:
        return {name: text}
    return {f"{name}_base64": base64.b64encode(data).decode()}


def parse_row(line: bytes) -> dict[str, object]:
    """Return the fields of a JSON line that is a row. Raises ValueError with a sentence; no field is left unread."""
    row = json.loads(line, object_pairs_hook=_once)
    if not isinstance(row, dict):
        raise ValueError("not an object")
    for field in row:
        if field not in FIELDS:
            raise ValueError(f"unknown field {field!r}; a row has {', '.join(FIELDS)}")
    for name in ("key", "value"):
        if name in row and f"{name}_base64" in row:
            raise ValueError(f"both {name!r} and '{name}_base64' are given")
    return row


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field is given twice")
    return fields


def from_ttl(row: Mapping[str, object]) -> float | None:
    """Return the seconds of field "ttl", or None where it is not there. Raises ValueError with a sentence."""
    ttl = row.get("ttl")
    if "ttl" not in row:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not ttl > 0:
        raise ValueError(f"'ttl' is {ttl!r}, not a number of seconds above 0")
    return ttl


def from_fields(name: str, row: Mapping[str, object], codec: str) -> bytes:
    """Return the bytes of a field that `to_fields` wrote. Raises ValueError with a sentence."""
    for field, form in ((name, Form.TEXT), (f"{name}_base64", Form.BASE64)):
        if field in row:
            value = row[field]
            if not isinstance(value, str):
                raise ValueError(f"{field!r} is not a string")
            return parse(value, form, codec)
    raise ValueError(f'neither "{name}" nor "{name}_base64" is given')


def parse_duration(given: str) -> float:
    """Return seconds from "90", "1.5", "250ms", "10s", "5m", "2h" or "7d". Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)", given.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(f"{given!r} is not a duration: 90, 250ms, 10s, 5m, 2h, 7d")
    return float(match[1]) * {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def counted(count: int, noun: str) -> str:
    """Return "1 row", "2,000 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(count: float) -> str:
    """Return bytes for people: "812 B", "4.1 kB", "102.3 MB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable: the loop ends at TB")
