"""Nodes that die, hang and forget cost callers time, not errors; and a write takes place once."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import kvarts
from tests.tiny import Tiny

Db = kvarts.Store[bytes, bytes]


def test_a_leader_that_steps_down_is_followed(three: Tiny, db: Db) -> None:
    for node in (2, 3, 1):
        three.tell(f"lead {node}")
        db[b"node"] = b"%d" % node
        assert db[b"node"] == b"%d" % node


def test_a_leader_that_dies_is_replaced(three: Tiny, db: Db) -> None:
    db[b"a"] = b"1"
    three.tell("lead 2")
    three.tell("kill 1")
    assert db[b"a"] == b"1"
    three.tell("start 1")
    three.tell("lead 1")
    three.tell("kill 2")
    assert db.put(b"a", b"2") == db.revision


def test_a_leader_that_hangs_is_replaced(three: Tiny, db: Db) -> None:
    db[b"a"] = b"1"
    three.tell("hang 1")
    three.tell("lead 2")
    assert db.incr(b"n") == 1
    assert db[b"a"] == b"1"


def test_one_host_is_enough_to_know_all(three: Tiny) -> None:
    with kvarts.open(three.uri_of(3)) as db:
        db[b"a"] = b"1"
        three.tell("lead 2")
        three.tell("kill 1")
        three.tell("kill 3")
        assert db[b"a"] == b"1"


def test_first_hosts_may_be_dead(three: Tiny) -> None:
    three.tell("lead 3")
    three.tell("kill 1")
    three.tell("hang 2")
    with kvarts.open(three.uri) as db:
        assert db.put(b"a", b"1") == db.revision


def test_a_write_whose_answer_is_lost_takes_place_once(three: Tiny, db: Db) -> None:
    for expected in range(1, 6):
        three.tell("swallow 1")
        assert db.incr(b"n") == expected
    three.tell("swallow 1")
    with pytest.raises(kvarts.ConditionFailed):
        db.put(b"n", b"0", if_=kvarts.ABSENT)
    assert db[b"n"] == b"5"


def test_a_forgotten_session_is_replaced_unseen(three: Tiny, db: Db) -> None:
    assert db.incr(b"n") == 1
    three.tell("expire")
    assert db.incr(b"n") == 2


def test_a_session_forgotten_between_two_tries_is_an_error_that_says_so(three: Tiny, db: Db) -> None:
    db[b"a"] = b"1"
    three.tell("forget 1")
    with pytest.raises(kvarts.SessionExpired) as caught:
        db.incr(b"n")
    assert caught.value.maybe_applied
    assert db.incr(b"n") == 2, "it had been applied, and a new session goes on"


def test_a_busy_node_is_asked_again(three: Tiny, db: Db) -> None:
    three.tell("busy 5")
    db[b"a"] = b"1"
    three.tell("busy 5")
    assert db[b"a"] == b"1"


def test_threads_see_no_error_and_no_write_twice_while_leaders_come_and_go(three: Tiny, db: Db) -> None:
    def count(worker: int) -> int:
        return [db.incr(b"%d" % worker) for _ in range(200)][-1]

    with ThreadPoolExecutor(8) as pool:
        counts = [pool.submit(count, worker) for worker in range(8)]
        for turn in range(6):
            leader, next_one = turn % 3 + 1, (turn + 1) % 3 + 1
            three.tell("swallow 1")
            three.tell(f"lead {next_one}")
            three.tell(f"kill {leader}")
            db.incr(b"turns")
            three.tell(f"start {leader}")
        assert [each.result(60) for each in counts] == [200] * 8
    assert db[b"turns"] == b"6"


# Errors


def test_without_a_leader_nothing_is_written_and_the_nodes_are_named(three: Tiny, db: Db) -> None:
    db[b"a"] = b"1"
    three.tell("lead 0")
    untyped: Any = db
    uses: tuple[Callable[[], object], ...] = (
        lambda: untyped.get(b"a", timeout=0.3),
        lambda: untyped.put(b"a", b"2", timeout="300ms"),
    )
    for use in uses:
        with pytest.raises(kvarts.Unavailable) as caught:
            use()
        assert isinstance(caught.value, ConnectionError)
        assert all(address in str(caught.value) for address in three.addresses)
        assert "knows no leader" in str(caught.value)
        assert not caught.value.maybe_applied
    three.tell("lead 3")
    assert db[b"a"] == b"1"


def test_open_without_any_node_says_why() -> None:
    with pytest.raises(kvarts.Unavailable) as caught:
        kvarts.open("kvarts://127.0.0.1:1?timeout=200ms")
    assert "127.0.0.1:1" in str(caught.value)
    assert "refused" in str(caught.value)


def test_a_node_that_does_not_answer(one: Tiny) -> None:
    untyped: Any
    with kvarts.open(one.uri) as untyped:
        untyped[b"a"] = b"1"
        one.tell("hang 1")
        with pytest.raises(kvarts.DeadlineExceeded) as late:
            untyped.get(b"a", timeout=0.2)
        assert isinstance(late.value, TimeoutError)
        with pytest.raises(kvarts.CommitUnknown) as unknown:
            untyped.put(b"a", b"2", timeout=0.2)
        assert unknown.value.maybe_applied
        one.tell("wake 1")
        assert untyped[b"a"] == b"1"


def test_a_request_too_large_for_a_node_fails_alone(one: Tiny) -> None:
    with kvarts.open(one.uri) as db:
        with pytest.raises(kvarts.LimitExceeded):
            db[b"a"] = bytes((8 << 20) + 1)
        with pytest.raises(kvarts.LimitExceeded):
            db[b"a"] = bytes(7 << 20)  # A tiny node takes less than clients are told.
        db[b"a"] = b"1"
        assert dict(db) == {b"a": b"1"}


def test_stale_reads_need_no_leader(three: Tiny, db: Db) -> None:
    db[b"a"] = b"1"
    three.tell("lead 0")
    untyped: Any = db
    assert untyped.get(b"a", consistency="stale") == b"1"
    assert list(untyped.scan(consistency="stale", max_staleness=5)) == [(b"a", b"1")]
    three.tell("lag 2000")
    with pytest.raises(kvarts.Unavailable):
        untyped.get(b"a", consistency="stale", max_staleness=1, timeout=0.3)
    three.tell("lead 1")
    assert untyped.get(b"a", consistency="stale", max_staleness=1) == b"1", "the leader does not lag"


def test_a_store_may_read_stale_by_default(three: Tiny) -> None:
    with kvarts.open(three.uri + "?consistency=stale") as db:
        db[b"a"] = b"1"
        three.tell("lead 0")
        untyped: Any = db
        assert untyped[b"a"] == b"1"
        with pytest.raises(kvarts.Unavailable):
            untyped.get(b"a", consistency="linearizable", timeout=0.2)


# Waiting


def test_close_ends_calls_that_wait(one: Tiny) -> None:
    db = kvarts.open(one.uri)
    db[b"a"] = b"1"
    one.tell("hang 1")
    started = threading.Event()

    def wait() -> None:
        started.set()
        db.get(b"a")

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        started.wait()
        db.close()
        with pytest.raises(kvarts.ClosedError):
            waiting.result(10)
    db.close()


def test_a_signal_ends_a_call_that_waits(one: Tiny) -> None:
    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    with kvarts.open(one.uri) as db:
        db[b"a"] = b"1"
        one.tell("hang 1")
        before = signal.signal(signal.SIGALRM, stop)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Stop):
                db.get(b"a", timeout=60)  # type: ignore[call-overload]
        finally:
            signal.signal(signal.SIGALRM, before)
        one.tell("wake 1")
        assert db[b"a"] == b"1"


def test_get_many_of_more_bytes_than_an_answer_holds_is_asked_in_parts(one: Tiny) -> None:
    one.tell("answers 100000")
    with kvarts.open(one.uri) as db:
        rows = {b"%04d" % number: bytes(1000) for number in range(2000)}
        db.put_many(rows)
        assert db.get_many(list(rows)) == list(rows.values())
