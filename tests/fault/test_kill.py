"""SIGKILL at a seeded moment: every acknowledged write of every level but `none` is there, and nothing has a hole."""

import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import kvarts
from kvarts.base.options import Durability
from tests.fault.workload import LONG_BYTES_MIN, options, state, step, steps_found
from tests.processes import python, surroundings

ROUNDS = int(os.environ.get("KVARTS_KILL_ROUNDS", "8"))
SEED = int(os.environ.get("KVARTS_SEED", "20"))
ACKS_MAX = {"sync": 400, "batch": 3000, "none": 3000}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("durability", ["sync", "batch", "none"])
def test_killed_process_loses_nothing_acknowledged(
    tmp_path: Path, durability: Durability, threads: int, figure: Callable[[str], None]
) -> None:
    print(f"seed={SEED} replay: KVARTS_SEED={SEED} nox -s test -- tests/fault/test_kill.py")
    random_ = random.Random(f"{SEED} {durability} {threads}")
    starts, acknowledged = [0] * threads, 0
    for round_ in range(ROUNDS):
        acks = _run_and_kill(tmp_path / "s", durability, starts, random_.randrange(1, ACKS_MAX[durability]))
        acknowledged += sum(acks) - sum(starts)
        found = _steps_after(tmp_path / "s", durability, threads)
        for thread in range(threads):
            if durability != "none":
                assert found[thread] >= acks[thread], f"round {round_}: acknowledged steps of thread {thread} are gone"
        starts = found
    assert acknowledged > ROUNDS
    figure(f"SIGKILL, {durability}, {threads} writers: {ROUNDS} kills, {acknowledged} acknowledged steps")


def _run_and_kill(path: Path, durability: Durability, starts: list[int], acks_before_kill: int) -> list[int]:
    """Runs the writer until it has acknowledged so many steps, kills it, and returns how many steps each thread had."""
    command = python("-m", "tests.fault.writer", str(path), durability, str(SEED), *map(str, starts))
    acks = list(starts)
    with subprocess.Popen(command, stdout=subprocess.PIPE, **surroundings()) as child:
        assert child.stdout is not None
        for count, line in enumerate(child.stdout, 1):
            if count == acks_before_kill:
                child.send_signal(signal.SIGKILL)
            if line.endswith(b"\n"):
                thread, number = map(int, line.split())
                acks[thread] = number + 1
    assert child.returncode == -signal.SIGKILL, "the writer ended by itself"
    return acks


def _steps_after(path: Path, durability: Durability, threads: int) -> list[int]:
    """Opens the store, checks it against the workload, and returns the steps found of each thread."""
    with kvarts.open(path, **options(durability)) as db:
        rows = dict(db)
        assert db.verify().ok
    found = [steps_found(rows, thread) for thread in range(threads)]
    wanted: dict[bytes, bytes] = {}
    for thread, steps in enumerate(found):
        wanted |= state(SEED, thread, steps)
    assert rows == wanted
    return found


def test_steps_take_both_ways_into_a_mapped_log() -> None:
    steps = [step(SEED, 0, number) for number in range(200)]
    sizes = [sum(len(value or b"") for _, value in writes) for writes in steps]
    alone = {size >= LONG_BYTES_MIN for size, writes in zip(sizes, steps, strict=True) if len(writes) == 1}
    in_batches = {size >= LONG_BYTES_MIN for size, writes in zip(sizes, steps, strict=True) if len(writes) > 1}
    assert alone == in_batches == {True, False}
    assert sum(map(len, state(SEED, 0, 1000).values())) < 1 << 20, "long values do not stay"


def test_the_alarm_rings_for_a_hole_and_for_a_torn_batch() -> None:
    """A canary: the checks above must be able to fail."""
    rows = state(1, 0, 40)
    del rows[b"0/step/%08d" % 7]
    with pytest.raises(AssertionError, match="hole"):
        steps_found(rows, 0)
    torn = state(1, 0, 30) | {key: value for key, value in step(1, 0, 30)[:1] if value is not None}
    assert steps_found(torn, 0) == 31
    assert torn != state(1, 0, 31)
