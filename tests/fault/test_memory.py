"""`memory=` is kept: anonymous memory of a process that writes and reads many times its budget stays near it."""

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
