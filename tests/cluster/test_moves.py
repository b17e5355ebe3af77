"""Shards split and move between real processes under load: nodes join, drain and die; no caller sees an error."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import kvarts
from kvarts.remote.admin import call
from tests.cluster.clients import Recorder
from tests.cluster.network import Network, in_namespace
from tests.cluster.nodes import Nodes

Record = Callable[..., Recorder]

SHARDS = 8
CLIENTS = 6
MOVE_S_MAX = 90.0


class Operator:
    """Somebody at the clients' host who asks the cluster."""

    def __init__(self, nodes: Nodes, network: Network) -> None:
        self._nodes = nodes
        self._namespace = network.host(CLIENTS).namespace
        self._pulse = threading.Event()

    def ask(self, verb: str, **arguments: object) -> Any:
        """Ask, and return the answer."""
        return in_namespace(self._namespace, lambda: call(self._nodes.uri, verb, arguments))

    def try_(self, verb: str, **arguments: object) -> None:
        """Ask what may be refused."""
        with suppress(kvarts.KvartsError):
            self.ask(verb, **arguments)

    def make(self, keyspace: str) -> None:
        """Make a keyspace of many shards."""

        def made() -> None:
            with kvarts.open(f"{self._nodes.uri}/{keyspace}", shards=SHARDS, timeout=30):
                pass

        in_namespace(self._namespace, made)

    def split(self, keyspace: str, into: int) -> None:
        """Split shards until the keyspace has so many."""
        until = time.monotonic() + MOVE_S_MAX
        while True:
            told = self.ask("split", keyspace=keyspace, into=into)
            if not told["splitting"] and told["shards"] == into:
                return
            assert time.monotonic() < until, told

    def await_(self, what: Callable[[dict[int, int]], bool], why: str) -> None:
        """Wait until no shard moves and the nodes keep as many shards as `what` wants."""
        until = time.monotonic() + MOVE_S_MAX
        while True:
            shards = self.ask("shards")["shards"]
            kept: dict[int, int] = {}
            for voter in (voter for shard in shards for voter in shard["voters"]):
                kept[voter] = kept.get(voter, 0) + 1
            moving = [shard for shard in shards if shard["move"]]
            if not moving and what(kept):
                return
            assert time.monotonic() < until, f"{why}: {kept}, moving {moving}"
            self._pulse.wait(0.2)


@pytest.fixture
def operator(nodes: Nodes, network: Network) -> Operator:
    return Operator(nodes, network)


def test_shards_split_nodes_join_drain_and_die_and_no_caller_sees_it(
    nodes: Nodes, network: Network, record: Record, operator: Operator
) -> None:
    operator.make("moved")
    recorder = record(f"{nodes.uri}/moved", timeout_s=20.0)
    recorder.await_more(100)
    operator.split("moved", 2 * SHARDS)
    recorder.await_more(50)
    nodes.start([4], "--join", nodes.address(1))
    nodes.start([5], "--join", nodes.address(2))
    operator.await_(lambda kept: min(kept.get(each, 0) for each in (4, 5)) >= SHARDS, "newcomers get no share")
    recorder.await_more(50)
    operator.ask("drain", id=1)
    operator.await_(lambda kept: 1 not in kept, "node 1 keeps shards")
    recorder.await_more(50)
    nodes.kill(2)
    recorder.await_more(100, wait_s=60.0)
    nodes.start([2])
    operator.ask("remove-node", id=1)
    assert nodes.processes[1].wait(30) != 0
    assert any("was removed" in str(event.get("reason")) for event in nodes.told(1, "stopped"))
    operator.await_(lambda kept: sorted(kept) == [2, 3, 4, 5], "a shard is lost")
    recorder.await_more(50)
    assert recorder.errors == []


@pytest.mark.long
@pytest.mark.parametrize("round_", range(5))
def test_moves_survive_kills_at_any_moment(
    nodes: Nodes, network: Network, record: Record, operator: Operator, round_: int
) -> None:
    operator.make("moved")
    recorder = record(f"{nodes.uri}/moved", timeout_s=30.0)
    recorder.await_more(50)
    nodes.start([4], "--join", nodes.address(1))
    nodes.start([5], "--join", nodes.address(2))
    for number in (1, 2, 3, 4, 5):
        # Whatever is under way there is cut in the middle.
        recorder.await_more(10 + 7 * round_, wait_s=60.0)
        nodes.kill(number)
        recorder.await_more(20, wait_s=60.0)
        nodes.start([number], *(("--join", nodes.address(1)) if number > 3 else ()))
    operator.await_(lambda kept: min(kept.get(each, 0) for each in range(1, 6)) >= 4, "loads are not level")
    recorder.await_more(50)
    assert recorder.errors == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
def test_operators_and_kills_in_any_order(
    nodes: Nodes, network: Network, record: Record, operator: Operator, seed: int
) -> None:
    """Nodes are drained and taken back, killed and started, two thirds of them up at any moment."""
    rng = random.Random(seed)
    operator.make("moved")
    recorder = record(f"{nodes.uri}/moved", timeout_s=40.0)
    nodes.start([4], "--join", nodes.address(1))
    nodes.start([5], "--join", nodes.address(2))
    operator.await_(lambda kept: min(kept.get(each, 0) for each in (4, 5)) >= 4, "newcomers get no share")
    for _ in range(12):
        number = rng.randrange(1, 6)
        if rng.random() < 0.5:
            nodes.kill(number)
            recorder.await_more(rng.randrange(1, 60), wait_s=90.0)
            nodes.start([number], *(("--join", nodes.address(1)) if number > 3 else ()))
        else:
            operator.try_("drain", id=number, stop=rng.random() < 0.5)
        recorder.await_more(rng.randrange(1, 60), wait_s=90.0)
    for number in range(1, 6):
        operator.ask("drain", id=number, stop=True)
    operator.await_(lambda kept: min(kept.get(each, 0) for each in range(1, 6)) >= 4, f"not level; seed={seed}")
    recorder.await_more(50)
    assert recorder.errors == []
