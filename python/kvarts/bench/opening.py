"""`bench open`: how long it takes to open a store that was closed cleanly, by its keys and by its tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import kvarts
from kvarts.bench.board import Bar, Figures, Row
from kvarts.bench.numbered import Numbered
from kvarts.bench.peers import BY_NAME, DEFAULT, OURS
from kvarts.bench.runner import Bench
from kvarts.bench.workloads import BATCH_ROWS, Stopwatch

PASSES = 7
KEYS, TABLES = "1 M keys", "10 k tables"
TABLE_BYTES = 16 << 10
TABLE_VALUE_BYTES = 1_000
ROWS = (
    Row("open", "open", "ms"),
    Row("first_get", "open and get one key", "ms"),
    Row("tables", "tables", "", compared=False),
)
BARS = (Bar(row="open", setting=KEYS, limit=10), Bar(row="open", setting=TABLES, limit=100))
OPEN = Bench(
    name="open",
    module=__name__,
    rows=ROWS,
    bars=BARS,
    settings=(KEYS, TABLES),
    counts={"rows": 1_000_000, "tables": 10_000},
    peers=tuple(BY_NAME[name] for name in (OURS.name, "plyvel", "rocksdict", "lmdb")),
)


def repeat_once(task: dict[str, Any]) -> Figures:
    """Make a store, close it, and open it some times. Only ours can be told to make many tables."""
    if task["setting"] == KEYS:
        return _open_with_keys(task)
    return _open_with_tables(task) if task["peer"] == OURS.name else {}


def _open_with_keys(task: dict[str, Any]) -> Figures:
    peer, rows, folder = BY_NAME[task["peer"]], task["counts"]["rows"], Path(task["folder"])
    data = Numbered(16, 100, task["seed"])
    engine = peer.open(folder, False, DEFAULT)
    for first in range(0, rows, BATCH_ROWS):
        engine.put_batch(data.pairs(first, min(first + BATCH_ROWS, rows)))
    engine.close()

    def open_again(watch: Stopwatch) -> None:
        with watch.measure("first_get", 1):
            with watch.measure("open", 1):
                engine = peer.open(folder, False, DEFAULT)
            if engine.reader is not None:
                engine.reader()(data.key(0))
            else:
                engine.get(data.key(0))
        engine.close()

    return _timed(open_again).figures(ROWS, peer.name)


def _open_with_tables(task: dict[str, Any]) -> Figures:
    place, wanted = Path(task["folder"]) / "store", task["counts"]["tables"]
    data = Numbered(16, TABLE_VALUE_BYTES, task["seed"])
    rows_per_step = max(1, wanted // 8) * TABLE_BYTES // TABLE_VALUE_BYTES
    tables = first = 0
    with kvarts.open(place, table_bytes=TABLE_BYTES, compression="none") as store:
        while tables < wanted:
            store.put_many(data.pairs(first, first + rows_per_step))
            first += rows_per_step
            store.compact()
            [space] = store.stats().keyspaces
            tables = sum(count for count, _ in space.levels)

    def open_again(watch: Stopwatch) -> None:
        with watch.measure("first_get", 1):
            with watch.measure("open", 1):
                store = kvarts.open(place, table_bytes=TABLE_BYTES, compression="none")
            store.get(data.key(0))
        store.close()

    return _timed(open_again).figures(ROWS, OURS.name) | {"tables": {OURS.name: float(tables)}}


def _timed(open_again: Callable[[Stopwatch], None]) -> Stopwatch:
    """Open some times after once to warm, and return the watch."""
    open_again(Stopwatch())
    watch = Stopwatch()
    for _ in range(PASSES):
        open_again(watch)
    return watch
