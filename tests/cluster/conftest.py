"""A cluster of three in namespaces, and clients of it in a namespace of their own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvarts.testing.linearizability import Map, check
from tests.cluster.clients import Recorder
from tests.cluster.disk import Disk, small_disk
from tests.cluster.network import Network, demand_root, enter
from tests.cluster.nodes import Nodes

HOSTS = 6
CLIENTS = 6
"""The last host is the clients'."""
DISK_SIZE = "400m"
"""Room for a node's start, twice."""
SEED = int(os.environ.get("KVARTS_SEED", "1"))


@pytest.fixture
def network() -> Iterator[Network]:
    """Six hosts."""
    demand_root()
    net = Network(HOSTS, SEED)
    yield net
    net.close()


@pytest.fixture
def disk(network: Network, tmp_path: Path) -> Iterator[Disk]:
    """A small disk for node 1; asked for before `nodes`, they use it."""
    with small_disk(tmp_path / "node-1", DISK_SIZE) as mounted:
        yield mounted


@pytest.fixture
def nodes(network: Network, tmp_path: Path) -> Iterator[Nodes]:
    """Three nodes, which lead and follow."""
    cluster = Nodes(network, tmp_path, 3)
    try:
        cluster.start()
        cluster.leader()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def record(network: Network, nodes: Nodes) -> Iterator[Callable[..., Recorder]]:
    """Starts clients; in the end what they saw must be linearizable."""
    begun: list[Recorder] = []

    def start(uri: str | None = None, **options: float) -> Recorder:
        namespace = network.host(CLIENTS).namespace
        recorder = Recorder(uri or nodes.uri, SEED, enter=lambda: enter(namespace), **options)  # type: ignore[arg-type]
        begun.append(recorder)
        recorder.start()
        return recorder

    yield start
    network.heal()
    for recorder in begun:
        recorder.stop()
        assert recorder.waits, recorder.errors[:5]
        verdict = check(recorder.operations, Map())
        assert verdict, f"{verdict}\nreplay: KVARTS_SEED={SEED} nox -s test -- tests/cluster"
