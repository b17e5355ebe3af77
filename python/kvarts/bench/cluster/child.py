"""One repetition in a process of its own: `python -m kvarts.bench.cluster.child` reads a task on stdin."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from kvarts.bench.cluster import stubs
from kvarts.bench.cluster.clients import Client
from kvarts.bench.cluster.peers import BY_NAME, Peer
from kvarts.bench.cluster.servers import Servers
from kvarts.bench.cluster.workloads import BY_NAME as WORKLOADS
from kvarts.bench.cluster.workloads import ROWS_PER_CALL, Ask, Load, measure, measure_sync
from kvarts.bench.workloads import Data

Results = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Repetition:
    """What a child does: who, with which rows, how long, which workloads, in which folder."""

    peer: Peer
    data: Data
    load: Load
    names: list[str]
    folder: Path

    @classmethod
    def of(cls, task: dict[str, Any]) -> Self:
        """Return what a task says: peer, value_bytes, seed, folder, load, workloads."""
        peer, load = BY_NAME[task["peer"]], Load(**task["load"])
        data = Data.make(load.rows, task["value_bytes"], task["seed"])
        names = [name for name in peer.workloads if name in task["workloads"]]
        return cls(peer, data, load, names, Path(task["folder"]))


def repeat_once(task: dict[str, Any]) -> Results:
    """Start one peer from nothing, run its workloads, end it. Return figures by workload, `start` among them."""
    this = Repetition.of(task)
    this.folder.mkdir(parents=True)
    _import_ahead(this.peer)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        began = time.perf_counter()
        servers = this.peer.start(this.folder)
        try:
            client = runner.run(_opened(this.peer.open(servers, this.folder)))
            results: Results = {"start": {"seconds": time.perf_counter() - began}}
            results |= runner.run(_run_async(this, client, servers))
            if "get_sync" in this.names:
                results["get_sync"] = _run_sync(this, servers)
        finally:
            servers.stop()
    return results


def _import_ahead(peer: Peer) -> None:
    """Import what clients need before any clock runs."""
    for module in peer.modules:
        import_module(module)
    if peer.name.startswith("kvarts"):
        import_module("kvarts._native")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's where it is installed, for all peers alike: grpc.aio gains most from it."""
    if not find_spec("uvloop"):
        return None
    uvloop: Any = import_module("uvloop")
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _opened(opening: Awaitable[Client]) -> Client:
    return await opening


async def _run_async(this: Repetition, client: Client, servers: Servers) -> Results:
    pairs, peer = this.data.pairs, this.peer
    groups = [pairs[first : first + ROWS_PER_CALL] for first in range(0, len(pairs), ROWS_PER_CALL)]
    for group in groups:
        await client.put_many(group)
    assert await client.get(pairs[0][0]) is not None
    if "unary_64" in this.names and peer.add_unary is not None and stubs.are_possible():
        await peer.add_unary(client, servers, this.folder)
    asks = _asks(client, this.data, groups)
    results: Results = {}
    for name in this.names:
        workload = WORKLOADS[name]
        if workload.verb in asks:
            found = await measure(asks[workload.verb], workload, this.load, servers.cpu_s)
            results[name] = found.as_dict()
            servers.check()
    await client.close()
    return results


def _asks(client: Client, data: Data, groups: list[list[tuple[bytes, bytes]]]) -> dict[str, Ask]:
    """Return for each verb what sends the request of a number."""
    pairs, rows = data.pairs, len(data.pairs)
    put, get, put_many, unary_put = client.put, client.get, client.put_many, client.unary_put
    asks: dict[str, Ask] = {
        "put": lambda number: put(*pairs[number % rows]),
        "get": lambda number: get(pairs[number % rows][0]),
        "put_many": lambda number: put_many(groups[number % len(groups)]),
    }
    if unary_put is not None:
        asks["unary_put"] = lambda number: unary_put(*pairs[number % rows])
    return asks


def _run_sync(this: Repetition, servers: Servers) -> dict[str, float]:
    assert this.peer.open_sync is not None
    get, close = this.peer.open_sync(servers)
    keys = [key for key, _ in this.data.pairs]
    assert get(keys[0]) == this.data.pairs[0][1]
    found = measure_sync(get, keys, WORKLOADS["get_sync"], this.load, servers.cpu_s)
    close()
    return found.as_dict()


if __name__ == "__main__":
    json.dump(repeat_once(json.load(sys.stdin)), sys.stdout)
