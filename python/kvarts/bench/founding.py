"""`bench founding`: the benchmark that the project began with, measured as it was then.

Ten million pairs, keys of 500 random letters and digits, values of 500 bytes, many tables, gets of keys that exist:
45.8 µs a get, 20.8 MiB/s.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvarts.base.api import Store
from kvarts.bench.numbered import Numbered
from kvarts.bench.sampling import Routine
from kvarts.bench.statistics import Estimate, Point, Summary, summarise

Db = Store[bytes, bytes]
Progress = Callable[[int, int], object]
Clock = Callable[[], int]
Wait = Callable[[float], object]

PAIRS = 10_000_000
KEY_BYTES = 500
VALUE_BYTES = 500
PAIR_BYTES = KEY_BYTES + VALUE_BYTES
FOUNDING_US = 45.8
SHARE_MAX = 0.1
"""Asked of a get with default memory: a tenth of the founding time, or what a read from the page cache takes."""
WHOLE_US_MAX = 2.0
"""Hoped for, of a get where `memory=` is of the data's size."""
DISK_BYTES_PER_PAIR = 2_500
"""What must be free: the data, the log, and what a compaction writes before it may delete. 25 GB for all."""
MEMORY_PER_DATA = 1.25
BATCH_ROWS = 5_000
CHECKED = 1_000


@dataclass(frozen=True, slots=True)
class Loaded:
    """How loading went. `put_s` is net of `generate_s`, in which the store's own threads went on."""

    put_s: float
    generate_s: float
    settle_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Points of a measurement (iterations, ns) and what follows from them, in ns per iteration."""

    points: list[Point]
    summary: Summary

    @classmethod
    def of(cls, points: list[Point]) -> "Measured":
        """Sum up points."""
        return cls(points, summarise(points))

    def throughput(self, unit_bytes: int) -> Estimate:
        """Return bytes a second, by the slope."""
        return self.summary.slope.over(unit_bytes * 1e9)


def disk_bytes_needed(pairs: int) -> int:
    """Return what must be free on the disk to load so many pairs."""
    return pairs * DISK_BYTES_PER_PAIR


def memory_for_all(pairs: int) -> int:
    """Return the budget that holds all data decoded, with indexes, filters and memtables."""
    return int(pairs * PAIR_BYTES * MEMORY_PER_DATA) + (256 << 20)


def make_data(seed: int) -> Numbered:
    """Return the data of the founding benchmark."""
    return Numbered(KEY_BYTES, VALUE_BYTES, seed)


def load(store: Db, data: Numbered, pairs: int, progress: Progress, clock: Clock = time.perf_counter_ns) -> Loaded:
    """Put all pairs, in the random order of their keys; pairs are made between the batches, off the clock."""
    put_ns = generate_ns = 0
    for first in range(0, pairs, BATCH_ROWS):
        progress(first, pairs)
        began = clock()
        batch = data.pairs(first, min(first + BATCH_ROWS, pairs))
        made = clock()
        store.put_many(batch)
        put_ns += clock() - made
        generate_ns += made - began
    progress(pairs, pairs)
    return Loaded(put_ns / 1e9, generate_ns / 1e9, 0.0)


def settle(
    store: Db, progress: Callable[[int], object], *, compacts: bool, clock: Clock = time.perf_counter_ns
) -> float:
    """Put what is in memory into tables, and compact all or let background work end; return the seconds it took.

    `progress` gets the bytes that compactions have written.
    """
    began = clock()
    store.flush()
    if compacts:
        store.compact()
    else:
        _wait_until_idle(store, progress)
    return (clock() - began) / 1e9


def _wait_until_idle(
    store: Db, progress: Callable[[int], object], *, looks: int = 10, pause_s: float = 0.1, wait: Wait = time.sleep
) -> None:
    """Return once background work has neither written nor used the processor for some looks in a row."""
    before, same = _work(store), 0
    while same < looks:
        used_s = time.process_time()
        wait(pause_s)
        used_s = time.process_time() - used_s
        now = _work(store)
        same = same + 1 if now == before and used_s < pause_s / 4 else 0
        before = now
        progress(store.stats().compaction_bytes)


def _work(store: Db) -> tuple[int, ...]:
    stats = store.stats()
    return stats.compactions, stats.compaction_bytes, stats.flushes, stats.flush_bytes, stats.table_bytes


def warm_page_cache(folder: Path, progress: Progress) -> int:
    """Read every file of a folder, so that the system holds it in memory if it can, and return the bytes."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    total = sum(file.stat().st_size for file in files)
    done = 0
    for file in files:
        with file.open("rb", buffering=0) as source:
            while piece := source.read(4 << 20):
                done += len(piece)
                progress(min(done, total), total)
    return total


def warm_store(store: Db, data: Numbered, pairs: int, progress: Progress) -> None:
    """Get every key once, so that a store whose budget holds all data does."""
    for number in range(pairs):
        if number % 10_000 == 0:
            progress(number, pairs)
        store.get(data.key(number))
    progress(pairs, pairs)


def check(store: Db, data: Numbered, pairs: int) -> None:
    """Raise where some rows drawn at random are not what was put."""
    for number in data.draw(pairs, CHECKED, salt=-1):
        if store.get(data.key(number)) != data.value(number):
            raise AssertionError(f"row {number} is not what was put")


def gets_of(store: Db, data: Numbered, pairs: int, clock: Clock = time.perf_counter_ns) -> Routine:
    """Return a routine of gets; keys are drawn and made off the clock."""
    salts = iter(range(1 << 62))

    def get_some(count: int) -> float:
        keys = [data.key(number) for number in data.draw(pairs, count, salt=next(salts))]
        get = store.get
        began = clock()
        for key in keys:
            get(key)
        return clock() - began

    return get_some


@contextmanager
def block_reads_of(folder: Path, block_bytes: int, clock: Clock = time.perf_counter_ns) -> Iterator[Routine]:
    """Give a routine of reads of one block each from the store's tables.

    That is the floor of a get whose block is not in the store's own cache: one call of Python, one system call, one
    copy out of the page cache, one bytes object; no search, no checksum, no decoding.
    """
    tables = sorted(file for file in folder.rglob("*") if file.is_file() and file.stat().st_size >= 2 * block_bytes)
    sizes = [table.stat().st_size for table in tables]
    rng = random.Random(1)  # noqa: S311  # places, no secret
    descriptors = [os.open(table, os.O_RDONLY) for table in tables]

    def read_some(count: int) -> float:
        drawn = rng.choices(range(len(tables)), weights=sizes, k=count)
        places = [
            (descriptors[table], block_bytes, rng.randrange(sizes[table] // block_bytes) * block_bytes)
            for table in drawn
        ]
        pread = os.pread
        began = clock()
        for descriptor, length, offset in places:
            pread(descriptor, length, offset)
        return clock() - began

    try:
        yield read_some
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def asked_us(floor: Measured) -> float:
    """Return what a get may take: a tenth of the founding time, or the floor where that is more."""
    return max(FOUNDING_US * SHARE_MAX, floor.summary.slope.value / 1e3)


def as_json(measured: Measured) -> dict[str, Any]:
    """Return a measurement as JSON has it: nanoseconds, bytes a second."""
    names = ("slope", "r_squared", "mean", "median", "std_dev", "mad")
    figures = {name: _plain(getattr(measured.summary, name)) for name in names}
    return {"ns": figures, "points": measured.points}


def _plain(found: Estimate) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}
