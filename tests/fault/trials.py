"""Runs trials, each in a process of its own, and looks at what each leaves: `python -m tests.fault.trials`.

A trial that hangs is ended by its watchdog, which prints where every thread stands. What fails is printed with the
command that runs it again: `--seed S --first N --count 1`.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import kvarts
from tests.fault import trial
from tests.fault.trial import BARK, BATCH, HANG_S, OPTIONS, UNEXPECTED

ENDS = {0, -signal.SIGKILL}


def acknowledged(journal: bytes) -> dict[bytes, set[bytes]]:
    """Return what each key may hold by a journal: its last acknowledged value, or one tried since. b"-" is absence."""
    rows: dict[bytes, tuple[bytes, bytes]] = {}
    may: dict[bytes, set[bytes]] = {}
    for line in journal.splitlines():
        word, number, *row = line.split(b" ", 3)
        if word == b"try":
            key, value = row
            rows[number] = (key, value)
            may.setdefault(key, {b"-"}).add(value)
        else:
            key, value = rows[number]
            # A writer of one key waits for each answer: all that was tried before was answered, or never will be.
            may[key] = {value}
    return may


def check(folder: Path) -> None:
    """Open the store that a trial left, and compare it with the journal. Raises AssertionError."""
    may = acknowledged((folder / "journal").read_bytes())
    stores = [path for path in folder.iterdir() if path.name.startswith(("copy-", "child-"))]
    with kvarts.open(folder / "store", **OPTIONS) as db:
        report = db.verify()
        assert report.ok, report.damage
        rows = dict(db)
    for key, values in may.items():
        assert rows.get(key, b"-") in values, f"{key!r} holds {rows.get(key)!r}, not one of {values}"
    for key in rows.keys() - may.keys():
        assert key == b"boom", f"{key!r} was never written"
    batches = {key.rpartition(b"/")[0] for key in rows if b"/batch" in key}
    for name in batches:
        parts = {rows.get(b"%s/batch%d" % (name, part)) for part in range(BATCH)}
        assert len(parts) == 1, f"half a batch of {name!r}: {parts}"
    for path in stores:
        if (path / "MANIFEST").exists():
            with kvarts.open(path) as copy:
                assert copy.verify().ok


def in_child(action: Callable[[], object], output: Path) -> int:
    """Run in a forked process, its output in a file; return its exit code, negative for a signal."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return _wait(child)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    action()
    # Back to the top, so that the interpreter ends as that of a program does.
    raise EndOfChild


def _wait(child: int) -> int:
    """Wait for a child, and end it where it hangs."""
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, BARK))
    signal.alarm(HANG_S)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        signal.alarm(0)


class EndOfChild(SystemExit):
    """The way of a forked process out of the runner."""


def run_one(seed: str, top: Path) -> str:
    """Run a trial and look at what it left. Returns what is wrong, or nothing."""
    folder = Path(tempfile.mkdtemp(prefix="trial-", dir=top))
    output = folder / "output"
    ended = in_child(lambda: trial.run(seed, folder), output)
    if ended not in ENDS:
        return f"it ended with {ended}:\n{output.read_text(errors='replace')}"
    looked = in_child(lambda: _check_or_tell(folder), output)
    if looked != 0:
        return f"what it left is not right ({looked}):\n{output.read_text(errors='replace')}"
    shutil.rmtree(folder)
    return ""


def _check_or_tell(folder: Path) -> None:
    try:
        check(folder)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(UNEXPECTED)


def run_many(seed: int, first: int, count: int, *, top: Path, seconds: float = float("inf")) -> tuple[int, list[str]]:
    """Run trials one after the other, until the time is up. Returns how many ran, and what failed."""
    warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
    failures: list[str] = []
    begun = time.monotonic()
    done = 0
    for number in range(first, first + count):
        if time.monotonic() - begun > seconds:
            break
        wrong = run_one(f"{seed}/{number}", top)
        done += 1
        if done % 100 == 0:
            print(f"{done} of {count} trials", file=sys.stderr, flush=True)
        if wrong:
            again = f"python -m tests.fault.trials --seed {seed} --first {number} --count 1"
            failures.append(f"trial {seed}/{number}: {wrong}\nagain: {again}")
            print(failures[-1], flush=True)
    return done, failures


def main() -> None:
    """Run trials as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--top", type=Path, help="where the stores lie; kept where a trial fails")
    given = parser.parse_args()
    top = given.top or Path(tempfile.mkdtemp(prefix="kvarts-trials-"))
    begun = time.monotonic()
    done, failures = run_many(given.seed, given.first, given.count, top=top)
    print(f"{done} trials, {len(failures)} failed, {time.monotonic() - begun:.0f} s, seed {given.seed}", flush=True)
    if not failures and given.top is None:
        shutil.rmtree(top)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
