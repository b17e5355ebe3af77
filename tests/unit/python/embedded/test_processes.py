"""One process holds a store: a second opener is told who, a forked child is refused, a forgetful program is closed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kvarts

FORK = """
import os, sys, kvarts
from kvarts import ForkedHandle, KvartsError

def refused(use):
    try:
        use()
    except ForkedHandle as error:
        assert error.code == "KV-1010"
        return True
    return False

def in_child(parts):
    db, scan, snapshot, batch, view = parts
    uses = [
        lambda: db.get(b"a"), lambda: db[b"a"], lambda: b"a" in db, lambda: db.put(b"a", b"2"), lambda: list(db),
        lambda: db.delete(b"a"), lambda: len(db), lambda: bool(db), lambda: db.get_many([b"a"]), lambda: db.clear(),
        lambda: db.update(a=1), lambda: db.batch(), lambda: db.snapshot(), lambda: db.keyspace("x"), lambda: db.flush(),
        lambda: db.stats(), lambda: db.verify(), lambda: db.revision, lambda: snapshot.get(b"a"), lambda: next(scan),
        lambda: view.get(b"a"), lambda: batch.put(b"a", b"3"), lambda: db.incr(b"n"), lambda: db.pop(b"a", None),
    ]
    kept = [number for number, use in enumerate(uses) if not refused(use)]
    assert not kept, f"not refused: {kept}"
    assert "forked" in repr(db) and db.closed
    db.close()
    del uses, use_later[:], db, scan, snapshot, batch, view
    parts.clear()

db = kvarts.open(sys.argv[1])
db.update({b"a": b"1", b"b": b"2"})
scan = db.scan()
next(scan)
use_later = []
parts = [db, db.scan(), db.snapshot(), db.batch(), db.prefixed(b"x")]
pid = os.fork()
if pid == 0:
    try:
        in_child(parts)
        sys.exit(0)  # Runs the exit handlers, which must leave the parent's store alone.
    except Exception:
        import traceback
        traceback.print_exc()
        os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert list(scan) == [(b"b", b"2")]
assert db.put(b"c", b"3") and dict(db) == {b"a": b"1", b"b": b"2", b"c": b"3"}
db.close()
with kvarts.open(sys.argv[1]) as again:
    assert len(again) == 3 and again.verify().ok
print("well")
"""

POOL = """
import multiprocessing, sys, kvarts

db = kvarts.open(sys.argv[1])
db[b"a"] = b"1"

def work(_):
    try:
        return db.get(b"a")
    except kvarts.ForkedHandle:
        return "refused"

with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(work, range(4)) == ["refused"] * 4
assert db[b"a"] == b"1"
print("well")
"""

HELD_BY_CHILD = """
import os, sys, kvarts

db = kvarts.open(sys.argv[1])
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(write)
    os.read(read, 1)  # Lives until the parent is done.
    os._exit(0)
db.close()
kvarts.open(sys.argv[1]).close()
os.write(write, b"x")
os.waitpid(pid, 0)
print("well")
"""


def run(program: str, *arguments: object) -> str:
    """Runs a program and returns what it printed."""
    words = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.mark.parametrize("program", [FORK, POOL, HELD_BY_CHILD], ids=["fork", "pool", "close beside a child"])
def test_forked_child_is_refused_and_the_parent_goes_on(tmp_path: Path, program: str) -> None:
    assert run(program, tmp_path / "s") == "well"


@pytest.mark.parametrize(("words", "told_of"), [(3, 3), (10_000, 1)], ids=["all of it", "a long command line"])
def test_second_process_is_told_who_holds_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: int, told_of: int
) -> None:
    ours = ["program", *(f"--option={number}" for number in range(1, words))]
    monkeypatch.setattr(sys, "argv", ours)
    program = """
import json, sys, kvarts
try:
    kvarts.open(sys.argv[1])
except kvarts.LockedError as error:
    print(json.dumps([error.pid, list(error.argv), str(error), error.retryable]))
"""
    with kvarts.open(tmp_path / "s"):
        pid, argv, told, retryable = json.loads(run(program, tmp_path / "s"))
    # What is too long is cut short, in a word too.
    assert (pid, argv[:-1]) == (os.getpid(), ours[: len(argv) - 1])
    assert len(argv) >= told_of
    assert ours[len(argv) - 1].startswith(argv[-1])
    assert (argv == ours) == (words == told_of)
    assert str(os.getpid()) in told
    assert retryable


def test_program_that_forgets_to_close_ends_well(tmp_path: Path) -> None:
    program = """
import sys, kvarts
db = kvarts.open(sys.argv[1], durability="none")
db.update({b"%d" % n: b"x" for n in range(1000)})
kept = db.scan(), db.snapshot(), db.batch()
"""
    run(program, tmp_path / "s")
    with kvarts.open(tmp_path / "s") as db:
        assert len(db) == 1000
        assert db.open_report.replayed == 0


def test_store_that_is_dropped_is_closed(tmp_path: Path) -> None:
    db = kvarts.open(tmp_path / "s")
    db[b"a"] = b"1"
    del db
    with kvarts.open(tmp_path / "s") as again:
        assert again[b"a"] == b"1"
