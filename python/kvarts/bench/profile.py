"""`bench profile`: where the time of each verb goes, by differences between calls that share all but one stage.

Nothing in the engine is measured from within: an empty dict's `get` has the loop and the call, a slice of bytes has the
object too, an absent key has the filters, a key in the memtable has no table, a tiny cache has the read from the page
cache. What is left over is the search. Instructions are counted in processes of their own (instructions.py).
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import kvarts
from kvarts.bench.abilities import lacks_arrow, lacks_instruction_counts, lacks_parallel_arrow
from kvarts.bench.board import Figures, Outcome, Row
from kvarts.bench.instructions import OPERATIONS, count_instructions
from kvarts.bench.peers import BY_NAME, OURS
from kvarts.bench.runner import Bench
from kvarts.bench.scans import count_streamed
from kvarts.bench.statistics import median
from kvarts.bench.workloads import MANY_KEYS, Data, Stopwatch, in_groups, value_bytes_of

PASSES = 5
ROWS = (
    Row("call", "a call that finds nothing: {}.get(key)"),
    Row("bytes", "a call that makes bytes of a value's size"),
    Row("get_missing", "get, key absent"),
    Row("get_memtable", "get, key in the memtable"),
    Row("get_cached", "get, block in the cache"),
    Row("get_uncached", "get, block in the page cache"),
    Row("get_many", f"get_many({MANY_KEYS}), per key"),
    Row("put_none", "put, durability none"),
    Row("put_batch", "put, durability batch"),
    Row("put_many", "put_many, per row"),
    Row("range_1", "scan of one row"),
    Row("scan_keys", "scan of keys, per row"),
    Row("scan", "scan to tuples, per row"),
    Row("arrow", "scan to Arrow, per row"),
    *(Row(f"instructions_{name}", f"instructions, {name.replace('_', ' ')}", "") for name in OPERATIONS),
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of an operation: the rows whose times add to it, less those of others."""

    operation: str
    title: str
    plus: tuple[str, ...]
    minus: tuple[str, ...] = ()


_GET = (("loop and call", ("call",), ()), ("the value's bytes object", ("bytes",), ("call",)))
_FILTERS = ("what an absent key costs: memtables, filters", ("get_missing",), ("call",))
_SEARCH = ("index and block search", ("get_cached", "call"), ("get_missing", "bytes"))
STAGES = tuple(
    Stage(operation, *part)
    for operation, parts in {
        "get_memtable": (*_GET, ("memtable search, the rest", ("get_memtable",), ("bytes",))),
        "get_cached": (*_GET, _FILTERS, _SEARCH),
        "get_uncached": (*_GET, _FILTERS, _SEARCH, ("read and decode a block", ("get_uncached",), ("get_cached",))),
        "put_batch": (
            ("loop and call", ("call",), ()),
            ("encode, log and memtable, per row", ("put_many",), ("call",)),
            ("a commit of its own", ("put_none",), ("put_many",)),
            ("syncs in the background", ("put_batch",), ("put_none",)),
        ),
        "get_many": (
            ("the value's bytes object", ("bytes",), ("call",)),
            ("search and list, per key", ("get_many", "call"), ("bytes",)),
        ),
        "scan": (
            ("merge and key, per row", ("scan_keys",), ()),
            ("tuple and the value's bytes object", ("scan",), ("scan_keys",)),
        ),
    }.items()
    for part in parts
)


def lacks() -> tuple[str, ...]:
    """Name what cannot be measured here."""
    return tuple(filter(None, (lacks_arrow(), lacks_instruction_counts())))


PROFILE = Bench(
    name="profile",
    module=__name__,
    rows=ROWS,
    settings=("1000 B", "100 B"),
    counts={"rows": 50_000},
    peers=(BY_NAME[OURS.name],),
    lacks=lacks,
)


def repeat_once(task: dict[str, Any]) -> Figures:
    """Time each form, in turns; instructions in the first repetition only, since they repeat."""
    counts, size, folder = task["counts"], value_bytes_of(task["setting"]), Path(task["folder"])
    data = Data.make(counts["rows"], size, task["seed"])
    watch = Stopwatch()
    _time_gets(folder, data, size, watch)
    _time_puts(folder, data, watch)
    figures = watch.figures(ROWS, OURS.name)
    if task["seed"] == 1 and not lacks_instruction_counts():
        for name, found in count_instructions(size).items():
            figures[f"instructions_{name}"] = {OURS.name: found}
    return figures


def _time_gets(folder: Path, data: Data, size: int, watch: Stopwatch) -> None:
    rows = len(data.pairs)
    keys, absent = data.some_keys(rows), data.order.choices(data.absent, k=rows)
    source, nothing = bytes(2 * size), dict[bytes, bytes]()
    slices = [slice(number % size, number % size + size) for number in range(rows)]
    with (
        kvarts.open(folder / "tables", memory="256MiB") as tables,
        kvarts.open(folder / "memtable", memory="1GiB", memtable_bytes="512MiB") as memtable,
    ):
        for store in (tables, memtable):
            store.put_many(data.pairs)
        tables.compact()
        with kvarts.open(tables_copy(tables, folder / "uncached"), memory="1MiB") as uncached:
            forms: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
                "call": (nothing.get, keys),
                "bytes": (source.__getitem__, slices),
                "get_missing": (tables.get, absent),
                "get_memtable": (memtable.get, keys),
                "get_cached": (tables.get, keys),
                "get_uncached": (uncached.get, keys),
            }
            _take_turns(forms, watch)
        _time_ranges(tables, keys, rows, watch)


def tables_copy(store: Any, place: Path) -> Path:
    """Copy a store's tables to another place, at its present revision."""
    store.checkpoint(place)
    return place


def _time_ranges(store: Any, keys: Sequence[bytes], rows: int, watch: Stopwatch) -> None:
    groups = in_groups(keys, MANY_KEYS)
    starts = keys[: rows // 10]
    for turn in range(PASSES + 1):
        kept = watch if turn else Stopwatch()
        if groups:
            with kept.measure("get_many", len(groups) * MANY_KEYS):
                _drain(map(store.get_many, groups))
        with kept.measure("range_1", len(starts)):
            for start in starts:
                _drain(store.scan(start, limit=1))
        with kept.measure("scan_keys", rows):
            _drain(store.scan().keys())
        with kept.measure("scan", rows):
            _drain(store.scan())
        if not lacks_parallel_arrow():
            with kept.measure("arrow", rows):
                count_streamed(store, 1)


def _time_puts(folder: Path, data: Data, watch: Stopwatch) -> None:
    pairs = data.order.choices(data.pairs, k=len(data.pairs))
    with (
        kvarts.open(folder / "none", durability="none") as none,
        kvarts.open(folder / "batch", durability="batch") as batch,
    ):
        for turn in range(PASSES + 1):
            kept = watch if turn else Stopwatch()
            for name, store in (("put_none", none), ("put_batch", batch)):
                put = store.put
                with kept.measure(name, len(pairs)):
                    for key, value in pairs:
                        put(key, value)
                store.flush()
            with kept.measure("put_many", len(pairs)):
                none.put_many(pairs)
            none.flush()


def _take_turns(forms: dict[str, tuple[Callable[[Any], object], Sequence[Any]]], watch: Stopwatch) -> None:
    for turn in range(PASSES + 1):
        kept = watch if turn else Stopwatch()
        for name, (do, arguments) in forms.items():
            with kept.measure(name, len(arguments)):
                for argument in arguments:
                    do(argument)


_drain: Callable[[Iterable[object]], object] = partial(deque, maxlen=0)


def stage_table(outcome: Outcome, setting: str) -> list[tuple[str, ...]]:
    """Return where the time of each operation goes: medians of differences, and their shares."""
    rows: list[tuple[str, ...]] = [(f"stage, {setting}", "µs", "%")]
    titles = {row.name: row.title for row in ROWS}
    for operation in dict.fromkeys(stage.operation for stage in STAGES):
        samples = outcome.of(setting, operation, OURS.name)
        if not samples:
            continue
        whole = median(samples)
        rows.append((titles[operation], f"{whole:.3f}", "100"))
        for stage in STAGES:
            if stage.operation == operation:
                part = stage_us(outcome, setting, stage)
                rows.append((f"  {stage.title}", f"{part:.3f}", f"{100 * part / whole:.0f}"))
    return rows


def stage_us(outcome: Outcome, setting: str, stage: Stage) -> float:
    """Return the time of a stage; where it is below 0 the difference is within the noise."""

    def total(names: tuple[str, ...]) -> float:
        return sum(median(outcome.of(setting, name, OURS.name)) for name in names)

    return total(stage.plus) - total(stage.minus)
