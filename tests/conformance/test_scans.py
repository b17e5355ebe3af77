"""Scans, slices and their bounds, both ways, against a sorted list."""

import itertools
from typing import Any

import pytest

import kvarts
from tests.conformance.kinds import Make, skip_where_async

Db = kvarts.Store[bytes, bytes]

KEYS = [b"\0", b"a", b"a\0", b"a\xff", b"b", b"ba", b"c", b"\xff", b"\xff\xff"]
ROWS = [(key, b"v" + key) for key in KEYS]


@pytest.fixture
def rows(db: Db) -> Db:
    """The store with ROWS, some of them written twice, and deleted ones between."""
    for key in (*KEYS, b"aa", b"bb"):
        db[key] = b"old"
    db.flush()
    db.put_many(dict(ROWS))
    db.delete(b"aa")
    db.delete(b"bb")
    return db


def _within(key: bytes, start: bytes | None, stop: bytes | None, first: bool, last: bool) -> bool:
    above = start is None or key > start or (first and key == start)
    below = stop is None or key < stop or (last and key == stop)
    return above and below


BOUNDS = [None, b"\0", b"a", b"a\0", b"aa", b"b", b"bz", b"\xff\xff", b"\xff\xff\xff"]


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("include_start", [False, True], ids=["(", "["])
@pytest.mark.parametrize("include_stop", [False, True], ids=[")", "]"])
def test_bounds(rows: Db, reverse: bool, include_start: bool, include_stop: bool) -> None:
    flags = {"reverse": reverse, "include_start": include_start, "include_stop": include_stop}
    for start, stop in itertools.product(BOUNDS, BOUNDS):
        wanted = [row for row in ROWS if _within(row[0], start, stop, include_start, include_stop)]
        wanted = wanted[::-1] if reverse else wanted
        assert list(rows.scan(start, stop, **flags)) == wanted, (start, stop)  # type: ignore[arg-type]


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("prefix", [b"a", b"b", b"\xff", b"\xff\xff", b"x", b"a\xff"])
def test_prefix(rows: Db, prefix: bytes, reverse: bool) -> None:
    wanted = [row for row in ROWS if row[0].startswith(prefix)]
    assert list(rows.scan(prefix=prefix, reverse=reverse)) == (wanted[::-1] if reverse else wanted)


def test_prefix_narrows_bounds(rows: Db) -> None:
    assert list(rows.scan(b"a\0", prefix=b"a").keys()) == [b"a\0", b"a\xff"]
    assert list(rows.scan(None, b"a\xff", prefix=b"a").keys()) == [b"a", b"a\0"]
    assert list(rows.scan(b"b", prefix=b"a")) == []


@pytest.mark.parametrize("limit", [0, 1, 3, 9, 100])
def test_limit(rows: Db, limit: int) -> None:
    assert list(rows.scan(limit=limit)) == ROWS[:limit]
    assert list(rows.scan(limit=limit, reverse=True)) == ROWS[::-1][:limit]


def test_limit_below_zero_is_refused(rows: Db) -> None:
    for limit in (-1, -(2**70)):
        with pytest.raises(kvarts.InvalidArgument):
            rows.scan(limit=limit)
    assert list(rows.scan(limit=2**70)) == ROWS


def test_dict_of_a_scan(rows: Db) -> None:
    assert dict(rows.scan()) == dict(ROWS)
    assert list(dict(rows[b"c":b"a":-1])) == []
    assert list(dict(rows[b"a":b"c":-1]).items()) == [row for row in ROWS[::-1] if b"a" <= row[0] < b"c"]
    assert dict(rows.scan(prefix=b"a", limit=2)) == dict(ROWS[1:3])
    gathered = {b"a": b"", b"z": b"z"}
    gathered.update(rows[b"a":b"b"])
    assert gathered == {b"z": b"z", **dict(ROWS[1:4])}
    assert rows.stats().snapshots == 0


def test_dict_of_a_scan_sees_the_store_as_of_its_creation(rows: Db) -> None:
    scan = rows.scan()
    rows.delete(b"a")
    rows.update({b"b": b"new", b"bc": b"new"})
    rows.flush()
    rows.compact()
    rows[b"c"] = b"newer"
    assert dict(scan) == dict(ROWS)
    with pytest.raises(kvarts.KeyNotFound):
        scan[b"bc"]
    scan.close()
    assert rows.stats().snapshots == 0


def test_scan_is_no_list(rows: Db) -> None:
    with pytest.raises(TypeError, match="list"):
        rows.scan()[b"a"]
    with pytest.raises(TypeError):
        reversed(rows.scan())  # type: ignore[call-overload]


def test_keys_values_and_chunks(rows: Db) -> None:
    assert list(rows.scan().keys()) == KEYS
    assert list(rows.scan().values()) == [value for _, value in ROWS]
    assert list(rows.scan().chunks(4)) == [ROWS[:4], ROWS[4:8], ROWS[8:]]
    assert list(rows.scan().keys().chunks(100)) == [KEYS]
    assert list(rows.scan(reverse=True, limit=3).keys().chunks(2)) == [KEYS[:-3:-1], [KEYS[-3]]]
    for rows_per_list in (0, -1, -(2**70)):
        with pytest.raises(kvarts.InvalidArgument):
            rows.scan().chunks(rows_per_list)
    assert list(rows.scan().chunks(2**70)) == [ROWS]


def test_slices(rows: Db) -> None:
    assert list(rows[b"a":b"c"]) == [row for row in ROWS if b"a" <= row[0] < b"c"]
    assert list(rows[b"a":b"c":-1]) == [row for row in ROWS[::-1] if b"a" <= row[0] < b"c"]
    assert list(rows[:]) == ROWS
    assert list(rows[::-1]) == ROWS[::-1]
    assert list(rows[b"b":]) == [row for row in ROWS if row[0] >= b"b"]
    with pytest.raises(kvarts.InvalidArgument):
        rows[::2]


def test_delete_of_a_slice(rows: Db) -> None:
    del rows[b"a":b"b"]
    assert list(rows) == [key for key in KEYS if not b"a" <= key < b"b"]
    del rows[:]
    assert list(rows) == []


def test_scan_sees_the_store_as_of_its_creation(rows: Db) -> None:
    forward, backward = rows.scan(), rows.scan(reverse=True)
    assert next(forward) == ROWS[0]
    rows[b"aaa"] = b"new"
    rows.delete(b"b")
    rows.flush()
    rows.compact()
    rows[b"c"] = b"newer"
    assert list(forward) == ROWS[1:]
    assert list(backward) == ROWS[::-1]
    assert rows.get(b"b") is None


def test_scan_is_its_own_iterator_and_stays_ended(rows: Db) -> None:
    scan = rows.scan(limit=1)
    assert iter(scan) is scan
    assert next(scan) == ROWS[0]
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(scan)


def test_closed_scan_is_at_its_end(rows: Db) -> None:
    with rows.scan() as scan:
        next(scan)
    assert list(scan) == []
    scan.close()
    assert rows.stats().snapshots == 0


def test_ended_scan_holds_nothing(rows: Db) -> None:
    scan = rows.scan()
    list(scan)
    assert rows.stats().snapshots == 0


def test_scan_in_another_thread_is_refused(rows: Db) -> None:
    from concurrent.futures import ThreadPoolExecutor

    skip_where_async(rows, "an async scan belongs to a task, not to a thread")
    scan = rows.scan()
    with ThreadPoolExecutor(1) as pool, pytest.raises(kvarts.WrongThread):
        pool.submit(next, scan).result()
    assert next(scan) == ROWS[0]


def test_long_scan_over_many_chunks(db: Db) -> None:
    keys = [b"%05d" % number for number in range(5000)]
    db.put_many((key, key * 3) for key in keys)
    db.flush()
    db.delete_many(keys[1::2])
    assert list(db.scan().keys()) == keys[::2]
    assert list(db.scan(reverse=True)) == [(key, key * 3) for key in keys[::2][::-1]]
    assert sum(len(chunk) for chunk in db.scan().chunks(999)) == 2500


def test_mixed_sizes_scan_whole(db: Db) -> None:
    rows = [(b"%03d" % number, bytes([number]) * (number * number % 9001)) for number in range(200)]
    db.put_many(rows)
    assert list(db.scan()) == rows
    db.flush()
    assert list(db.scan(reverse=True)) == rows[::-1]


@pytest.mark.parametrize(
    "arguments",
    [
        {"start": "a"},
        {"stop": 1},
        {"prefix": 2.5},
        {"limit": "1"},
        {"limit": 1.0},
        {"reverse": 1},
        {"include_start": 0},
        {"include_stop": "yes"},
    ],
    ids=repr,
)
def test_wrong_types_in_scan(rows: Db, arguments: dict[str, Any]) -> None:
    with pytest.raises(kvarts.WrongType):
        rows.scan(**arguments)


def test_prefix_of_keys_without_order_of_bytes_is_refused(make: Make) -> None:
    db = make(key=kvarts.U64)
    with pytest.raises(kvarts.InvalidArgument):
        db.scan(prefix=1)
