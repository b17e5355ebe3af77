"""What callers notice while a cluster changes under load: shards split, nodes join, one is drained, one is killed.

Requests come at a fixed rate, whatever became of those before (an open loop), so that a pause counts for all that it
kept waiting. A wait begins when the request was due.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import kvarts
from kvarts.bench.board import judge
from kvarts.bench.cluster.child import _loop_factory
from kvarts.bench.cluster.servers import Servers, join_kvarts, start_kvarts
from kvarts.bench.cluster.workloads import Ask, drive
from kvarts.bench.runner import CHILD, Progress, Task, run_tasks
from kvarts.bench.statistics import Estimate, quantile, ratio_estimate
from kvarts.bench.workloads import Data
from kvarts.remote.admin import call

NODES = 3
JOINING = 2
SHARDS = 8
SPLIT_INTO = 16
IN_FLIGHT = 64
VALUE_BYTES = 100
TIMEOUT_S = 60.0
STEP_S_MAX = 120.0
POLL_S = 0.25
PACE_S = 0.002
QUIET = "quiet"
CHANGES = "changes"
"""All phases but the quiet one, together."""
PHASES = {
    QUIET: "three nodes, 8 shards",
    "split": "8 shards become 16",
    "join": "two nodes join and get their share",
    "drain": "one node is emptied",
    "kill": "another is killed (kill -9)",
    CHANGES: "from the split on, all together",
}
FIGURES = {"seconds": "s", "rate": "requests/s", "p50": "ms", "p99": "ms", "longest": "ms", "errors": ""}
P99_RATIO_MAX = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run. `load` is the rate of requests, as a share of what 64 in flight reach at first."""

    load: float = 0.7
    seconds: float = 10.0
    rows: int = 10_000
    repetitions: int = 3
    memory: str = "64MiB"
    seed: int = 1

    def tasks(self) -> list[Task]:
        """Return the repetitions."""
        common = asdict(self) | {"peer": "kvarts", "module": __name__, "setting": f"{self.load:.0%} load"}
        return [common | {"seed": self.seed + repetition} for repetition in range(self.repetitions)]


@dataclass(slots=True)
class Outcome:
    """By phase and figure the sample of each repetition; and of each one, second by second, the p99 in ms."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    timelines: list[dict[str, Any]] = field(default_factory=list)

    def add(self, _task: Task, found: dict[str, Any]) -> None:
        """Take in one repetition."""
        for phase, figures in found["phases"].items():
            rows = self.samples.setdefault(phase, {})
            for name, figure in figures.items():
                rows.setdefault(name, []).append(figure)
        self.timelines.append(found["timeline"])


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the bar was met, as in kvarts.bench.board."""

    found: Estimate
    errors: int
    verdict: str

    @property
    def text(self) -> str:
        """What was found and what was asked, for people."""
        return f"p99 while the cluster changes: {self.found} times the quiet one, asked: at most {P99_RATIO_MAX:g}"


def verdict(outcome: Outcome) -> Verdict:
    """Return how the bar was met: p99 within three times the quiet one, and no error."""
    found = ratio_estimate(outcome.samples[CHANGES]["p99"], outcome.samples[QUIET]["p99"])
    errors = sum(int(each) for rows in outcome.samples.values() for each in rows["errors"])
    return Verdict(found, errors, "missed" if errors else judge(found, P99_RATIO_MAX, higher=False, stretch=None))


def run(plan: Plan, outcome: Outcome, scratch: Path, progress: Progress) -> None:
    """Run a plan in a folder and add to an outcome. Raises RepetitionFailedError; what was measured before stays."""
    run_tasks(plan.tasks(), CHILD, scratch, outcome.add, progress)


def repeat_once(task: Task) -> dict[str, Any]:
    """Start three nodes from nothing, load them, change the cluster, end it. Return the figures by phase."""
    folder = Path(task["folder"])
    servers = start_kvarts(folder, NODES, memory=task["memory"])
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_figures(task, servers, folder))
    finally:
        servers.stop()


async def _figures(task: Task, servers: Servers, folder: Path) -> dict[str, Any]:
    pairs = Data.make(task["rows"], VALUE_BYTES, task["seed"]).pairs
    rng = random.Random(task["seed"])  # noqa: S311  # data, no secret
    open_async: Any = kvarts.open_async
    uri = f"kvarts://{','.join(servers.addresses)}"
    store = await open_async(f"{uri}/load", shards=SHARDS, timeout=TIMEOUT_S)
    await store.put_many(pairs)

    def ask(number: int) -> Any:
        key, value = pairs[rng.randrange(len(pairs))]
        return store.get(key) if number % 2 else store.put(key, value)

    await drive(ask, IN_FLIGHT, task["seconds"] / 10)
    began = time.perf_counter()
    done = await drive(ask, IN_FLIGHT, task["seconds"] / 4)
    rate = task["load"] * len(done) / (time.perf_counter() - began)
    stream = Stream(ask, rate)
    operator = Operator(uri, servers, folder)
    async with asyncio.TaskGroup() as group:
        group.create_task(stream.run())
        with stream.stopped_after():
            for phase in PHASES:
                if phase != CHANGES:
                    await stream.phase(phase, operator.step(phase), task["seconds"])
    await store.close()
    return stream.found()


class Stream:
    """Requests at a rate. `ask` is called with numbers from 0 on and returns once one is answered."""

    def __init__(self, ask: Ask, rate: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._ask, self._interval, self._clock = ask, 1 / rate, clock
        self._waits: list[tuple[float, float]] = []
        """(when it was due, how long it took) of each that was answered."""
        self._failed: list[tuple[float, str]] = []
        self._bounds: list[tuple[str, float, float]] = []
        self._is_over = False
        self._began = clock()

    async def run(self) -> None:
        """Send until stopped, then wait for the answers."""
        due, number = self._clock(), 0
        async with asyncio.TaskGroup() as group:
            while not self._is_over:
                now = self._clock()
                while due <= now:
                    group.create_task(self._one(number, due))
                    number, due = number + 1, due + self._interval
                # Timers of event loops are coarse; one that is rounded to nothing would keep a processor busy.
                await asyncio.sleep(max(due - self._clock(), PACE_S))

    async def _one(self, number: int, due: float) -> None:
        try:
            await self._ask(number)
        except kvarts.KvartsError as error:
            self._failed.append((due, error.code))
        else:
            self._waits.append((due, self._clock() - due))

    @contextmanager
    def stopped_after(self) -> Iterator[None]:
        """End `run` when the block ends, however it does."""
        try:
            yield
        finally:
            self._is_over = True

    async def phase(self, name: str, step: Any, seconds: float) -> None:
        """Name what passes until a step is done, and for so many seconds at least."""
        began = self._clock()
        await step
        await asyncio.sleep(max(0.0, began + seconds - self._clock()))
        self._bounds.append((name, began, self._clock()))

    def found(self) -> dict[str, Any]:
        """Return the figures by phase, and the p99 of each second."""
        _, quiet_end = self._bounds[0][1:]
        bounds = [*self._bounds, (CHANGES, quiet_end, self._bounds[-1][2])]
        seconds: dict[int, list[float]] = {}
        for due, wait in self._waits:
            seconds.setdefault(int(due - self._began), []).append(wait)
        p99 = [[second, quantile(sorted(waits), 0.99) * 1e3] for second, waits in sorted(seconds.items())]
        marks = [[name, begin - self._began] for name, begin, _ in self._bounds]
        figures = {name: self._figures(begin, end) for name, begin, end in bounds}
        failed = Counter(code for _, code in self._failed)
        return {"phases": figures, "timeline": {"p99": p99, "marks": marks, "failed": failed}}

    def _figures(self, begin: float, end: float) -> dict[str, float]:
        waits = sorted(wait for due, wait in self._waits if begin <= due < end)
        return {
            "seconds": end - begin,
            "rate": len(waits) / (end - begin),
            "p50": quantile(waits, 0.5) * 1e3,
            "p99": quantile(waits, 0.99) * 1e3,
            "longest": waits[-1] * 1e3,
            "errors": sum(begin <= due < end for due, _ in self._failed),
        }


class Operator:
    """Who changes the cluster, step by step, and waits until each step is done."""

    def __init__(self, uri: str, servers: Servers, folder: Path) -> None:
        self._uri, self._servers, self._folder = uri, servers, folder

    async def step(self, phase: str) -> None:
        """Carry out what a phase is about."""
        if phase == "split":
            await self._until(self._is_split)
        elif phase == "join":
            for number in range(JOINING):
                folder = self._folder / f"joined-{number}"
                await asyncio.to_thread(join_kvarts, self._servers, folder)
            await self._until(lambda: len(self._kept()) == NODES + JOINING and self._rests())
        elif phase == "drain":
            await self._ask("drain", id=NODES)
            await self._until(lambda: NODES not in self._kept() and self._rests())
        elif phase == "kill":
            os.kill(self._servers.pids[1], signal.SIGKILL)

    async def _ask(self, verb: str, **arguments: object) -> Any:
        return await asyncio.to_thread(call, self._uri, verb, arguments)

    async def _until(self, is_done: Callable[[], bool]) -> None:
        async with asyncio.timeout(STEP_S_MAX):
            while not await asyncio.to_thread(is_done):
                await asyncio.sleep(POLL_S)

    def _is_split(self) -> bool:
        told = call(self._uri, "split", {"keyspace": "load", "into": SPLIT_INTO})
        return not told["splitting"] and told["shards"] == SPLIT_INTO

    def _kept(self) -> Counter[int]:
        shards = call(self._uri, "shards")["shards"]
        return Counter(voter for shard in shards for voter in shard["voters"])

    def _rests(self) -> bool:
        plan = call(self._uri, "plan")
        return not plan["moving"] and not plan["moves"]
