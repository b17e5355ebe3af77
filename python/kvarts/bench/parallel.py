"""`bench parallel`: what a second thread brings, each form beside its serial twin in the same process, in turn."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kvarts.bench.abilities import lacks_parallel_arrow, lacks_parallel_gets
from kvarts.bench.board import Bar, Figures, Row
from kvarts.bench.peers import BY_NAME, DEFAULT, OURS, Engine
from kvarts.bench.runner import Bench
from kvarts.bench.scans import count_streamed
from kvarts.bench.statistics import median
from kvarts.bench.workloads import Data, load, value_bytes_of

PASSES = 5
THREADS = (1, 2, 4)
WRITERS = 16
MANY_KEYS = 20_000
Forms = Mapping[str, tuple[Callable[[], object], int]]
"""What is done by name, and how many units that are."""


def _forms(name: str, title: str, unit: str, threads: Sequence[int]) -> tuple[Row, ...]:
    plural = {1: "1 thread"}
    rates = [Row(f"{name}_{n}", f"{title}, {plural.get(n, f'{n} threads')}", unit, higher=True) for n in threads]
    gains = [Row(f"{name}_gain_{n}", f"{title}, {n} threads over 1", "×", higher=True) for n in threads[1:]]
    return (*rates, *gains)


ROWS = (
    *_forms("gets", "gets by threads of Python", "gets/s", (1, 2)),
    *_forms("get_many", f"get_many({MANY_KEYS:,})", "keys/s", THREADS),
    *_forms("arrow", "scan to Arrow", "rows/s", THREADS),
    *_forms("fsync", "put + fsync", "puts/s", (1, WRITERS)),
)
BARS = (
    Bar(row="gets_gain_2", limit=0.95),
    Bar(row="get_many_gain_2", limit=1.7),
    Bar(row="arrow_gain_2", setting="1000 B", limit=1.7),
    Bar(row="arrow_gain_2", setting="100 B", limit=1.7, stretch=1.8),
    Bar(row="fsync_gain_16", limit=4, stretch=6),
)


def lacks() -> tuple[str, ...]:
    """Name what cannot be measured here."""
    return tuple(filter(None, (lacks_parallel_gets(), lacks_parallel_arrow())))


PARALLEL = Bench(
    name="parallel",
    module=__name__,
    rows=ROWS,
    bars=BARS,
    settings=("1000 B", "100 B"),
    counts={"rows": 200_000, "gets": 100_000, "syncs": 1_600},
    peers=tuple(BY_NAME[name] for name in (OURS.name, "plyvel", "rocksdict", "lmdb")),
    lacks=lacks,
)


def repeat_once(task: dict[str, Any]) -> Figures:
    """Measure one peer: gets and synced puts by threads, and ours with `parallel=`."""
    peer, counts = BY_NAME[task["peer"]], task["counts"]
    data = Data.make(counts["rows"], value_bytes_of(task["setting"]), task["seed"])
    folder, synced = Path(task["folder"]) / "main", Path(task["folder"]) / "synced"
    for place in (folder, synced):
        place.mkdir()
    engine = peer.open(folder, False, DEFAULT)
    load(engine, data.pairs)
    engine.settle()
    keys = data.some_keys(counts["gets"])
    rates = _take_turns("gets", _threaded_gets(engine, keys, (1, 2)))
    if engine.store is not None:
        rates |= _ours(engine.store, data)
    engine.close()
    engine = peer.open(synced, True, DEFAULT)
    rates |= _take_turns("fsync", _threaded_puts(engine, data, counts["syncs"]), passes=2)
    engine.close()
    return {row: {peer.name: rate} for row, rate in rates.items()}


def _ours(store: Any, data: Data) -> dict[str, float]:
    rates: dict[str, float] = {}
    if not lacks_parallel_gets():
        keys = data.some_keys(MANY_KEYS)
        forms = {str(n): (partial(store.get_many, keys, parallel=n), len(keys)) for n in THREADS}
        rates |= _take_turns("get_many", forms, passes=3 * PASSES)
    if not lacks_parallel_arrow():
        rows = len(data.pairs)
        rates |= _take_turns("arrow", {str(n): (partial(count_streamed, store, n), rows) for n in THREADS})
    return rates


def _threaded_gets(engine: Engine, keys: Sequence[bytes], threads: Sequence[int]) -> Forms:
    """Return forms in which each thread gets all keys, each its own half first."""

    def work(number: int) -> Callable[[], None]:
        turned = [*keys[number * len(keys) // 2 :], *keys[: number * len(keys) // 2]]

        def get_all() -> None:
            get = engine.reader() if engine.reader else engine.get
            for key in turned:
                get(key)

        return get_all

    works = [work(number) for number in range(max(threads))]
    return {str(n): (partial(run_threads, works[:n]), n * len(keys)) for n in threads}


def _threaded_puts(engine: Engine, data: Data, count: int) -> Forms:
    """Return forms that put the same rows by one thread and by many; one thread does a fourth of them."""

    def work(pairs: Sequence[tuple[bytes, bytes]]) -> Callable[[], None]:
        def put_all() -> None:
            for key, value in pairs:
                engine.put(key, value)

        return put_all

    pairs = data.pairs[: max(WRITERS, min(count, len(data.pairs)))]
    alone = work(pairs[: len(pairs) // 4])
    together = [work(pairs[number::WRITERS]) for number in range(WRITERS)]
    return {
        "1": (partial(run_threads, [alone]), len(pairs) // 4),
        str(WRITERS): (partial(run_threads, together), len(pairs)),
    }


def run_threads(works: Sequence[Callable[[], object]]) -> None:
    """Run each work in a thread of its own; they begin together. Raises what one of them raised."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised below, by the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _take_turns(
    name: str, forms: Forms, *, passes: int = PASSES, clock: Callable[[], int] = time.perf_counter_ns
) -> dict[str, float]:
    """Run the forms in turn, once to warm, and return median rates, and median gains over the first form's rate of the
    same turn: what the machine does to a turn it does to both."""
    rates: dict[str, list[float]] = {form: [] for form in forms}
    for turn in range(passes + 1):
        for form, (do, units) in forms.items():
            began = clock()
            do()
            if turn:
                rates[form].append(units * 1e9 / (clock() - began))
    first = next(iter(forms))
    found = {f"{name}_{form}": median(samples) for form, samples in rates.items()}
    for form, samples in rates.items():
        if form != first:
            gains = [fast / slow for fast, slow in zip(samples, rates[first], strict=True)]
            found[f"{name}_gain_{form}"] = median(gains)
    return found
