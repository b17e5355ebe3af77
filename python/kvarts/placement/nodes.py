"""What placement knows of nodes, and how much each should keep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from kvarts.base.ids import NODE_NONE, NodeId
from kvarts.base.rapidhash import prepare, rapidhash_prepared
from kvarts.shardmap.shard import ShardId

REPLICATION = 3
"""Replicas of a shard, where there are as many nodes."""

TOLERANCE = 0.05
"""How far a node's load may be from its share before replicas move, and how near it is brought: what is done in part
and planned anew goes on as it began."""

SMALL = 1e-6
ID_BYTES = 8
TOKENS = 2**64
_PREPARED = prepare(0x706C616365000001)


class Duty(Enum):
    """What a node is good for."""

    SERVES = "serves"
    AWAY = "away"
    """It does not answer for now: nothing is put there, and nothing taken away, since it may come back."""
    DRAINING = "draining"
    """It answers and is to be emptied."""
    GONE = "gone"
    """It will not come back: its replicas are made anew elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node as placement sees it. `capacity`: how much it should keep, against others' capacity.

    `successor`: while it drains or is gone, where its replicas should go first.
    """

    id: NodeId
    capacity: int = 1
    duty: Duty = Duty.SERVES
    successor: NodeId = NODE_NONE

    @property
    def answers(self) -> bool:
        """Whether it takes part in a quorum now."""
        return self.duty in (Duty.SERVES, Duty.DRAINING)

    @property
    def keeps(self) -> bool:
        """Whether replicas stay where they are on it."""
        return self.duty in (Duty.SERVES, Duty.AWAY)


def by_id(nodes: Iterable[Node]) -> dict[NodeId, Node]:
    """Return nodes by their ids, in their order."""
    return {each.id: each for each in sorted(nodes, key=lambda each: each.id)}


def shares(nodes: Sequence[Node], shards: int, replication: int) -> dict[NodeId, float]:
    """Return how many replicas each of `nodes` should keep: by capacity, but no node more than one of each shard.

    What a large node cannot take is spread over the others. With too few nodes every one keeps every shard.
    """
    left = float(shards * min(replication, len(nodes)))
    found: dict[NodeId, float] = {}
    open_nodes = sorted(nodes, key=lambda each: (-each.capacity, each.id))
    capacity = sum(each.capacity for each in open_nodes)
    for each in open_nodes:
        found[each.id] = min(float(shards), left * each.capacity / capacity)
        left -= found[each.id]
        capacity -= each.capacity
    return found


def least(share: float) -> int:
    """Return the load below which a node is filled."""
    return whole(share) - math.floor(share * TOLERANCE)


def most(share: float) -> int:
    """Return the load above which a node is relieved."""
    return whole(share, up=True) + math.floor(share * TOLERANCE)


def whole(share: float, *, up: bool = False) -> int:
    """Return a share rounded down, or up. What arithmetic on fractions leaves over does not count."""
    return math.ceil(share - SMALL) if up else math.floor(share + SMALL)


def score(shard: ShardId, node: Node) -> float:
    """Return how much a shard prefers a node: weighted rendezvous. Source: Schindelhauer, Schomaker 2005.

    A node that joins or leaves changes no other node's score.
    """
    key = shard.to_bytes(ID_BYTES, "big") + node.id.to_bytes(ID_BYTES, "big")
    drawn = (rapidhash_prepared(key, _PREPARED) + 0.5) / TOKENS
    return -node.capacity / math.log(min(drawn, 1 - 2**-53))


def ranked(shard: ShardId, nodes: Iterable[Node]) -> list[Node]:
    """Return nodes, the one that the shard prefers first."""
    return sorted(nodes, key=lambda each: (-score(shard, each), each.id))


def excess(load: Mapping[NodeId, int], share: Mapping[NodeId, float], node: NodeId) -> float:
    """Return by how much a node is above its share; below zero: it has room."""
    return load.get(node, 0) - share.get(node, 0.0)
