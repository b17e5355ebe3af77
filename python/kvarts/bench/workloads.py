"""What is measured: the operations, their data, and one pass of them over an open engine."""

import gc
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from kvarts.bench.peers import RANGE_ROWS, Engine

KEY_BYTES = 16
BATCH_ROWS = 1_000
MANY_KEYS = 100
VALUES_DISTINCT = 4_096


@dataclass(frozen=True, slots=True)
class Operation:
    """One measured operation: its name, what a unit of it is, and what it says in tables."""

    name: str
    unit: str
    title: str


OPERATIONS = (
    Operation("load", "row", f"put in batches of {BATCH_ROWS}"),
    Operation("put", "put", "put, survives kill -9"),
    Operation("put_fsync", "put", "put + fsync"),
    Operation("get_hot", "get", "get, in memory"),
    Operation("get_missing", "get", "get, key absent"),
    Operation("get_many", "key", f"get_many({MANY_KEYS})"),
    Operation("scan", "row", "scan all"),
    Operation("range", "range", f"range of {RANGE_ROWS} rows"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much of each operation a repetition does."""

    rows: int = 100_000
    puts: int = 50_000
    syncs: int = 300
    gets: int = 100_000
    ranges: int = 2_000


QUICK = Counts(rows=20_000, puts=10_000, syncs=100, gets=20_000, ranges=400)


@dataclass(frozen=True, slots=True)
class Data:
    """Keys and values, made before any clock runs. Half of each value is zeros, so that compression has work to do."""

    pairs: list[tuple[bytes, bytes]]
    absent: list[bytes]
    order: random.Random = field(repr=False)

    @classmethod
    def make(cls, rows: int, value_bytes: int, seed: int) -> "Data":
        """Return random data that a seed fixes."""
        rng = random.Random(seed)  # noqa: S311  # data, no secret
        half = value_bytes // 2
        values = [rng.randbytes(value_bytes - half) + bytes(half) for _ in range(VALUES_DISTINCT)]
        keys = [rng.randbytes(KEY_BYTES) for _ in range(rows)]
        pairs = [(key, values[number % VALUES_DISTINCT]) for number, key in enumerate(keys)]
        return cls(pairs, [rng.randbytes(KEY_BYTES) for _ in range(rows)], rng)

    def some_keys(self, count: int) -> list[bytes]:
        """Return keys that are there, drawn at random."""
        return [key for key, _ in self.order.choices(self.pairs, k=count)]


class Stopwatch:
    """Times loops and keeps nanoseconds per unit by operation. Nothing is subtracted: `dict` shows the loop's cost."""

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock = clock
        self.unit_ns: dict[str, float] = {}

    @contextmanager
    def measure(self, operation: str, units: int) -> Iterator[None]:
        """Time the block."""
        gc.collect()
        began = self._clock()
        yield
        self.unit_ns[operation] = (self._clock() - began) / units


def run_main(engine: Engine, data: Data, counts: Counts, watch: Stopwatch) -> None:
    """Load, put, settle, read: all but the synced puts."""
    pairs = data.pairs
    batches = [pairs[first : first + BATCH_ROWS] for first in range(0, len(pairs), BATCH_ROWS)]
    again = data.order.choices(pairs, k=counts.puts)
    with watch.measure("load", len(pairs)):
        for batch in batches:
            engine.put_batch(batch)
    put = engine.put
    with watch.measure("put", len(again)):
        for key, value in again:
            put(key, value)
    engine.settle()
    _run_gets(engine, data, counts, watch)
    _run_scans(engine, data, counts, watch)


def _run_gets(engine: Engine, data: Data, counts: Counts, watch: Stopwatch) -> None:
    get = engine.get
    keys = data.some_keys(counts.gets)
    for key in keys:  # Warm: the operation is a hot get.
        assert get(key) is not None
    with watch.measure("get_hot", len(keys)):
        for key in keys:
            get(key)
    absent = data.order.choices(data.absent, k=counts.gets)
    with watch.measure("get_missing", len(absent)):
        for key in absent:
            get(key)
    if engine.get_many is None:
        return
    groups = _in_groups(keys, MANY_KEYS)
    get_many = engine.get_many
    assert len(get_many(groups[0])) == len(set(groups[0])) or len(get_many(groups[0])) == MANY_KEYS
    with watch.measure("get_many", MANY_KEYS * len(groups)):
        for group in groups:
            get_many(group)


def _run_scans(engine: Engine, data: Data, counts: Counts, watch: Stopwatch) -> None:
    if engine.scan is not None:
        assert sum(1 for _ in engine.scan()) == len(data.pairs)
        with watch.measure("scan", len(data.pairs)):
            for _key, _value in engine.scan():
                pass
    if engine.range_of is not None:
        starts = data.some_keys(counts.ranges)
        range_of = engine.range_of
        deque(map(range_of, starts[:10]), maxlen=0)
        with watch.measure("range", len(starts)):
            for start in starts:
                range_of(start)


def run_synced(engine: Engine, data: Data, counts: Counts, watch: Stopwatch) -> None:
    """Puts that are on stable storage when they return."""
    put = engine.put
    pairs = data.pairs[: counts.syncs]
    with watch.measure("put_fsync", len(pairs)):
        for key, value in pairs:
            put(key, value)


def _in_groups(keys: Sequence[bytes], size: int) -> list[list[bytes]]:
    return [list(keys[first : first + size]) for first in range(0, len(keys) - size + 1, size)]
