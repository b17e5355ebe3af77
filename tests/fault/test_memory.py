"""`memory=` is kept: anonymous memory of a process that writes and reads many times its budget stays near it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import python, surroundings

BUDGET_MIB = 24
# What Python's own objects of a chunk in flight and the allocator may add; a leak or an unbounded cache is more.
SLACK_MIB = 12

CHILD = """
import random, sys, kvarts

def anonymous_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

random_ = random.Random(1)
values = [random_.randbytes(1000) for _ in range(100)]
with kvarts.open(sys.argv[1], memory=sys.argv[2], durability="none") as db:
    start = peak = anonymous_mib()
    for chunk in range(150):
        db.put_many((b"%012d" % random_.randrange(10**9), values[n % 100]) for n in range(1000))
        peak = max(peak, anonymous_mib())
    db.flush()
    for key, value in db.scan():
        pass
    for chunk in range(100):
        db.get_many([b"%012d" % random_.randrange(10**9) for _ in range(300)])
        peak = max(peak, anonymous_mib())
    print(start, peak, len(db), db.stats().table_bytes >> 20)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read a process's memory from")
def test_memory_stays_near_the_budget(tmp_path: Path, figure: Callable[[str], None]) -> None:
    command = python("-c", CHILD, str(tmp_path / "s"), f"{BUDGET_MIB}MiB")
    done = subprocess.run(command, capture_output=True, text=True, check=True, **surroundings())
    start, peak, rows, table_mib = map(float, done.stdout.split())
    figure(
        f"memory={BUDGET_MIB} MiB: {peak - start:.0f} MiB at most with {rows:.0f} rows, {table_mib:.0f} MiB of tables"
    )
    assert table_mib > 3 * BUDGET_MIB
    assert peak - start < BUDGET_MIB + SLACK_MIB


# Above 1.1 times the budget: what Python holds of 1,000 scans and their rows, stacks of threads, and the allocator.
SCANS = 1000
SCANS_BUDGET_MIB = int(os.environ.get("KVARTS_MEMORY_MIB", "16"))
SEED = int(os.environ.get("KVARTS_SEED", "20"))
SCANS_SLACK_MIB = 32

SCANNING = """
import random, sys

def anonymous_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

import kvarts, kvarts._native
bare = anonymous_mib()
path, budget, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random_ = random.Random(seed)
noise, peak = random_.randbytes(1 << 16), 0.0
key = b"%016d".__mod__
loads = (budget << 20) * 10 // 1016
with kvarts.open(path, memory=budget << 20, durability="none") as db:
    scans, last = [], []

    def start_scan():
        # In the midst: some rows were taken, the next ones wait in it.
        scan = iter(db.scan(start=key(random_.randrange(10**9))))
        taken = [next(scan, None) for _ in range(random_.choice([1, 40, 700]))]
        scans.append(scan)
        last.append(taken[-1])

    for number in range(loads):
        at = random_.randrange(60_000)
        db.put(key(random_.randrange(10**9)), noise[at : at + 1000])
        if number and number % (loads * 2 // SCANS) == 0:
            start_scan()
        if number % 1000 == 0:
            peak = max(peak, anonymous_mib())
    while len(scans) < SCANS:
        start_scan()
    peak = max(peak, anonymous_mib())
    for turn in range(3):
        for number, scan in enumerate(scans):
            for _ in range(random_.choice([1, 5, 300])):
                row = next(scan, None)
                if row is None:
                    break
                assert last[number] is None or row[0] > last[number][0], "in order, each once"
                last[number] = row
        peak = max(peak, anonymous_mib())
    print(bare, peak, len(scans), db.stats().table_bytes >> 20)
""".replace("SCANS", str(SCANS))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read a process's memory from")
@pytest.mark.timeout(900)
def test_memory_holds_with_a_thousand_scans_in_ten_times_the_budget(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    print(f"seed={SEED} replay: KVARTS_SEED={SEED} KVARTS_MEMORY_MIB={SCANS_BUDGET_MIB} nox -s test -- {__file__}")
    budget = SCANS_BUDGET_MIB
    command = python("-c", SCANNING, str(tmp_path / "s"), str(budget), str(SEED))
    done = subprocess.run(command, check=False, capture_output=True, text=True, **surroundings())
    assert done.returncode == 0, done.stderr
    bare, peak, scans, table_mib = map(float, done.stdout.split())
    figure(f"memory={budget} MiB: {peak - bare:.0f} MiB at most with {scans:.0f} scans, {table_mib:.0f} MiB of tables")
    assert scans == SCANS
    assert table_mib > 7 * budget
    assert peak - bare < 1.1 * budget + SCANS_SLACK_MIB
