"""Changes that would lose a quorum, or replicas that are asked for, and the reason why they are refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kvarts.base.ids import NodeId
from kvarts.placement.nodes import Duty, Node
from kvarts.shardmap.map import ShardMap
from kvarts.shardmap.shard import ShardId

LISTED_MAX = 4


def quorum_refusal(shard: ShardId, voters: Collection[NodeId], nodes: Mapping[NodeId, Node]) -> str | None:
    """Return why these must not be a shard's voters now: too few of them answer."""
    answering = sum(each in nodes and nodes[each].answers for each in voters)
    if answering * 2 > len(voters):
        return None
    return f"shard {shard}: {answering} of {len(voters)} voters would answer, so it would have no quorum"


def drain_refusal(shard_map: ShardMap, nodes: Mapping[NodeId, Node], node: NodeId, replication: int) -> str | None:
    """Return why a node cannot be emptied: nobody is left to take what it keeps."""
    if node not in nodes:
        return f"node {node} does not belong to the cluster"
    kept = shard_map.held_by(node)
    serving = [each for each in nodes.values() if each.duty is Duty.SERVES and each.id != node]
    keeping = sum(each.keeps for each in nodes.values() if each.id != node)
    if not kept or (keeping >= replication and serving):
        return None
    return (
        f"node {node} keeps replicas of {len(kept)} shards, and {replication} replicas need as many nodes; "
        f"{keeping} would be left: add one first"
    )


def replace_refusal(nodes: Mapping[NodeId, Node], old: NodeId, new: NodeId) -> str | None:
    """Return why a node cannot take another's place."""
    if old not in nodes or new not in nodes:
        return f"node {new if old in nodes else old} does not belong to the cluster"
    if old == new:
        return f"node {old} cannot replace itself"
    if nodes[new].duty is not Duty.SERVES:
        return f"node {new} is {nodes[new].duty.value}: it takes no replicas"
    return None


def loss_refusal(shard_map: ShardMap, nodes: Mapping[NodeId, Node], node: NodeId) -> str | None:
    """Return why a node must not be stopped now: shards that would have no quorum without it."""
    without = {each: seen for each, seen in nodes.items() if each != node}
    lost = [
        each.id for each in shard_map.shards if node in each.voters and quorum_refusal(each.id, each.voters, without)
    ]
    return f"without node {node}, {_listed(lost)} would have no quorum" if lost else None


def remove_refusal(shard_map: ShardMap, nodes: Mapping[NodeId, Node], node: NodeId) -> str | None:
    """Return why a node cannot be removed for good: it still keeps replicas."""
    if node not in nodes:
        return f"node {node} does not belong to the cluster"
    kept = [each.id for each in shard_map.held_by(node)]
    return f"node {node} keeps replicas of {_listed(kept)}: drain or replace it first" if kept else None


def _listed(shards: list[ShardId]) -> str:
    more = f" and {len(shards) - LISTED_MAX} more" if len(shards) > LISTED_MAX else ""
    return f"shard{'s' * (len(shards) > 1)} {', '.join(map(str, shards[:LISTED_MAX]))}{more}"
