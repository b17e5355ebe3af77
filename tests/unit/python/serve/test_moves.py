"""Shards move between native muscles: to nodes that join, away from those that drain or are lost, under load."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import kvarts
from kvarts.node.shards import META
from kvarts.raft.ids import NodeId
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Role
from kvarts.remote.admin import call
from tests.unit.python.serve.nodes import Cluster, Node, cluster, until

ROWS = {b"user%03d" % number: b"%d" % number for number in range(300)}
SHARDS = 8


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as running:
        yield running


@dataclass
class Load:
    """Writes without end, each with a value of its own; `acknowledged` is what must be found again."""

    db: Any
    acknowledged: dict[bytes, bytes] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            key, value = b"load%02d" % (count % 50), b"%d" % count
            try:
                self.db[key] = value
            except kvarts.KvartsError as error:
                self.errors.append(error)
                return
            self.acknowledged[key] = value

    def stop(self) -> None:
        """End, and see that nothing failed and nothing is lost."""
        self._stop.set()
        self._thread.join()
        assert not self.errors
        assert {key: self.db[key] for key in self.acknowledged} == self.acknowledged


@contextmanager
def loaded(nodes: Cluster) -> Iterator[Any]:
    """Return a store of many shards that is written to all the while."""
    with kvarts.open(f"{nodes.uri}/moved?timeout=30", shards=SHARDS) as db:
        db.put_many(ROWS)
        load = Load(db)
        try:
            yield db
        finally:
            load.stop()
        assert {key: value for key, value in db.items() if key in ROWS} == ROWS


def kept(node: Node) -> set[int]:
    """Return the shards that a node holds."""
    return set(node.muscle.groups()) - {META}


def duty(nodes: Cluster, number: int) -> str:
    """Return what the leader thinks of a node."""
    return str(next(each["duty"] for each in call(nodes.uri, "plan")["nodes"] if each["node"] == number))


def settled(nodes: Cluster) -> bool:
    """Return whether nothing moves, and every group and node is as the map says."""
    shard_map = nodes.leader().loop.shards.map
    for node in nodes.nodes.values():
        if kept(node) != {each.id for each in shard_map.held_by(NodeId(node.number))}:
            return False
        for group, replica in list(node.loop.replicator.replicas.items()):
            shard = shard_map.get(group)  # type: ignore[arg-type]
            leads = group != META and replica.raft.role is Role.LEADER
            if leads and (shard is None or replica.raft.status().membership != Membership.of(*shard.voters)):
                return False
    return not any(each.busy for each in shard_map.shards)


def test_a_node_that_joins_gets_its_share_and_one_that_drains_is_emptied(nodes: Cluster, tmp_path: Path) -> None:
    with loaded(nodes) as db:
        joined = nodes.join(tmp_path)
        until(lambda: len(kept(joined)) == SHARDS * 3 // 4 and settled(nodes), "the newcomer gets no share")
        assert sorted(len(kept(each)) for each in nodes.nodes.values()) == [6, 6, 6, 6]
        assert call(nodes.uri, "drain", {"id": 1})["draining"]
        until(lambda: not kept(nodes.nodes[1]) and settled(nodes), "the node that drains keeps shards")
        assert set(map(db.get, ROWS)) == set(ROWS.values())
        gone = nodes.nodes.pop(1)
        assert call(nodes.uri, "remove-node", {"id": 1}) == {"id": 1, "removed": True}
        gone._thread.join(30)
        assert "was removed" in str(gone._reason)
        gone.muscle.stop()
    gone.open()
    gone.run({**nodes.addresses, 1: gone.address})
    gone._thread.join(30)
    assert "was removed" in str(gone._reason)
    gone.muscle.stop()


def test_replicas_of_a_node_that_is_lost_are_made_anew(nodes: Cluster, tmp_path: Path) -> None:
    joined = nodes.join(tmp_path)
    with loaded(nodes):
        until(lambda: len(kept(joined)) == SHARDS * 3 // 4 and settled(nodes), "the newcomer gets no share")
        with pytest.raises(kvarts.InvalidArgument, match="answers: it is not lost"):
            call(nodes.uri, "lose", {"id": 2})
        lost = nodes.nodes.pop(2)
        lost.drop()
        until(lambda: duty(nodes, 2) == "away", "its silence is not noticed")
        with pytest.raises(kvarts.InvalidArgument, match="does not answer"):
            call(nodes.uri, "drain", {"id": 2})
        call(nodes.uri, "lose", {"id": 2})
        until(
            lambda: all(len(kept(each)) == SHARDS for each in nodes.nodes.values()) and settled(nodes),
            "what was lost is not made anew",
        )
        call(nodes.uri, "remove-node", {"id": 2})


def test_changes_that_cannot_be_are_refused_with_the_reason(nodes: Cluster) -> None:
    with kvarts.open(f"{nodes.uri}/kept?timeout=30", shards=2):
        pass
    with pytest.raises(kvarts.InvalidArgument, match="3 replicas need as many nodes; 2 would be left"):
        call(nodes.uri, "drain", {"id": 3})
    with pytest.raises(kvarts.InvalidArgument, match="node 9 does not belong"):
        call(nodes.uri, "drain", {"id": 9})
    with pytest.raises(kvarts.InvalidArgument, match="cannot replace itself"):
        call(nodes.uri, "replace", {"old": 3, "new": 3})
    with pytest.raises(kvarts.InvalidArgument, match="cannot lead shard 2"):
        call(nodes.uri, "move-leader", {"shard": 2, "to": 9})
    plan = call(nodes.uri, "plan")
    assert (plan["moves"], plan["moving"], plan["blocked"]) == ([], [], [])
    supposed = call(nodes.uri, "plan", {"drain": 3})
    assert {each["why"] for each in supposed["blocked"]} == {
        "3 replicas need as many nodes, and 2 serve: add one first"
    }


def test_a_shard_is_led_by_whom_it_is_told_to(nodes: Cluster) -> None:
    with kvarts.open(f"{nodes.uri}/led?timeout=30", shards=1) as db:
        db[b"a"] = b"1"
        (shard,) = call(nodes.uri, "shards")["shards"]
        heir = next(each for each in (1, 2, 3) if each != shard["leader"])
        assert call(nodes.uri, "move-leader", {"shard": shard["id"], "to": heir}) == {
            "shard": shard["id"],
            "leader": heir,
        }
        assert db[b"a"] == b"1"
