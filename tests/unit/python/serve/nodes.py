"""Nodes of one cluster in one process: each a native muscle under the production loop, in a thread of its own."""

from __future__ import annotations

import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import kvarts
from kvarts import _native
from kvarts.base.api import Store
from kvarts.node.bridge import PEER_CAME
from kvarts.node.codec import encode_membership
from kvarts.node.log import MuscleLog
from kvarts.node.loop import Loop
from kvarts.node.news import News
from kvarts.node.shards import META, features_text
from kvarts.raft.ids import LogIndex, NodeId
from kvarts.raft.membership import Membership
from kvarts.raft.options import RaftOptions
from kvarts.remote.admin import call
from kvarts.replication.events import GroupId, GroupOpened
from kvarts.replication.options import ReplicatorOptions
from kvarts.replication.replicator import Replicator

CLUSTER = "00112233445566778899aabbccddeeff"
WAIT_S = 60.0
TICK_MS = 20
"""Shorter than in production: tests wait for elections."""


def until(what: Callable[[], object], why: str) -> None:
    """Wait until something holds. Raises AssertionError after a minute."""
    gone = threading.Event()
    deadline = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < deadline, why
        gone.wait(0.01)


class Node:
    """One node. It can be stopped and started again at the same address."""

    def __init__(self, number: int, data: Path, voters: tuple[int, ...], **settings: object) -> None:
        self.number = number
        self._data = data
        self._voters = voters
        self._settings = settings
        self._address = "127.0.0.1:0"
        self.keep_entries = 1000
        self.open()

    def open(self) -> None:
        """Open the directory and listen; nothing happens yet."""
        config = {
            "data": str(self._data),
            "node_id": self.number,
            "cluster_id": CLUSTER,
            "listen": self._address,
            "features": features_text(),
        }
        self.muscle = _native.Muscle({**config, **self._settings})
        if META not in self.muscle.groups():
            founding = Membership.of(*self._voters)
            self.muscle.add_group(META, encode_membership(founding) if self._voters else b"")
        self.muscle.start()
        self._address = self.muscle.address

    @property
    def address(self) -> str:
        """Where it listens, and will again."""
        return self._address

    def run(self, addresses: dict[int, str]) -> None:
        """Let the loop run."""
        muscle = self.muscle
        raft = RaftOptions(node=NodeId(self.number), forward_proposals=False, empty_votes=False)
        groups = [
            GroupOpened(
                GroupId(group), LogIndex(muscle.position(group)[0]), dict(muscle.system_scan(group, b"config/"))
            )
            for group in muscle.groups()
        ]
        now_ms, early = muscle.poll(0)
        options = ReplicatorOptions(raft=raft, tick_ms=TICK_MS, ticks_max=50, keep_entries=self.keep_entries)
        seeds = random.Random(self.number)
        replicator = Replicator(
            options, MuscleLog(muscle), groups, lambda _: random.Random(seeds.random()), now_ms=now_ms
        )
        self.loop = Loop(
            muscle,
            replicator,
            News(io.StringIO(), self.number, lambda: 0),
            static_peers={NodeId(node): address for node, address in addresses.items()},
            cluster=CLUSTER,
            clock_ns=time.perf_counter_ns,
            random=seeds,
            stop_ms_max=2_000,
        )
        # In production nobody comes before the loop is there.
        for event in early:
            if event[0] == PEER_CAME:
                self.loop.desk.peer_came(*event[1:])
        self._reason: str | None = "still running"
        self._thread = threading.Thread(target=self._run, args=(self.loop,), daemon=True)
        self._thread.start()

    def _run(self, loop: Loop) -> None:
        self._reason = loop.run()

    @property
    def applied(self) -> int:
        """Index that its state machine has reached."""
        return self.muscle.position(META)[0]

    @property
    def leads(self) -> bool:
        """True if it believes so."""
        return self.loop.replicator.status()[0].role.name == "LEADER"

    def stop(self) -> str | None:
        """Stop in good order; return why the loop ended."""
        self.loop.stop_wanted = True
        return self.drop()

    def drop(self) -> str | None:
        """Stop at once: no leadership is handed over, nothing is flushed."""
        self.loop._stop_by_ms = self.loop._stop_by_ms or 0
        self.loop.stop_wanted = True
        self.muscle.wake()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), f"the loop of node {self.number} does not end"
        self.muscle.stop()
        return self._reason


@dataclass
class Cluster:
    """Some nodes, and how to reach them."""

    nodes: dict[int, Node] = field(default_factory=dict)

    @property
    def addresses(self) -> dict[int, str]:
        """Where all nodes listen."""
        return {number: node.address for number, node in self.nodes.items()}

    def leader(self) -> Node:
        """Return the node that leads, waiting for one."""
        until(self._leaders, "nobody leads")
        return self._leaders()[0]

    def _leaders(self) -> list[Node]:
        return [node for node in self.nodes.values() if node._thread.is_alive() and node.leads]

    def followers(self) -> list[Node]:
        """Return the others."""
        leader = self.leader()
        return [node for node in self.nodes.values() if node is not leader]

    def join(self, path: Path) -> Node:
        """Return a node more, which has joined and votes."""
        number = max(self.nodes) + 1
        node = Node(number, path / str(number), ())
        node.run({**self.addresses, number: node.address})
        call(self.uri, "add-node", {"id": number, "address": node.address})
        self.nodes[number] = node
        return node

    def restart(self, node: Node) -> None:
        """Open a node again that was stopped."""
        node.open()
        node.run(self.addresses)

    @property
    def uri(self) -> str:
        """All nodes."""
        return "kvarts://" + ",".join(self.addresses.values())

    def open(self, keyspace: str = "test") -> Store[bytes, bytes]:
        """Return a store of the cluster."""
        return kvarts.open(f"{self.uri}/{keyspace}?timeout=30")


@contextmanager
def cluster(path: Path, count: int = 3, **settings: object) -> Iterator[Cluster]:
    """Return a running cluster; its nodes end with the block."""
    voters = tuple(range(1, count + 1))
    nodes = Cluster({number: Node(number, path / str(number), voters, **settings) for number in voters})
    for node in nodes.nodes.values():
        node.run(nodes.addresses)
    try:
        yield nodes
    finally:
        for node in nodes.nodes.values():
            if node._thread.is_alive():
                node.drop()
