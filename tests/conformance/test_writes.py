"""Revisions, conditions, incr, expiry, batches: writes that promise more than a dict's."""

import math
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import kvarts
from kvarts import ABSENT, ANY, PRESENT, AtRevision, Equals
from tests.conformance.kinds import Make, numbers_refusals, skip_where_together

Db = kvarts.Store[bytes, bytes]


def test_every_write_has_a_greater_revision(db: Db) -> None:
    revisions = [db.put(b"a", b"1"), db.put(b"a", b"1"), db.delete(b"a"), db.put_many({b"b": b"2"})]
    assert revisions == sorted(set(revisions))
    assert db.revision == revisions[-1]


def test_entry_carries_the_revision_that_wrote_it(db: Db) -> None:
    first = db.put(b"a", b"1")
    db.put(b"b", b"2")
    assert db.entry(b"a") == kvarts.Entry(b"1", first)


@pytest.mark.parametrize(
    ("condition", "absent_ok", "present_ok"),
    [
        (ANY, True, True),
        (ABSENT, True, False),
        (PRESENT, False, True),
        (Equals(b"old"), False, True),
        (Equals(b"other"), False, False),
        (Equals(b""), False, False),
        (AtRevision(0), None, False),
    ],
    ids=repr,
)
def test_condition_decides_whether_put_writes(db: Db, condition: Any, absent_ok: bool | None, present_ok: bool) -> None:
    if absent_ok is not None:
        _expect(db, b"absent", condition, holds=absent_ok, found=None)
    revision = db.put(b"present", b"old")
    _expect(db, b"present", condition, holds=present_ok, found=kvarts.Entry(b"old", revision))


def _expect(db: Db, key: bytes, condition: Any, *, holds: bool, found: Any) -> None:
    before = db.revision
    if holds:
        assert db.put(key, b"new", if_=condition) > before
        assert db[key] == b"new"
        return
    with pytest.raises(kvarts.ConditionFailed) as caught:
        db.put(key, b"new", if_=condition)
    assert caught.value.entry == found
    assert db.entry(key) == found
    assert db.revision == before or numbers_refusals(db)


def test_compare_and_set_by_revision(db: Db) -> None:
    first = db.put(b"a", b"1")
    second = db.put(b"a", b"2", if_=AtRevision(first))
    with pytest.raises(kvarts.ConditionFailed):
        db.put(b"a", b"3", if_=AtRevision(first))
    assert db.entry(b"a") == kvarts.Entry(b"2", second)


def test_condition_after_delete_sees_absence(db: Db) -> None:
    revision = db.put(b"a", b"1")
    db.delete(b"a")
    with pytest.raises(kvarts.ConditionFailed) as caught:
        db.put(b"a", b"2", if_=AtRevision(revision))
    assert caught.value.entry is None
    db.put(b"a", b"3", if_=ABSENT)
    assert db[b"a"] == b"3"


def test_incr_counts_from_zero_and_returns_the_sum(db: Db) -> None:
    assert db.incr(b"n") == 1
    assert db.incr(b"n", 41) == 42
    assert db.incr(b"n", -50) == -8
    assert db[b"n"] == b"-8"
    assert db.incr(b"n", by=0) == -8


def test_incr_refuses_what_is_no_number_and_what_does_not_fit(db: Db) -> None:
    db.update({b"word": b"x", b"top": b"%d" % (2**63 - 1), b"empty": b""})
    before = db.revision
    with pytest.raises(kvarts.CodecError):
        db.incr(b"word")
    with pytest.raises(kvarts.CodecError):
        db.incr(b"empty")
    with pytest.raises(kvarts.InvalidArgument):
        db.incr(b"top")
    assert db.revision == before or numbers_refusals(db)
    assert dict(db) == {b"word": b"x", b"top": b"%d" % (2**63 - 1), b"empty": b""}
    assert db.incr(b"top", -1) == 2**63 - 2


@pytest.mark.parametrize(("codec", "low", "high"), [(kvarts.U64, 0, 2**64 - 1), (kvarts.Str, -(2**63), 2**63 - 1)])
def test_incr_in_other_codecs(make: Make, codec: Any, low: int, high: int) -> None:
    db = make(value=codec)
    assert db.incr(b"n", 5) == 5
    assert db.incr(b"n", high - 5) == high
    with pytest.raises(kvarts.InvalidArgument):
        db.incr(b"n")
    assert db.incr(b"m", low) == low
    with pytest.raises(kvarts.InvalidArgument):
        db.incr(b"m", -1)


def test_incr_of_json_number(make: Make) -> None:
    db = make(value=kvarts.Json)
    assert db.incr(b"n", 3) == 3
    assert db[b"n"] == 3
    db[b"text"] = "three"
    with pytest.raises(kvarts.CodecError):
        db.incr(b"text")


@pytest.mark.parametrize(("codec", "one"), [(kvarts.Bytes, b"1"), (kvarts.Json, 1)], ids=["bytes", "json"])
def test_incr_leaves_a_value_its_end(make: Make, codec: Any, one: Any) -> None:
    db = make(value=codec)
    total = 0
    while total != 2:
        # On a machine with much else to do the value may be gone before it is counted up.
        db.put(b"n", one, ttl=0.5)
        total = db.incr(b"n")
    pulse, until = threading.Event(), time.monotonic() + 30
    while b"n" in db:
        assert time.monotonic() < until
        pulse.wait(0.02)


IMPOSSIBLE_TTLS = [
    0,
    -1,
    math.nan,
    math.inf,
    -math.inf,
    1e12,
    10**400,
    -(10**400),
    10**5000,
    timedelta(0),
    -timedelta(1),
]


@pytest.mark.parametrize("ttl", IMPOSSIBLE_TTLS, ids=range(len(IMPOSSIBLE_TTLS)))
def test_ttl_must_be_above_zero_and_within_reason(db: Db, ttl: Any) -> None:
    with pytest.raises(kvarts.InvalidArgument) as caught:
        db.put(b"a", b"1", ttl=ttl)
    with pytest.raises(kvarts.InvalidArgument) as caught_too, db.batch() as batch:
        batch.put(b"a", b"1", ttl=ttl)
    for error in (caught.value, caught_too.value):
        assert (error.code, error.hint) == ("KV-1001", "seconds above 0, at most 1e11")
    assert b"a" not in db


@pytest.mark.parametrize("number", [-1, 2**64, -(10**400), 10**5000], ids=["-1", "2**64", "-huge", "huge"])
def test_condition_on_a_number_that_no_revision_has(db: Db, number: int) -> None:
    db[b"a"] = b"1"
    with pytest.raises(kvarts.InvalidArgument) as caught:
        db.put(b"a", b"2", if_=AtRevision(number))
    assert (type(caught.value), caught.value.code) == (kvarts.InvalidArgument, "KV-1001")
    assert "2**64 - 1" in (caught.value.hint or "")
    assert db[b"a"] == b"1"


@pytest.mark.parametrize("number", [1.5, "1", None], ids=repr)
def test_condition_on_what_is_no_revision(db: Db, number: Any) -> None:
    with pytest.raises(kvarts.WrongType):
        db.put(b"a", b"2", if_=AtRevision(number))
    assert b"a" not in db


def test_ttl_of_wrong_type(db: Db) -> None:
    with pytest.raises(kvarts.WrongType):
        db.put(b"a", b"1", ttl="soon")  # type: ignore[arg-type]


def test_long_ttl_is_present(db: Db) -> None:
    db.put(b"a", b"1", ttl=3600)
    db.put(b"b", b"2", ttl=timedelta(days=1))
    assert dict(db) == {b"a": b"1", b"b": b"2"}


def test_batch_commits_as_one_revision(db: Db) -> None:
    db[b"gone"] = b"x"
    before = db.revision
    with db.batch() as batch:
        batch.put(b"a", b"1")
        batch[b"b"] = b"2"
        batch.delete(b"gone")
        del batch[b"absent"]
        assert len(batch) == 4
        assert b"a" not in db, "a batch is seen by nobody before its end"
    assert dict(db) == {b"a": b"1", b"b": b"2"}
    revision = batch.revision
    assert revision == db.revision
    assert revision is not None
    assert revision > before
    assert db.entry(b"a") == kvarts.Entry(b"1", revision)
    assert db.entry(b"b") == kvarts.Entry(b"2", revision)


def test_last_write_of_a_batch_wins(db: Db) -> None:
    with db.batch() as batch:
        batch[b"a"] = b"1"
        batch[b"a"] = b"2"
        batch[b"b"] = b"1"
        batch.delete(b"b")
        batch.delete(b"c")
        batch[b"c"] = b"3"
    assert dict(db) == {b"a": b"2", b"c": b"3"}


def test_batch_whose_block_raises_is_discarded(db: Db) -> None:
    before = db.revision
    with pytest.raises(ZeroDivisionError), db.batch() as batch:
        batch[b"a"] = b"1"
        raise ZeroDivisionError
    assert dict(db) == {}
    assert db.revision == before
    assert batch.revision is None


def test_empty_batch_commits_nothing(db: Db) -> None:
    before = db.revision
    with db.batch() as batch:
        pass
    assert batch.revision is None
    assert db.revision == before


def test_batch_reaches_other_keyspaces(db: Db) -> None:
    skip_where_together(db, "a batch is of one shard, and other keyspaces lie elsewhere")
    other = db.keyspace("beside", key=kvarts.Str, value=kvarts.Json)
    with db.batch() as batch:
        batch[b"a"] = b"1"
        batch.keyspace("beside", key=kvarts.Str, value=kvarts.Json)["b"] = [2]
        assert dict(other) == {}
    assert db[b"a"] == b"1"
    assert other["b"] == [2]
    ours, theirs = db.entry(b"a"), other.entry("b")
    assert ours is not None
    assert theirs is not None
    assert ours.revision == theirs.revision == batch.revision


def test_batch_used_after_its_end_is_refused(db: Db) -> None:
    with db.batch() as batch:
        batch[b"a"] = b"1"
    with pytest.raises(kvarts.KvartsError):
        batch[b"b"] = b"2"
    assert dict(db) == {b"a": b"1"}


def test_update_is_one_batch(db: Db) -> None:
    db.update({b"a": b"1", b"b": b"2"})
    ours, theirs = db.entry(b"a"), db.entry(b"b")
    assert ours is not None
    assert theirs is not None
    assert ours.revision == theirs.revision


def test_key_limits(db: Db) -> None:
    with pytest.raises(kvarts.LimitExceeded) as caught:
        db[b"k" * (64 * 1024 + 1)] = b"1"
    assert caught.value.hint or "64" in str(caught.value)
    longest = b"k" * (64 * 1024 - 16)
    db[longest] = b"1"
    assert db[longest] == b"1"


def test_empty_key_is_refused_but_in_a_prefixed_view() -> None:
    with kvarts.open() as db:
        with pytest.raises(kvarts.LimitExceeded):
            db[b""] = b"1"
        db.prefixed(b"p")[b""] = b"1"
        assert dict(db) == {b"p": b"1"}


def test_batch_over_a_quarter_of_memory_is_refused_with_a_hint() -> None:
    with kvarts.open(memory="4MiB") as db:
        before = db.revision
        with pytest.raises(kvarts.LimitExceeded) as caught:
            db[b"a"] = bytes((1 << 20) + 1)
        assert caught.value.hint
        with pytest.raises(kvarts.LimitExceeded), db.batch() as batch:
            for number in range(300):
                batch[b"%d" % number] = bytes(4096)
        assert dict(db) == {}
        assert db.revision == before
        db[b"a"] = bytes(1 << 19)
        assert len(db[b"a"]) == 1 << 19


def test_large_value_comes_back_whole(db: Db) -> None:
    value = bytes(range(256)) * 700
    db[b"a"] = value
    assert db[b"a"] == value
    assert db.get_many([b"a"]) == [value]
    assert list(db.scan()) == [(b"a", value)]


def test_arguments_that_cannot_be(db: Db) -> None:
    untyped: Any = db
    uses: list[Callable[[], object]] = [
        lambda: untyped.put(b"a", b"1", if_=None),
        lambda: untyped.update(None),
        lambda: untyped.update(7),
        lambda: untyped.put_many(None),
        lambda: untyped.get_many(7),
        lambda: untyped.delete_many(None),
        lambda: untyped.incr(b"a", "1"),
    ]
    for use in uses:
        with pytest.raises(kvarts.WrongType):
            use()
    with pytest.raises(kvarts.InvalidArgument):
        db.incr(b"a", 2**200)
    db.update()
    assert not db


def test_condition_that_fails_shows_what_was_found(db: Db) -> None:
    revision = db.put(b"a", b"v" * 1000)
    with pytest.raises(kvarts.ConditionFailed) as caught:
        db.put(b"a", b"2", if_=kvarts.ABSENT)
    shown = str(caught.value)
    assert "b'vvv" in shown
    assert f"revision {revision}" in shown
    assert len(shown) < 300
    assert caught.value.hint
    with pytest.raises(kvarts.ConditionFailed, match="absent"):
        db.put(b"b", b"2", if_=kvarts.PRESENT)


def test_get_many_of_very_many_keys(db: Db) -> None:
    keys = [b"%05d" % number for number in range(40_000)]
    db.put_many((key, key) for key in keys[::2])
    found = db.get_many(keys)
    assert found[::2] == keys[::2]
    assert not any(found[1::2])
    assert len(db) == 20_000
