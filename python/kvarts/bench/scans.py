"""`bench scan`: ranges as tuples and as Arrow record batches, beside the peers that keep keys in order."""

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from kvarts.bench.abilities import lacks_arrow, lacks_parallel_arrow
from kvarts.bench.board import BEST, Bar, Figures, Row
from kvarts.bench.peers import BY_NAME, DEFAULT, OURS, RANGE_ROWS
from kvarts.bench.runner import Bench
from kvarts.bench.workloads import Data, Stopwatch, load, value_bytes_of

ARROW_ROWS = 1 << 16
PASSES = 3
ROWS = (
    Row("scan", "scan to tuples", "rows/s", higher=True),
    Row("range", f"range of {RANGE_ROWS} rows"),
    Row("arrow", "scan to Arrow, 1 thread", "rows/s", higher=True),
    Row("arrow_2", "scan to Arrow, 2 threads", "rows/s", higher=True),
)
BARS = (
    Bar(row="scan", setting="100 B", peer=BEST, limit=1.2),
    Bar(row="scan", setting="1000 B", peer=BEST, limit=1.1),
    Bar(row="range", peer="lmdb", limit=0.7, stretch=0.6),
    Bar(row="arrow", setting="100 B", peer="rocksdict", peer_row="scan", limit=10),
    Bar(row="arrow", setting="100 B", limit=20e6),
)
PEERS = tuple(BY_NAME[name] for name in (OURS.name, "plyvel", "rocksdict", "lmdb"))


def lacks() -> tuple[str, ...]:
    """Name what cannot be measured here."""
    return tuple(dict.fromkeys(filter(None, (lacks_arrow(), lacks_parallel_arrow()))))


SCAN = Bench(
    name="scan",
    module=__name__,
    rows=ROWS,
    bars=BARS,
    settings=("100 B", "1000 B"),
    counts={"rows": 200_000, "ranges": 4_000},
    peers=PEERS,
    lacks=lacks,
)


def repeat_once(task: dict[str, Any]) -> Figures:
    """Load a peer, let it settle, then scan it: tuples, ranges, Arrow; each scan once to warm, then by its median."""
    peer, counts = BY_NAME[task["peer"]], task["counts"]
    data = Data.make(counts["rows"], value_bytes_of(task["setting"]), task["seed"])
    watch = Stopwatch()
    engine = peer.open(Path(task["folder"]), False, DEFAULT)
    load(engine, data.pairs)
    engine.settle()
    rows = len(data.pairs)
    scan, range_of = engine.scan, engine.range_of
    assert scan is not None
    assert range_of is not None
    assert sum(1 for _ in scan()) == rows
    for _ in range(PASSES):
        with watch.measure("scan", rows):
            for _key, _value in scan():
                pass
    starts = data.some_keys(counts["ranges"])
    for start in starts[:10]:
        range_of(start)
    with watch.measure("range", len(starts)):
        for start in starts:
            range_of(start)
    if engine.store is not None:
        _measure_arrow(engine.store, rows, watch)
    elif find_spec("pyarrow"):
        for _ in range(PASSES):
            with watch.measure("arrow", rows):
                assert count_built(scan()) == rows
    engine.close()
    return watch.figures(ROWS, peer.name)


def _measure_arrow(store: Any, rows: int, watch: Stopwatch) -> None:
    kinds = {"arrow": 1, "arrow_2": 2}
    if lacks_parallel_arrow():
        return
    assert count_streamed(store, 1) == rows
    for _ in range(PASSES):
        for row, threads in kinds.items():
            with watch.measure(row, rows):
                assert count_streamed(store, threads) == rows


def count_streamed(store: Any, threads: int) -> int:
    """Read all of a store as a stream of record batches and return the rows, none of which Python touches."""
    pyarrow: Any = import_module("pyarrow")
    stream = pyarrow.RecordBatchReader.from_stream(store.scan().arrow(parallel=threads))
    return sum(batch.num_rows for batch in stream)


def count_built(pairs: Iterable[tuple[bytes, bytes]]) -> int:
    """Build record batches of tuples, as a peer's user must, and return the rows."""
    pyarrow: Any = import_module("pyarrow")
    rows, source = 0, iter(pairs)
    while chunk := list(islice(source, ARROW_ROWS)):
        columns = [pyarrow.array(column, pyarrow.binary()) for column in zip(*chunk, strict=True)]
        rows += pyarrow.record_batch(columns, names=["key", "value"]).num_rows
    return rows
