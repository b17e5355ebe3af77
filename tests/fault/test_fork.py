"""A forked child cannot use, break or close its parent's store; it may open one of its own."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kvarts

# Python 3.12 and later warn of a fork beside threads; that it is survived is what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

Db = kvarts.Store[bytes, bytes]


def _in_child(action: Callable[[], object]) -> str:
    """Forks, runs `action` in the child, and returns what came of it: the name of an error, or the answer."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = repr(action())
        except BaseException as error:
            answer = type(error).__name__
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read().decode()
    assert os.waitpid(child, 0)[1] == 0, "the child crashed"
    return answer


def _batch(db: Db) -> None:
    with db.batch() as batch:
        batch[b"a"] = b"2"


USES: dict[str, Callable[[Db], object]] = {
    "get": lambda db: db.get(b"a"),
    "put": lambda db: db.put(b"a", b"2"),
    "scan": list,
    "batch": _batch,
    "snapshot": lambda db: db.snapshot(),
    "keyspace": lambda db: db.keyspace("other"),
    "flush": lambda db: db.flush(),
    "stats": lambda db: db.stats(),
    "len": len,
}


@pytest.mark.parametrize("use", USES)
def test_forked_child_is_refused_and_parent_goes_on(tmp_path: Path, use: str) -> None:
    with kvarts.open(tmp_path / "s", durability="sync") as db:
        db[b"a"] = b"1"
        assert _in_child(lambda: USES[use](db)) == "ForkedHandle"
        db[b"b"] = b"2"
        assert dict(db) == {b"a": b"1", b"b": b"2"}
    with kvarts.open(tmp_path / "s") as db:
        assert dict(db) == {b"a": b"1", b"b": b"2"}


def test_views_scans_and_snapshots_are_refused_too(tmp_path: Path) -> None:
    with kvarts.open(tmp_path / "s") as db:
        db.update({b"a": b"1", b"b": b"2"})
        scan, snapshot, view = db.scan(), db.snapshot(), db.prefixed(b"a")
        assert next(scan) == (b"a", b"1")
        for use in (lambda: next(scan), lambda: snapshot.get(b"a"), lambda: view.get(b"")):
            assert _in_child(use) == "ForkedHandle"
        assert next(scan) == (b"b", b"2")


def test_close_and_drop_in_the_child_leave_the_parent_alone(tmp_path: Path) -> None:
    db = kvarts.open(tmp_path / "s")
    db[b"a"] = b"1"
    held = [db]
    assert _in_child(db.close) == "None"
    assert _in_child(held.clear) == "None"
    assert _in_child(lambda: kvarts.open(tmp_path / "s")) == "LockedError", "the parent still holds the lock"
    db[b"b"] = b"2"
    db.close()
    with kvarts.open(tmp_path / "s") as again:
        assert dict(again) == {b"a": b"1", b"b": b"2"}


def test_child_opens_a_store_of_its_own(tmp_path: Path) -> None:
    with kvarts.open(tmp_path / "parent") as db:
        db[b"a"] = b"1"
        assert _in_child(lambda: _round_trip(tmp_path / "child")) == "b'1'"
        assert db[b"a"] == b"1"
    with kvarts.open(tmp_path / "child") as theirs:
        assert theirs[b"a"] == b"1"


def _round_trip(path: Path) -> Any:
    with kvarts.open(path) as db:
        db[b"a"] = b"1"
        db.flush()
        return db[b"a"]


def _report(db: Db, answers: Any) -> None:
    try:
        answers.put(db.get(b"a"))
    except kvarts.ForkedHandle as error:
        answers.put(error.code)


def test_multiprocessing_by_fork(tmp_path: Path) -> None:
    """Its child ends through Python's own exit, with finalisers and exit handlers."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    with kvarts.open(tmp_path / "s") as db:
        db[b"a"] = b"1"
        child = context.Process(target=_report, args=(db, answers))
        child.start()
        assert answers.get() == kvarts.ForkedHandle.code
        child.join(60)
        assert child.exitcode == 0
        db[b"b"] = b"2"
        db.flush()
    with kvarts.open(tmp_path / "s") as db:
        assert dict(db) == {b"a": b"1", b"b": b"2"}


OWN_STORES = """
import os, signal, sys
import kvarts

path = sys.argv[1]
with kvarts.open(path + "/parent") as db:
    for number in range(30):
        db[b"n"] = b"%d" % number
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            with kvarts.open(path + f"/{number}") as own:
                own[b"a"] = b"1"
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert status == 0, f"child {number} ended with {status}; 14 is a hang"
    assert db[b"n"] == b"29"
"""


def test_child_opens_stores_of_its_own_while_the_parents_threads_wait(tmp_path: Path) -> None:
    # The child inherits no thread: locks that keep a table of waiting threads hung it.
    subprocess.run([sys.executable, "-c", OWN_STORES, str(tmp_path)], check=True, timeout=200)
