"""What many shards cost: three nodes on one disk, a keyspace of so many shards, figures under load and at rest.

`child` of the benches does one repetition of one number of shards; whatever is compared was measured in clusters that
differ in nothing else. A cell is a number of keys and a number of shards.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import kvarts
from kvarts.bench.board import Row, judge
from kvarts.bench.cluster.child import _loop_factory
from kvarts.bench.cluster.pages import read_figures
from kvarts.bench.cluster.servers import Servers, start_kvarts
from kvarts.bench.cluster.workloads import Ask, Load, Workload, measure
from kvarts.bench.runner import CHILD, Progress, Task, run_tasks
from kvarts.bench.statistics import Estimate, median_estimate, ratio_estimate
from kvarts.bench.workloads import Data

NODES = 3
VALUE_BYTES = 100
REST_S = 1.0
"""Of processor time that says whether nodes rest."""
REST_CORES = 0.05
"""More than nodes without rows take: they are still at work."""
SETTLE_S_MAX = 600.0
TIMEOUT_S = 60.0
IN_FLIGHT = 64
ROWS_AT_ONCE = 10_000
"""Keys that are put together before anything is measured."""
KEYS_OFTEN_MAX = 1_000_000
"""With more keys a cluster takes minutes to fill: it is measured once."""

PUT = Workload("put", "put", IN_FLIGHT, "rate", f"put, {IN_FLIGHT} in flight")
GET = Workload("get", "get", IN_FLIGHT, "rate", f"linearizable get, {IN_FLIGHT} in flight")
ONE = Workload("one", "put", 1, "p50_us", "put, 1 in flight")

ROWS = (
    Row("made", "from nothing to a put served, by each shard", "s"),
    Row("settle", "from all keys put until the nodes rest", "s"),
    Row("put_rate", PUT.title, "puts/s", higher=True),
    Row("put_p50", f"{PUT.title}, p50", "ms"),
    Row("put_p99", f"{PUT.title}, p99", "ms"),
    Row("put_cpu", "processor time of the nodes", "µs/put"),
    Row("puts_per_entry", "puts of an entry", "", higher=True),
    Row("queue", "of a put, until it is in the log", "ms"),
    Row("quorum", "of an entry, from there until it is applied", "ms"),
    Row("entries", "entries proposed", "/s"),
    Row("turns", "turns of the loops", "/s"),
    Row("turn_cpu", "processor and lock time of a turn", "µs"),
    Row("messages", "messages between nodes", "/s"),
    Row("syncs", "syncs of the nodes", "/s"),
    Row("sync", "a sync", "ms"),
    Row("one_p50", f"{ONE.title}, p50", "ms"),
    Row("get_rate", GET.title, "gets/s", higher=True),
    Row("get_cpu", "processor time of the nodes", "µs/get"),
    Row("idle_cores", "at rest, processors busy", "cores"),
    Row("idle_turns", "at rest, turns of the loops", "/s"),
    Row("idle_messages", "at rest, messages between nodes", "/s"),
    Row("memory", "memory of the nodes at the end (RSS)", "MiB"),
)
BY_NAME = {row.name: row for row in ROWS}


class Cell(NamedTuple):
    """What clusters are alike in that are compared with others."""

    keys: int
    shards: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What a number of shards must reach: `limit` times the figure of one shard, or `limit` itself."""

    row: str
    shards: int
    limit: float
    stretch: float | None = None
    of_one: bool = False


BARS = (
    Bar(row="put_rate", shards=8, limit=0.8, of_one=True),
    Bar(row="idle_cores", shards=64, limit=0.10, stretch=0.03),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: how many shards, how many keys, how long, how often. `seed` fixes the data and the order."""

    counts: tuple[int, ...] = (1, 8, 64, 256)
    keys: tuple[int, ...] = (10_000,)
    load: Load = field(default_factory=Load)
    """Its rows do not count: `keys` does."""
    idle_seconds: float = 5.0
    repetitions: int = 5
    memory: str = "64MiB"
    seed: int = 1

    def tasks(self) -> list[Task]:
        """Return every repetition to run, in a new random order in each round, so that drift hits all alike.

        Cells of more than KEYS_OFTEN_MAX keys are in the first round only.
        """
        rng = random.Random(self.seed)  # noqa: S311  # an order, no secret
        cells = [(keys, count) for keys in self.keys for count in self.counts]
        return [
            self._task(keys, count, repetition)
            for repetition in range(self.repetitions)
            for keys, count in rng.sample(cells, len(cells))
            if repetition == 0 or keys <= KEYS_OFTEN_MAX
        ]

    def _task(self, keys: int, count: int, repetition: int) -> Task:
        return {
            "peer": "kvarts",
            "module": __name__,
            "setting": f"{count} shards, {keys:,} keys",
            "shards": count,
            "load": asdict(replace(self.load, rows=keys)),
            "idle_seconds": self.idle_seconds,
            "memory": self.memory,
            "seed": self.seed + repetition,
        }


@dataclass(slots=True)
class Outcome:
    """What was measured: by numbers of keys and of shards, and by row, the sample of each repetition."""

    samples: dict[Cell, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, task: Task, figures: dict[str, float]) -> None:
        """Take in one repetition."""
        rows = self.samples.setdefault(Cell(task["load"]["rows"], task["shards"]), {})
        for row, figure in figures.items():
            rows.setdefault(row, []).append(figure)

    def of(self, keys: int, shards: int, row: str) -> list[float]:
        """Return the samples of a row of a cell; none where it was not measured."""
        return self.samples.get(Cell(keys, shards), {}).get(row, [])

    @property
    def keys(self) -> list[int]:
        """The numbers of keys that were measured, ascending."""
        return sorted({cell.keys for cell in self.samples})

    def counts(self, keys: int) -> list[int]:
        """Return the numbers of shards that were measured with so many keys, ascending."""
        return sorted(cell.shards for cell in self.samples if cell.keys == keys)

    def estimate(self, keys: int, shards: int, row: str) -> Estimate:
        """Return the median of a row of a cell with its interval."""
        return median_estimate(self.of(keys, shards, row))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a bar was met with so many keys, as in kvarts.bench.board."""

    bar: Bar
    keys: int
    found: Estimate
    verdict: str

    @property
    def text(self) -> str:
        """What was found and what was asked, for people."""
        row, side = BY_NAME[self.bar.row], "at least" if BY_NAME[self.bar.row].higher else "at most"
        unit = "of one shard's" if self.bar.of_one else row.unit
        stretch = "" if self.bar.stretch is None else f" (stretch {self.bar.stretch:g})"
        cell = f"{self.bar.shards} shards, {self.keys:,} keys"
        return f"{row.title}, {cell}: {self.found} {unit}, asked: {side} {self.bar.limit:g}{stretch}"


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Return how each bar was met for which something was measured, by numbers of keys."""
    found = []
    for keys in outcome.keys:
        for bar in BARS:
            samples, one = outcome.of(keys, bar.shards, bar.row), outcome.of(keys, 1, bar.row)
            if samples and (one or not bar.of_one):
                estimate = ratio_estimate(samples, one) if bar.of_one else median_estimate(samples)
                verdict = judge(estimate, bar.limit, higher=BY_NAME[bar.row].higher, stretch=bar.stretch)
                found.append(Verdict(bar, keys, estimate, verdict))
    return found


def run(plan: Plan, outcome: Outcome, scratch: Path, progress: Progress) -> None:
    """Run a plan in a folder and add to an outcome. Raises RepetitionFailedError; what was measured before stays."""
    run_tasks(plan.tasks(), CHILD, scratch, outcome.add, progress)


def repeat_once(task: Task) -> dict[str, float]:
    """Start three nodes from nothing, make the shards, measure, end them. Return the figures by row."""
    began = time.perf_counter()
    servers = start_kvarts(Path(task["folder"]), NODES, memory=task["memory"])
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_figures(task, servers, began))
    finally:
        servers.stop()


async def _figures(task: Task, servers: Servers, began: float) -> dict[str, float]:
    load = Load(**task["load"])
    pairs = Data.make(load.rows, VALUE_BYTES, task["seed"]).pairs
    open_async: Any = kvarts.open_async
    uri = f"kvarts://{','.join(servers.addresses)}"
    store = await open_async(uri, shards=task["shards"], timeout=TIMEOUT_S)
    # More keys than shards, so that hardly one is left out.
    await asyncio.gather(*(store.put(key, value) for key, value in pairs[: 8 * task["shards"]]))
    found = {"made": time.perf_counter() - began}
    await asyncio.sleep(REST_S)
    empty_cores = await _cores(servers)
    put: Ask = lambda number: store.put(*pairs[number % len(pairs)])  # noqa: E731
    get: Ask = lambda number: store.get(pairs[number % len(pairs)][0])  # noqa: E731
    for at in range(0, len(pairs), ROWS_AT_ONCE):
        await store.put_many(pairs[at : at + ROWS_AT_ONCE])
    found["settle"] = await _settle(servers, empty_cores)
    found |= await _at_rest(servers, task["idle_seconds"])
    found |= await _puts(servers, put, load)
    one = await measure(put, ONE, load, servers.cpu_s)
    gets = await measure(get, GET, load, servers.cpu_s)
    await store.close()
    servers.check()
    found |= {"one_p50": one.p50_us / 1e3, "get_rate": gets.rate, "get_cpu": gets.server_us}
    return found | {"memory": servers.memory_bytes() / 2**20}


async def _puts(servers: Servers, put: Ask, load: Load) -> dict[str, float]:
    """Return the figures of puts; what the nodes count is read around warming up and measuring alike."""
    warm = Load(seconds=load.warm_seconds, warm_seconds=0, rows=load.rows)
    await measure(put, PUT, warm, servers.cpu_s)
    counted = _Counted(servers)
    found = await measure(put, PUT, Load(seconds=load.seconds, warm_seconds=0, rows=load.rows), servers.cpu_s)
    rates = counted.rates()
    entries, syncs = (
        rates['kvarts_stage_seconds_count{stage="quorum"}'],
        rates['kvarts_stage_seconds_count{stage="fsync"}'],
    )
    turns = rates["kvarts_loop_turns_total"]
    return {
        "put_rate": found.rate,
        "put_p50": found.p50_us / 1e3,
        "put_p99": found.p99_us / 1e3,
        "put_cpu": found.server_us,
        "puts_per_entry": rates['kvarts_stage_seconds_count{stage="write"}'] / entries,
        "queue": _mean_ms(rates, "queue"),
        "quorum": _mean_ms(rates, "quorum"),
        "entries": entries,
        "turns": turns,
        "turn_cpu": rates["kvarts_loop_busy_seconds_total"] / turns * 1e6,
        "messages": rates["kvarts_muscle_messages_sent_total"],
        "syncs": syncs,
        "sync": _mean_ms(rates, "fsync"),
    }


def _mean_ms(rates: Counter[str], stage: str) -> float:
    labels = f'{{stage="{stage}"}}'
    return rates[f"kvarts_stage_seconds_sum{labels}"] / rates[f"kvarts_stage_seconds_count{labels}"] * 1e3


async def _settle(servers: Servers, empty_cores: float) -> float:
    """Wait until compactions are over: until the nodes take hardly more than when they had no rows.

    Return after how many seconds, at most some SETTLE_S_MAX.
    """
    began = time.perf_counter()
    while await _cores(servers) > empty_cores + REST_CORES:
        if time.perf_counter() - began > SETTLE_S_MAX:
            break
    return time.perf_counter() - began


async def _cores(servers: Servers) -> float:
    """Return how many processors the nodes keep busy."""
    began, cpu_s = time.perf_counter(), servers.cpu_s()
    await asyncio.sleep(REST_S)
    return (servers.cpu_s() - cpu_s) / (time.perf_counter() - began)


async def _at_rest(servers: Servers, seconds: float) -> dict[str, float]:
    counted = _Counted(servers)
    cpu_s = servers.cpu_s()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    cores = (servers.cpu_s() - cpu_s) / (time.perf_counter() - began)
    rates = counted.rates()
    turns, messages = rates["kvarts_loop_turns_total"], rates["kvarts_muscle_messages_sent_total"]
    return {"idle_cores": cores, "idle_turns": turns, "idle_messages": messages}


class _Counted:
    """What nodes count between its making and `rates`, per second."""

    def __init__(self, servers: Servers, clock: Callable[[], float] = time.perf_counter) -> None:
        self._servers, self._clock = servers, clock
        self._before, self._began = read_figures(servers.pages), clock()

    def rates(self) -> Counter[str]:
        after, seconds = read_figures(self._servers.pages), self._clock() - self._began
        return Counter({name: (value - self._before[name]) / seconds for name, value in after.items()})
