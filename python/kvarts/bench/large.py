"""`bench large`: more data than the cache holds; 2 GiB in random order, budget of 64 MiB, the page cache warm."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kvarts.bench.board import Bar, Figures, Row
from kvarts.bench.numbered import Numbered
from kvarts.bench.peers import BY_NAME, OURS, Tuning, nothing_of
from kvarts.bench.runner import Bench
from kvarts.bench.statistics import median
from kvarts.bench.workloads import BATCH_ROWS, Stopwatch, allocated_bytes, value_bytes_of

TUNING = Tuning(cache_bytes=64 << 20)
KEY_BYTES = 16
ROWS = (
    Row("load", "load, per row"),
    Row("longest", "longest call of the load", "ms"),
    Row("slowest", "slowest second of the load over the median one", "×", higher=True),
    Row("loaded", "get right after the load"),
    Row("settle", "load and settle, per row"),
    Row("get", "get, page cache warm"),
    Row("scan", "scan to tuples", "rows/s", higher=True),
    Row("disk", "on disk", "MB"),
)
BARS = (
    Bar(row="load", peer="rocksdict", limit=0.8),
    Bar(row="get", peer="rocksdict", limit=0.6),
    Bar(row="get", peer="lmdb", limit=1.0),
    Bar(row="scan", peer="lmdb", limit=1.0),
)
LARGE = Bench(
    name="large",
    module=__name__,
    rows=ROWS,
    bars=BARS,
    settings=("1000 B",),
    counts={"rows": (2 << 30) // 1016, "gets": 100_000},
    peers=tuple(BY_NAME[name] for name in (OURS.name, "rocksdict", "lmdb")),
)


def repeat_once(task: dict[str, Any]) -> Figures:
    """Load a peer with incompressible rows, settle, warm the page cache by a scan, then get and scan."""
    peer, counts = BY_NAME[task["peer"]], task["counts"]
    rows, folder = counts["rows"], Path(task["folder"])
    data = Numbered(KEY_BYTES, value_bytes_of(task["setting"]), task["seed"])
    watch, clock = Stopwatch(), Stopwatch()
    engine = peer.open(folder, False, TUNING)
    for first in range(0, rows, BATCH_ROWS):
        batch = data.pairs(first, min(first + BATCH_ROWS, rows))
        with clock.measure("load", 1):
            engine.put_batch(batch)
    loads, pace = clock.total_ns("load"), pace_of(clock.samples_ns("load"))
    after = [data.key(number) for number in data.draw(rows, counts["gets"], salt=1)]
    if engine.get is not nothing_of:
        with watch.measure("loaded", len(after)):
            for key in after:
                engine.get(key)
    with clock.measure("settle", 1):
        engine.settle()
    watch.add("load", loads / rows)
    watch.add("settle", (loads + clock.total_ns("settle")) / rows)
    assert engine.scan is not None
    assert sum(1 for _ in engine.scan()) == rows
    get, keys = engine.get, [data.key(number) for number in data.draw(rows, counts["gets"])]
    assert all(get(key) is not None for key in keys[:1000])
    with watch.measure("get", len(keys)):
        for key in keys:
            get(key)
    with watch.measure("scan", rows):
        for _key, _value in engine.scan():
            pass
    engine.close()
    disk = {"disk": {peer.name: allocated_bytes(folder) / 1e6}}
    return watch.figures(ROWS, peer.name) | {row: {peer.name: figure} for row, figure in pace.items()} | disk


def pace_of(calls_ns: Sequence[float]) -> dict[str, float]:
    """Return the longest of equal calls, in ms, and how many the slowest second held over what the median one did.

    Seconds are of time in calls; the last one, which is not whole, does not count.
    """
    seconds: dict[int, int] = {}
    spent_ns = 0.0
    for call_ns in calls_ns:
        seconds[int(spent_ns / 1e9)] = seconds.get(int(spent_ns / 1e9), 0) + 1
        spent_ns += call_ns
    held = [seconds.get(second, 0) for second in range(int(spent_ns / 1e9))]
    longest = {"longest": max(calls_ns) / 1e6}
    typical = median(held) if held else 0
    return (longest | {"slowest": min(held) / typical}) if typical else longest
