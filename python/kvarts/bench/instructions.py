"""Instructions per operation, counted by valgrind in small processes: they repeat where times do not.

Each operation is done often in a process that else does what all of them do; what it takes more than one that does
nothing in the end is divided by how often. `python -m kvarts.bench.instructions NAME TIMES BYTES FOLDER` is such one.
"""

import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kvarts

ROWS = 2_000
TIMES = 2_000
WARM = 200
NOTHING = "nothing"
OPERATIONS = ("get_table", "get_memtable", "get_missing", "put", "scan_row")


class CountFailedError(Exception):
    """Valgrind ended badly, or said nothing that can be read."""


def count_instructions(value_bytes: int, *, times: int = TIMES) -> dict[str, float]:
    """Return instructions per operation by name, Python's own loop included. Raises CountFailedError."""
    base = _run(NOTHING, times, value_bytes)
    return {name: (_run(name, times, value_bytes) - base) / times for name in OPERATIONS}


def _run(name: str, times: int, value_bytes: int) -> int:
    with tempfile.TemporaryDirectory(prefix="kvarts-bench-") as folder:
        command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
        command += [sys.executable, "-m", "kvarts.bench.instructions", name, str(times), str(value_bytes), folder]
        world = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, capture_output=True, text=True, env=world, check=False)  # noqa: S603
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode != 0 or found is None:
        raise CountFailedError(f"{name} ended with {done.returncode}:\n{done.stderr[-500:]}")
    return int(found.group(1).replace(",", ""))


def perform(name: str, times: int, value_bytes: int, folder: Path) -> None:
    """Make two small stores without threads of their own, do each operation to warm up, then the named one so often."""
    rng = random.Random(1)  # noqa: S311  # data, no secret
    pairs = [(rng.randbytes(16), rng.randbytes(value_bytes)) for _ in range(ROWS)]
    keys = [key for key, _ in rng.choices(pairs, k=times)]
    with (
        kvarts.open(folder / "tables", background=False, durability="none") as tables,
        kvarts.open(folder / "memtable", background=False, durability="none") as memtable,
    ):
        tables.put_many(pairs)
        memtable.put_many(pairs)
        tables.compact()
        value, absent = pairs[0][1], [key[:-1] for key in keys]
        verbs: dict[str, Callable[[int], None]] = {
            NOTHING: lambda _: None,
            "get_table": lambda count: _get(tables, keys[:count]),
            "get_memtable": lambda count: _get(memtable, keys[:count]),
            "get_missing": lambda count: _get(tables, absent[:count]),
            "put": lambda count: _put(memtable, keys[:count], value),
            "scan_row": lambda count: _scan(tables, count),
        }
        for verb in verbs.values():
            verb(min(WARM, times))
        verbs[name](times)


def _get(store: Any, keys: list[bytes]) -> None:
    for key in keys:
        store.get(key)


def _put(store: Any, keys: list[bytes], value: bytes) -> None:
    for key in keys:
        store.put(key, value)


def _scan(store: Any, count: int) -> None:
    for _row in store.scan(limit=count):
        pass


if __name__ == "__main__":
    perform(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
