"""How a program may end with stores open: each way as a fact of its own. `test_trials` mixes them at random."""

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

import kvarts
from tests.processes import python, surroundings

ROWS = 2000

BEGIN = f"""
import os, signal, sys, threading, kvarts
db = kvarts.open(sys.argv[1], memory="1MiB", durability="batch")
db.update({{b"%d" % number: bytes(100) for number in range({ROWS})}})
scan, snapshot, view, items = db.scan(), db.snapshot(), db.prefixed(b"1"), iter(db.items())
next(scan)
"""

ENDS: dict[str, tuple[str, int]] = {
    "falls off its end": ("", 0),
    "sys.exit": ("sys.exit(0)", 0),
    "an exception": ("raise SystemExit(3)", 3),
    "os._exit": ("os._exit(0)", 0),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "in a thread that is waited for": (
        """
def later():
    threading.main_thread().join()
    for number in range(500):
        assert db.get(b"1") == bytes(100)
threading.Thread(target=later).start()
""",
        0,
    ),
    "beside a daemon thread that writes": (
        """
begun = threading.Event()
def writes():
    while True:
        db.put(b"more", b"1")
        begun.set()
threading.Thread(target=writes, daemon=True).start()
begun.wait()
""",
        0,
    ),
    "beside a daemon thread that scans": (
        """
begun = threading.Event()
def reads():
    while True:
        list(db.scan(reverse=True))
        begun.set()
threading.Thread(target=reads, daemon=True).start()
begun.wait()
""",
        0,
    ),
    "with the store held by a circle": ("circle = [db, scan]; circle.append(circle); del db, scan, snapshot, view", 0),
    "with the store held by a module": ("import types; sys.modules['held'] = types.SimpleNamespace(db=db)", 0),
    "in an exit handler that uses it": ("import atexit; atexit.register(lambda: db.get(b'1'))", 0),
}


@pytest.mark.parametrize("end", ENDS)
def test_program_that_ends_with_open_stores_loses_nothing(tmp_path: Path, end: str) -> None:
    program, code = ENDS[end]
    done = subprocess.run(
        python("-X", "dev", "-W", "error", "-c", BEGIN + program, str(tmp_path / "s")),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **surroundings(),
    )
    assert done.returncode == code, done.stderr
    # A daemon thread may be cut off, or hear that the store is closed; nothing else is said.
    assert "ClosedError" in done.stderr or not done.stderr, done.stderr
    with kvarts.open(tmp_path / "s") as db:
        assert db.verify().ok
        assert sum(1 for key in db if key != b"more") == ROWS
        if code >= 0 and "_exit" not in end:
            assert db.open_report.replayed == 0, "it was closed: nothing is replayed"


@pytest.mark.parametrize("reading", ["scan", "get", "get_many", "snapshot"])
def test_close_beside_a_read_ends_it_or_lets_it_end(tmp_path: Path, reading: str) -> None:
    db = kvarts.open(tmp_path / "s", memory="1MiB", block_bytes=512)
    db.put_many((b"%06d" % number, bytes(100)) for number in range(20_000))
    db.flush()
    begun, wrong = threading.Event(), []

    def once() -> object:
        if reading == "scan":
            return [key for key, _ in db.scan()]
        if reading == "get":
            return [db.get(b"%06d" % number) for number in range(0, 20_000, 37)]
        if reading == "get_many":
            return db.get_many([b"%06d" % number for number in range(0, 20_000, 37)])
        with db.snapshot() as snapshot:
            return list(snapshot)

    def read() -> None:
        try:
            whole: Any = once()
            while once() == whole:
                begun.set()
            wrong.append("a read was cut short, and did not say so")
        except kvarts.ClosedError:
            pass
        except BaseException as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait()
    db.close()
    for thread in threads:
        thread.join()
    assert wrong == []
    with kvarts.open(tmp_path / "s") as again:
        assert len(again) == 20_000


def test_subinterpreter_is_refused_by_name(tmp_path: Path) -> None:
    program = """
import kvarts, importlib
kvarts.open(":memory:").close()
for name in ("_interpreters", "_xxsubinterpreters"):
    try:
        interpreters = importlib.import_module(name)
        break
    except ImportError:
        pass
inner = interpreters.create()
interpreters.run_string(inner, '''
import kvarts
try:
    kvarts.open(":memory:")
except ImportError as error:
    assert "subinterpreter" in str(error), error
else:
    raise AssertionError
''')
kvarts.open(":memory:").close()
print("well")
"""
    done = subprocess.run(python("-c", program), capture_output=True, text=True, check=False, **surroundings())
    assert done.stdout == "well\n", done.stderr


def test_batch_that_is_dropped_with_writes_in_it_says_so() -> None:
    with kvarts.open(":memory:") as db:
        batch: Any = db.batch()
        batch.put(b"a", b"1")
        with pytest.warns(ResourceWarning, match="a batch of 1 writes was dropped"):
            del batch
        db.batch()
        with db.batch() as used:
            used.put(b"b", b"1")
        del used
        with pytest.raises(ZeroDivisionError), db.batch() as failed:
            failed.put(b"c", b"1")
            _ = 1 / 0
        assert dict(db) == {b"b": b"1"}


def test_example_without_arguments_tells_how_it_is_used(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "word_index.py"
    for arguments in ([], [str(tmp_path / "i")], [str(tmp_path / "i"), "--find"]):
        done = subprocess.run(
            python(str(example), *arguments), capture_output=True, text=True, check=False, **surroundings()
        )
        assert done.returncode == 1
        assert "python examples/word_index.py INDEX FILE" in done.stderr
        assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []
