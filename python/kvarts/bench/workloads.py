"""What several benches do: data that a seed fixes, a stopwatch, loading."""

import gc
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kvarts.bench.board import Figures, Row
from kvarts.bench.peers import Engine, Pairs
from kvarts.bench.statistics import median

KEY_BYTES = 16
BATCH_ROWS = 1_000
MANY_KEYS = 100
VALUES_DISTINCT = 4_096


@dataclass(frozen=True, slots=True)
class Data:
    """Keys and values, made before any clock runs. Half of each value is zeros, so that compression has work to do."""

    pairs: list[tuple[bytes, bytes]]
    absent: list[bytes]
    order: random.Random = field(repr=False)

    @classmethod
    def make(cls, rows: int, value_bytes: int, seed: int, values: Sequence[bytes] = ()) -> "Data":
        """Return random data that a seed fixes; `values` come in turn where there are some."""
        rng = random.Random(seed)  # noqa: S311  # data, no secret
        half = value_bytes // 2
        values = values or [rng.randbytes(value_bytes - half) + bytes(half) for _ in range(VALUES_DISTINCT)]
        keys = [rng.randbytes(KEY_BYTES) for _ in range(rows)]
        pairs = [(key, values[number % len(values)]) for number, key in enumerate(keys)]
        return cls(pairs, [rng.randbytes(KEY_BYTES) for _ in range(rows)], rng)

    def some_keys(self, count: int) -> list[bytes]:
        """Return keys that are there, drawn at random."""
        return [key for key, _ in self.order.choices(self.pairs, k=count)]


class Stopwatch:
    """Times loops. Nothing is subtracted: `dict` shows the loop's cost. What is measured often counts by its median."""

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock = clock
        self._unit_ns: dict[str, list[float]] = {}

    @contextmanager
    def measure(self, operation: str, units: int) -> Iterator[None]:
        """Time the block."""
        gc.collect()
        began = self._clock()
        yield
        self._unit_ns.setdefault(operation, []).append((self._clock() - began) / units)

    def add(self, operation: str, unit_ns: float) -> None:
        """Take in what was timed elsewhere."""
        self._unit_ns.setdefault(operation, []).append(unit_ns)

    def samples_ns(self, operation: str) -> list[float]:
        """Return what was measured of an operation, in order."""
        return list(self._unit_ns.get(operation, ()))

    def total_ns(self, operation: str) -> float:
        """Return the sum of what was measured of an operation."""
        return sum(self._unit_ns.get(operation, ()))

    def figures(self, rows: Iterable[Row], peer: str) -> Figures:
        """Return what was timed in the units of the rows: time per unit, or units a second."""
        found: Figures = {}
        for row in rows:
            if samples := self._unit_ns.get(row.name):
                unit_ns = median(samples)
                found[row.name] = {peer: 1e9 / unit_ns if row.higher else unit_ns / NS_PER[row.unit]}
        return found


NS_PER = {"µs": 1e3, "ms": 1e6, "s": 1e9}


def value_bytes_of(setting: str) -> int:
    """Return the size that a setting such as "1000 B" names."""
    return int(setting.split(" ", maxsplit=1)[0])


def load(engine: Engine, pairs: Pairs) -> None:
    """Put pairs in batches."""
    for first in range(0, len(pairs), BATCH_ROWS):
        engine.put_batch(pairs[first : first + BATCH_ROWS])


def allocated_bytes(folder: Path) -> int:
    """Return the bytes that a folder's files take on the disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def in_groups(keys: Sequence[bytes], size: int) -> list[list[bytes]]:
    """Return keys in lists of a size; a rest is left out."""
    return [list(keys[first : first + size]) for first in range(0, len(keys) - size + 1, size)]
