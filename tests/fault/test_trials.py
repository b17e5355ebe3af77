"""Random trials of opening, closing, threads, forks and ends: none hangs, crashes or damages a store. See `trial`."""

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fault.trials import acknowledged
from tests.processes import python, surroundings

TRIALS = int(os.environ.get("KVARTS_TRIALS", "500"))
SEED = int(os.environ.get("KVARTS_SEED", "1"))


def _memory_or(fallback: Path) -> Path:
    """Where stores of trials lie: what is tried is no disk, and one in memory syncs at once."""
    shared = Path("/dev/shm")  # a directory of our own is made there
    return shared if shared.is_dir() and os.access(shared, os.W_OK) else fallback


@pytest.mark.timeout(0)
def test_no_trial_hangs_crashes_or_damages(tmp_path: Path, figure: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="kvarts-trials-", dir=_memory_or(tmp_path)) as top:
        words = python("-m", "tests.fault.trials", "--seed", str(SEED), "--count", str(TRIALS), "--top", top)
        done = subprocess.run(words, capture_output=True, text=True, check=False, **surroundings())
    assert done.returncode == 0, f"{done.stdout[-20_000:]}\n{done.stderr[-2000:]}"
    figure(done.stdout.strip().splitlines()[-1])


def test_journal_knows_what_a_key_may_hold() -> None:
    journal = b"try 0 a 1\nack 0\ntry 1 a 2\ntry 2 b 1\ntry 3 c 1\ntry 4 c -\nack 3\nack 4\n"
    assert acknowledged(journal) == {b"a": {b"1", b"2"}, b"b": {b"-", b"1"}, b"c": {b"-"}}


def test_a_lost_row_and_half_a_batch_are_seen(tmp_path: Path) -> None:
    import kvarts
    from tests.fault.trials import check

    (tmp_path / "journal").write_bytes(b"try 0 a 1\nack 0\n")
    with kvarts.open(tmp_path / "store") as db:
        db.flush()
    with pytest.raises(AssertionError, match="b'a' holds None"):
        check(tmp_path)
    with kvarts.open(tmp_path / "store") as db:
        db.update({b"a": b"1", b"x/batch0": b"1"})
    (tmp_path / "journal").write_bytes(b"try 0 a 1\nack 0\ntry 1 x/batch0 1\n")
    with pytest.raises(AssertionError, match="half a batch"):
        check(tmp_path)
