"""Shards split between real processes under load while nodes die: every row stays, and no caller sees it."""

from collections.abc import Callable

import kvarts
from tests.cluster.clients import Recorder
from tests.cluster.network import Network, in_namespace
from tests.cluster.nodes import Nodes
from tests.cluster.test_moves import CLIENTS, SHARDS, Operator, operator

__all__ = ["operator"]

Record = Callable[..., Recorder]

ROWS = {b"row/%04d" % number: b"%d" % number * 20 for number in range(1000)}


def test_nodes_die_while_shards_split_under_load(
    nodes: Nodes, network: Network, record: Record, operator: Operator
) -> None:
    clients = network.host(CLIENTS).namespace
    operator.make("halved")

    def fill() -> None:
        with kvarts.open(f"{nodes.uri}/halved", timeout=30) as db:
            db.put_many(ROWS.items())

    def rows() -> dict[bytes, bytes]:
        with kvarts.open(f"{nodes.uri}/halved", timeout=30) as db:
            return {bytes(key): bytes(value) for key, value in db.scan(prefix=b"row/")}

    in_namespace(clients, fill)
    recorder = record(f"{nodes.uri}/halved", timeout_s=30.0)
    recorder.await_more(100)

    operator.try_("split", keyspace="halved", into=SHARDS + 4)
    recorder.await_more(20)
    leader = nodes.leader()
    nodes.kill(leader)
    recorder.await_more(50, wait_s=60.0)
    nodes.start([leader])
    operator.split("halved", SHARDS + 4)

    operator.try_("split", keyspace="halved", into=2 * SHARDS)
    recorder.await_more(10, wait_s=60.0)
    leader = nodes.leader()
    follower = next(number for number in nodes.founders if number != leader)
    nodes.kill(follower)
    recorder.await_more(50, wait_s=60.0)
    nodes.start([follower])
    recorder.await_more(10, wait_s=60.0)
    nodes.kill(*nodes.founders)
    nodes.start()
    operator.split("halved", 2 * SHARDS)
    recorder.await_more(100, wait_s=60.0)

    assert in_namespace(clients, rows) == ROWS
    assert recorder.errors == []
