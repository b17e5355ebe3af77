"""Bad input of every kind is an error of ours with a code and a hint: never Python's own, a panic, or silence."""

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kvarts
from tests.processes import python, surroundings

HUGE = 10**400
LONG = "x" * 300

# Functions of the directory that the fixture `top` fills.
PATHS: dict[str, tuple[Callable[[Path], Any], type[kvarts.KvartsError]]] = {
    "number": (lambda _: 3, kvarts.WrongType),
    "none": (lambda _: None, kvarts.WrongType),
    "bytes": (lambda top: os.fsencode(top / "s"), kvarts.WrongType),
    "list": (lambda _: [], kvarts.WrongType),
    "empty": (lambda _: "", kvarts.InvalidArgument),
    "nul": (lambda top: f"{top}/s\0t", kvarts.InvalidArgument),
    "lone surrogate": (lambda top: f"{top}/\ud800", kvarts.InvalidArgument),
    "uri": (lambda _: "http://host/x", kvarts.InvalidArgument),
    "file": (lambda top: top / "file", kvarts.NotAStore),
    "under a file": (lambda top: top / "file" / "s", kvarts.StoreNotFound),
    "no parent": (lambda top: top / "no" / "s", kvarts.StoreNotFound),
    "other things": (lambda top: top / "full", kvarts.NotAStore),
    "/dev/null": (lambda _: "/dev/null", kvarts.NotAStore),
    "/dev/null/s": (lambda _: "/dev/null/s", kvarts.StoreNotFound),
    "/proc": (lambda _: "/proc/s", kvarts.KvartsError),
    "too long a name": (lambda top: top / LONG, kvarts.StorageError),
    "too long a path": (lambda top: f"{top}/{'d/' * 3000}s", kvarts.KvartsError),
    "link to nothing": (lambda top: top / "dangling", kvarts.StoreNotFound),
    "link to itself": (lambda top: top / "circle", kvarts.StorageError),
}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("x")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "circle").symlink_to("circle")
    return tmp_path


opening: Any = kvarts.open
"""Without its types: what is given here is wrong."""


def check(call: Callable[[], object], kind: type[kvarts.KvartsError]) -> kvarts.KvartsError:
    """What `call` raises is of that kind, and says what to do."""
    with pytest.raises(kvarts.KvartsError) as caught:
        call()
    error = caught.value
    assert isinstance(error, kind), repr(error)
    assert re.fullmatch(r"KV-\d{4}", error.code)
    assert error.message
    assert error.hint, f"no hint: {error!r}"
    assert len(str(error)) < 10_000, "what was given is cut short"
    return error


@pytest.mark.parametrize("name", PATHS)
def test_paths(top: Path, name: str) -> None:
    make, kind = PATHS[name]
    target = make(top)
    before = sorted(top.rglob("*"))
    check(lambda: kvarts.open(target), kind)
    assert sorted(top.rglob("*")) == before, "nothing was made"


@pytest.mark.parametrize("name", ["nul", "bytes", "number", "empty", "no parent", "too long a name", "file"])
def test_paths_of_checkpoints(top: Path, name: str) -> None:
    target = PATHS[name][0](top)
    with kvarts.open(top / "store") as db:
        if name != "empty":
            check(lambda: db.checkpoint(target), kvarts.KvartsError)
        db[b"a"] = b"1"
        assert db.verify().ok


def test_path_that_is_no_utf8_is_a_path_like_any_other(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")
    with kvarts.open(path) as db:
        db[b"a"] = b"1"
    with kvarts.open(path) as db:
        assert db[b"a"] == b"1"
        assert repr(db)


@pytest.mark.skipif(os.geteuid() == 0 and sys.platform != "linux", reason="root may do all")
def test_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """As nobody where we are root."""
    program = """
import os, sys, kvarts
kvarts.open(":memory:").close()  # Which loads all that is needed.
kvarts.KvartsError
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    kvarts.open(sys.argv[1])
except kvarts.KvartsError as error:
    assert error.code.startswith("KV-2") and error.hint, repr(error)
    print(type(error).__name__)
"""
    tmp_path.chmod(0o755)
    locked = tmp_path / "locked"
    locked.mkdir(0o555)
    done = subprocess.run(
        python("-c", program, str(locked / "s")), capture_output=True, text=True, check=False, **surroundings()
    )
    assert done.stdout.strip() in ("StorageError", "StoreNotFound"), done.stderr


SIZES = ["memory", "memtable_bytes", "block_bytes", "table_bytes", "level_base_bytes", "log_bytes"]
NUMBERS = ["level_growth", "level0_tables", "filter_bits", "sync_interval_ms"]
FLAGS = ["create", "background", "fix_permissions"]
NO_SIZE: list[object] = [
    None,
    1.5,
    math.nan,
    math.inf,
    True,
    b"1MiB",
    [],
    "",
    "x",
    "1 parsec",
    "-1",
    "0x10",
    "١MiB" * 99,
    -1,
    HUGE,
]
NO_NUMBER: list[object] = [None, 1.5, math.nan, True, "10", b"1", [], -1, HUGE, -HUGE]
NO_CHOICE: list[object] = [None, "", "SYNC", 1, b"sync", [], {}]
NO_FLAG: list[object] = [None, 0, 1, "yes", "", b"", [], math.nan, HUGE]


BAD_OPTIONS: list[tuple[str, object]] = [
    *((name, value) for name in SIZES for value in NO_SIZE),
    *((name, value) for name in NUMBERS for value in NO_NUMBER),
    *((name, value) for name in FLAGS for value in NO_FLAG),
    *((name, value) for name in ("durability", "compression") for value in NO_CHOICE),
    ("durabilty", "sync"),
    ("", 1),
    ("key", None),
    ("key", "str"),
    ("key", ...),
    ("value", int),
    ("timeout", 5),
    ("consistency", "stale"),
]


@pytest.mark.parametrize(
    ("option", "value"),
    BAD_OPTIONS,
    ids=lambda given: ascii(given)[:40] if not isinstance(given, int) or abs(given) < HUGE else "huge",
)
def test_options(tmp_path: Path, option: str, value: object) -> None:
    check(lambda: opening(tmp_path / "s", **{option: value}), kvarts.InvalidArgument)
    assert not (tmp_path / "s").exists()


class Odd:
    """Nothing of it works."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


BAD_KEYS: list[object] = [None, 1, 1.5, math.nan, "text", [], (), {}, object(), Odd()]
BAD_VALUES = BAD_KEYS


@pytest.fixture
def db(tmp_path: Path) -> Any:
    with kvarts.open(tmp_path / "s", memory="1MiB") as db:
        db[b"a"] = b"1"
        yield db
        assert db[b"a"] == b"1", "nothing was changed"
        assert db.verify().ok


KEY_VERBS: dict[str, Callable[[Any, Any], object]] = {
    "get": lambda db, key: db.get(key),
    "[]": lambda db, key: db[key],
    "put": lambda db, key: db.put(key, b"1"),
    "[] =": lambda db, key: db.__setitem__(key, b"1"),
    "delete": lambda db, key: db.delete(key),
    "del": lambda db, key: db.__delitem__(key),
    "incr": lambda db, key: db.incr(key),
    "pop": lambda db, key: db.pop(key),
    "get_many": lambda db, key: db.get_many([key]),
    "delete_many": lambda db, key: db.delete_many([key]),
    "put_many": lambda db, key: db.put_many([(key, b"1")]),
    "update": lambda db, key: db.update([(key, b"1")]),
    "prefixed": lambda db, key: db.prefixed(key),
    "scan start": lambda db, key: db.scan(start=key) if key is not None else db.get(key),
    "scan prefix": lambda db, key: db.scan(prefix=key) if key is not None else db.get(key),
}


@pytest.mark.parametrize("verb", KEY_VERBS)
@pytest.mark.parametrize("number", range(len(BAD_KEYS)), ids=lambda number: type(BAD_KEYS[number]).__name__)
def test_keys(db: Any, verb: str, number: int) -> None:
    check(lambda: KEY_VERBS[verb](db, BAD_KEYS[number]), kvarts.InvalidArgument)


@pytest.mark.parametrize("key", [b"", bytes((64 << 10) + 1)], ids=["empty", "long"])
@pytest.mark.parametrize("verb", ["put", "[] =", "incr", "put_many", "update"])
def test_keys_of_a_length_that_cannot_be(db: Any, verb: str, key: bytes) -> None:
    check(lambda: KEY_VERBS[verb](db, key), kvarts.LimitExceeded)


@pytest.mark.parametrize("number", range(len(BAD_VALUES)), ids=lambda number: type(BAD_VALUES[number]).__name__)
def test_values(db: Any, number: int) -> None:
    value = BAD_VALUES[number]
    check(lambda: db.put(b"b", value), kvarts.InvalidArgument)
    check(lambda: db.update({b"b": value}), kvarts.InvalidArgument)
    check(lambda: db.put_many([(b"b", value)]), kvarts.InvalidArgument)
    with db.batch() as batch:
        check(lambda: batch.put(b"b", value), kvarts.InvalidArgument)
    assert b"b" not in db


def test_values_of_a_length_that_cannot_be(db: Any) -> None:
    check(lambda: db.put(b"b", bytes(1 << 20)), kvarts.LimitExceeded)


BAD_TTLS: list[Any] = [
    0,
    -1,
    math.nan,
    math.inf,
    -math.inf,
    1e300,
    HUGE,
    "5",
    b"",
    [],
    timedelta(0),
    timedelta(days=-1),
]

ARGUMENTS: dict[str, Callable[[Any], object]] = {
    "if_": lambda db: db.put(b"b", b"1", if_="absent"),
    "if_ None": lambda db: db.put(b"b", b"1", if_=None),
    "if_ revision": lambda db: db.put(b"b", b"1", if_=kvarts.AtRevision(-1)),
    "if_ huge": lambda db: db.put(b"b", b"1", if_=kvarts.AtRevision(HUGE)),
    "limit": lambda db: db.scan(limit="3"),
    "limit below": lambda db: db.scan(limit=-1),
    "limit float": lambda db: db.scan(limit=math.nan),
    "reverse": lambda db: db.scan(reverse="no"),
    "step": lambda db: db[b"a":b"b":2],
    "incr": lambda db: db.incr(b"n", by="1"),
    "incr huge": lambda db: db.incr(b"n", by=HUGE),
    "incr nan": lambda db: db.incr(b"n", by=math.nan),
    "update pairs": lambda db: db.update([(b"b",)]),
    "update number": lambda db: db.update(3),
    "update none": lambda db: db.update(None),
    "put_many none": lambda db: db.put_many(None),
    "put_many triples": lambda db: db.put_many([(b"b", b"1", b"2")]),
    "get_many none": lambda db: db.get_many(None),
    "get_many number": lambda db: db.get_many(7),
    "delete_many bytes": lambda db: db.delete_many(3),
    "keyspace none": lambda db: db.keyspace(None),
    "keyspace empty": lambda db: db.keyspace(""),
    "keyspace long": lambda db: db.keyspace("x" * 256),
    "keyspace surrogate": lambda db: db.keyspace("\ud800"),
    "keyspace bytes": lambda db: db.keyspace(b"x"),
    "keyspace codec": lambda db: db.keyspace("x", key="str"),
    "keyspace absent": lambda db: db.keyspace("x", create=False),
    "verify progress": lambda db: db.verify(progress=3),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments(db: Any, name: str) -> None:
    check(lambda: ARGUMENTS[name](db), kvarts.InvalidArgument)
    assert b"b" not in db


@pytest.mark.parametrize("number", range(len(BAD_TTLS)))
def test_ttls(db: Any, number: int) -> None:
    error = check(lambda: db.put(b"b", b"1", ttl=BAD_TTLS[number]), kvarts.InvalidArgument)
    assert "ttl" in error.message
    assert b"b" not in db


def test_a_ttl_out_of_range_is_shown(db: Any) -> None:
    assert "-3" in check(lambda: db.put(b"b", b"1", ttl=-3), kvarts.InvalidArgument).message


FILES: dict[str, bytes] = {
    "nothing": b"",
    "a byte": b"\0",
    "zeros": bytes(4096),
    "text": b"this is no manifest\n" * 50,
    "noise": bytes(range(256)) * 20,
}


@pytest.mark.parametrize("content", FILES)
@pytest.mark.parametrize("name", ["MANIFEST", "*.table"])
def test_files(tmp_path: Path, name: str, content: str) -> None:
    with kvarts.open(tmp_path / "s") as db:
        db[b"a"] = b"1"
        db.flush()
    file = next((tmp_path / "s").glob(name))
    file.write_bytes(FILES[content])

    def read() -> object:
        with kvarts.open(tmp_path / "s") as db:
            return db[b"a"]

    check(read, kvarts.CorruptionError)


@pytest.mark.parametrize("content", FILES)
def test_a_lock_file_may_hold_anything(tmp_path: Path, content: str) -> None:
    kvarts.open(tmp_path / "s").close()
    (tmp_path / "s" / "LOCK").write_bytes(FILES[content])
    kvarts.open(tmp_path / "s").close()


@pytest.mark.parametrize(
    "variable", ["KVARTS_MEMORY", "KVARTS_TICK_MS", "KVARTS_NODE", "KVARTS_LISTEN", "KVARTS_PEERS"]
)
@pytest.mark.parametrize("value", ["", "nonsense", "-1", "9" * 400, "nan"])
def test_environment_of_a_node(tmp_path: Path, variable: str, value: str) -> None:
    """What a node cannot take it refuses with a code; what it can take is not asked here."""
    surround = surroundings()
    surround["env"] |= {variable: value}
    done = subprocess.run(
        python("-m", "kvarts", "config", "explain", "--json"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **surround,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 2, 3), done.stderr
    assert done.returncode == 0 or '"code": "KV-' in done.stderr or "Usage" in done.stderr
