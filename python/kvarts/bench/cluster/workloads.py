"""What is measured on servers: N tasks of one process that each wait for their answer before they ask again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from kvarts.bench.statistics import quantile

ROWS_PER_CALL = 100
Ask = Callable[[int], Awaitable[object]]
"""Sends the request of a number and returns once it is answered."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One measured workload: which verb of a client, how many calls at once, and the figure that tables compare."""

    name: str
    verb: str
    in_flight: int
    figure: str
    title: str
    rows_per_call: int = 1


WORKLOADS = (
    Workload("put_1", "put", 1, "p50_us", "put, 1 in flight"),
    Workload("put_64", "put", 64, "rate", "put, 64 in flight"),
    Workload("put_256", "put", 256, "rate", "put, 256 in flight"),
    Workload("unary_64", "unary_put", 64, "rate", "put, 64 in flight, plain gRPC"),
    Workload("many_1", "put_many", 1, "rate", f"put_many({ROWS_PER_CALL}), 1 in flight", ROWS_PER_CALL),
    Workload("many_16", "put_many", 16, "rate", f"put_many({ROWS_PER_CALL}), 16 in flight", ROWS_PER_CALL),
    Workload("get_1", "get", 1, "p50_us", "linearizable get, 1 in flight"),
    Workload("get_64", "get", 64, "rate", "linearizable get, 64 in flight"),
    Workload("get_sync", "sync_get", 1, "p50_us", "get in a loop, no asyncio"),
)
START = Workload("start", "start", 1, "seconds", "from nothing to a put served")
BY_NAME = {workload.name: workload for workload in (*WORKLOADS, START)}
FIGURES = {"rate": "rows/s", "p50_us": "p50, µs", "p99_us": "p99, µs", "server_us": "server CPU, µs/row"}
"""What is known of each workload; `start` has `seconds` alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How long each workload runs, how long it warms up before, and how many rows there are."""

    seconds: float = 2.0
    warm_seconds: float = 0.3
    rows: int = 10_000


QUICK = Load(seconds=0.7, warm_seconds=0.2, rows=2_000)


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of a workload. CPU is per row: of all server processes together, and of the client's process."""

    rate: float
    p50_us: float
    p99_us: float
    server_us: float
    client_us: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


class Meter:
    """Sums up what lies between `start` and `figures`. `server_cpu_s` tells the processor time of the servers."""

    def __init__(self, server_cpu_s: Callable[[], float], clock: Callable[[], float] = time.perf_counter) -> None:
        self._server_cpu_s = server_cpu_s
        self._clock = clock
        self._began = (clock(), server_cpu_s(), time.process_time())

    def figures(self, waits_s: list[float], rows_per_call: int) -> Figures:
        """Return the figures of calls that took so long each."""
        began, server_s, client_s = self._began
        seconds = self._clock() - began
        server_s, client_s = self._server_cpu_s() - server_s, time.process_time() - client_s
        ordered, rows = sorted(waits_s), len(waits_s) * rows_per_call
        p50, p99 = quantile(ordered, 0.5), quantile(ordered, 0.99)
        return Figures(rows / seconds, p50 * 1e6, p99 * 1e6, server_s / rows * 1e6, client_s / rows * 1e6)


async def drive(ask: Ask, in_flight: int, seconds: float, first: int = 0) -> list[float]:
    """Keep so many calls in flight for some seconds and return how long each took, those at the end included."""
    clock = time.perf_counter
    until = clock() + seconds
    waits: list[float] = []

    async def task(number: int) -> None:
        # One call at least, however late a busy machine comes to it.
        while True:
            asked = clock()
            await ask(number)
            waits.append((done := clock()) - asked)
            number += in_flight
            if done >= until:
                return

    async with asyncio.TaskGroup() as group:
        for number in range(first, first + in_flight):
            group.create_task(task(number))
    return waits


async def measure(ask: Ask, workload: Workload, load: Load, server_cpu_s: Callable[[], float]) -> Figures:
    """Warm up, then measure a workload of asyncio."""
    warm = await drive(ask, workload.in_flight, load.warm_seconds)
    meter = Meter(server_cpu_s)
    waits = await drive(ask, workload.in_flight, load.seconds, first=len(warm))
    return meter.figures(waits, workload.rows_per_call)


def measure_sync(
    get: Callable[[bytes], Any], keys: list[bytes], workload: Workload, load: Load, server_cpu_s: Callable[[], float]
) -> Figures:
    """Warm up, then measure a loop of blocking gets."""
    _loop(get, keys, load.warm_seconds)
    meter = Meter(server_cpu_s)
    return meter.figures(_loop(get, keys, load.seconds), workload.rows_per_call)


def _loop(get: Callable[[bytes], Any], keys: list[bytes], seconds: float) -> list[float]:
    clock = time.perf_counter
    until = clock() + seconds
    waits: list[float] = []
    while not waits or clock() < until:
        for key in keys[:200]:
            asked = clock()
            get(key)
            waits.append(clock() - asked)
    return waits
