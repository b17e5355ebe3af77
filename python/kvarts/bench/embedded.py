"""`bench embedded`: each verb of a store that fits in memory, beside all peers."""

from collections import deque
from pathlib import Path
from typing import Any

from kvarts.bench.board import BEST, Bar, Figures, Row
from kvarts.bench.peers import BY_NAME, DEFAULT, RANGE_ROWS, Engine
from kvarts.bench.runner import Bench
from kvarts.bench.workloads import (
    BATCH_ROWS,
    MANY_KEYS,
    Data,
    Stopwatch,
    allocated_bytes,
    in_groups,
    load,
    value_bytes_of,
)

Counts = dict[str, int]

ROWS = (
    Row("load", f"put in batches of {BATCH_ROWS}, per row"),
    Row("put", "put, survives kill -9"),
    Row("put_fsync", "put + fsync"),
    Row("get_hot", "get, in memory"),
    Row("get_missing", "get, key absent"),
    Row("get_many", f"get_many({MANY_KEYS}), per key"),
    Row("scan", "scan all, per row"),
    Row("range", f"range of {RANGE_ROWS} rows"),
    Row("disk", "on disk", "MB"),
)
BARS = (
    Bar(row="get_hot", setting="1000 B", peer="lmdb", limit=0.75),
    Bar(row="get_hot", setting="1000 B", stretch=0.6),
    Bar(row="get_missing", peer="rocksdict", limit=1.0),
    Bar(row="get_missing", peer="lmdb", limit=0.7),
    Bar(row="get_missing", stretch=0.25),
    Bar(row="put", peer="rocksdict", limit=0.4),
    Bar(row="put", stretch=1.5),
    Bar(row="put_fsync", peer=BEST, limit=1.0),
    Bar(row="load", peer="rocksdict", limit=0.35),
    Bar(row="load", stretch=0.8),
    Bar(row="get_many", peer="lmdb", limit=0.5),
    Bar(row="disk", peer="rocksdict", limit=1.0),
)
EMBEDDED = Bench(
    name="embedded",
    module=__name__,
    rows=ROWS,
    bars=BARS,
    settings=("1000 B", "100 B"),
    counts={"rows": 100_000, "puts": 50_000, "syncs": 300, "gets": 100_000, "ranges": 2_000},
)


def repeat_once(task: dict[str, Any]) -> Figures:
    """Run every operation once on one peer."""
    peer, counts = BY_NAME[task["peer"]], task["counts"]
    data = Data.make(counts["rows"], value_bytes_of(task["setting"]), task["seed"])
    watch = Stopwatch()
    folder, synced = Path(task["folder"]) / "main", Path(task["folder"]) / "synced"
    for place in (folder, synced):
        place.mkdir()
    engine = peer.open(folder, False, DEFAULT)
    _run_main(engine, data, counts, watch)
    engine.close()
    if peer.name == "dict":
        return watch.figures(ROWS, peer.name)
    engine = peer.open(synced, True, DEFAULT)
    _run_synced(engine, data, counts, watch)
    engine.close()
    return watch.figures(ROWS, peer.name) | {"disk": {peer.name: allocated_bytes(folder) / 1e6}}


def _run_main(engine: Engine, data: Data, counts: Counts, watch: Stopwatch) -> None:
    """Load, put, settle, read: all but the synced puts."""
    pairs = data.pairs
    again = data.order.choices(pairs, k=counts["puts"])
    with watch.measure("load", len(pairs)):
        load(engine, pairs)
    put = engine.put
    with watch.measure("put", len(again)):
        for key, value in again:
            put(key, value)
    engine.settle()
    _run_gets(engine, data, counts, watch)
    _run_scans(engine, data, counts, watch)


def _run_gets(engine: Engine, data: Data, counts: Counts, watch: Stopwatch) -> None:
    get = engine.get
    keys = data.some_keys(counts["gets"])
    for key in keys:  # Warm: the operation is a hot get.
        assert get(key) is not None
    with watch.measure("get_hot", len(keys)):
        for key in keys:
            get(key)
    absent = data.order.choices(data.absent, k=counts["gets"])
    with watch.measure("get_missing", len(absent)):
        for key in absent:
            get(key)
    if engine.get_many is None:
        return
    groups = in_groups(keys, MANY_KEYS)
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
        starts = data.some_keys(counts["ranges"])
        range_of = engine.range_of
        deque(map(range_of, starts[:10]), maxlen=0)
        with watch.measure("range", len(starts)):
            for start in starts:
                range_of(start)


def _run_synced(engine: Engine, data: Data, counts: Counts, watch: Stopwatch) -> None:
    """Puts that are on stable storage when they return."""
    put = engine.put
    pairs = data.pairs[: counts["syncs"]]
    with watch.measure("put_fsync", len(pairs)):
        for key, value in pairs:
            put(key, value)
