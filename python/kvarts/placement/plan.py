"""From where replicas lie to where they should: a list of moves, and what stands in the way of others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from kvarts.base.ids import NODE_NONE, NodeId
from kvarts.placement.level import Placement, level
from kvarts.placement.nodes import Duty, Node, by_id
from kvarts.placement.safety import quorum_refusal
from kvarts.shardmap.map import ShardMap
from kvarts.shardmap.shard import Shard, ShardId


class Reason(IntEnum):
    """Why a replica moves; the more urgent comes first."""

    LOST = 1
    """Its node is gone."""
    DRAIN = 2
    """Its node is to be emptied."""
    LACKING = 3
    """The shard has too few replicas."""
    SURPLUS = 4
    """The shard has too many."""
    BALANCE = 5
    """Its node keeps too much, or another too little."""


@dataclass(frozen=True, slots=True)
class Move:
    """A replica of a shard is to go from `source` to `target`; one of the two may be NODE_NONE."""

    shard: ShardId
    source: NodeId
    target: NodeId
    reason: Reason


@dataclass(frozen=True, slots=True)
class Blocked:
    """A move that should be and cannot: `why` says what is missing."""

    move: Move
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, the most urgent first. Empty: all lies where it should."""

    moves: tuple[Move, ...] = ()
    blocked: tuple[Blocked, ...] = ()


def plan(shard_map: ShardMap, nodes: Iterable[Node], replication: int) -> Plan:
    """Return what leads from the present placement to a level one. Moves under way count as done."""
    known = by_id(nodes)
    present = settled(shard_map)
    desired = level(present, known.values(), replication)
    moves: list[Move] = []
    blocked: list[Blocked] = []
    for shard in shard_map.shards:
        left = len(present[shard.id])
        for move in _moves(shard.id, present[shard.id], desired[shard.id], known):
            left += bool(move.target) - bool(move.source)
            why = _obstacle(shard, move, left, known, replication)
            if why is None:
                moves.append(move)
            else:
                blocked.append(Blocked(move, why))
    moves.sort(key=lambda each: (each.reason, each.shard, each.source))
    return Plan(tuple(moves), tuple(blocked))


def settled(shard_map: ShardMap) -> Placement:
    """Return who keeps a replica of each shard once all moves under way are done."""
    return {each.id: frozenset(_settled(each)) for each in shard_map.shards}


def _settled(shard: Shard) -> set[NodeId]:
    voters = set(shard.voters)
    if shard.move is not None:
        voters = (voters | {shard.move.target}) - {shard.move.source, NODE_NONE}
    return voters


def _moves(
    shard: ShardId, present: frozenset[NodeId], desired: frozenset[NodeId], nodes: dict[NodeId, Node]
) -> Iterable[Move]:
    """Pair what leaves with what comes: with the named successor where that is one of them, else in order."""
    coming = sorted(desired - present)
    leaving = sorted(present - desired, key=lambda node: (_reason(nodes.get(node)), node))
    for source in leaving:
        node = nodes.get(source)
        named = node is not None and node.successor in coming
        target = node.successor if node is not None and named else coming[0] if coming else NODE_NONE
        if target:
            coming.remove(target)
        reason = _reason(node)
        yield Move(shard, source, target, Reason.SURPLUS if reason is Reason.BALANCE and not target else reason)
    for target in coming:
        yield Move(shard, NODE_NONE, target, Reason.LACKING)


def _reason(source: Node | None) -> Reason:
    if source is None or source.duty is Duty.GONE:
        return Reason.LOST
    return Reason.DRAIN if source.duty is Duty.DRAINING else Reason.BALANCE


def _obstacle(shard: Shard, move: Move, left: int, nodes: dict[NodeId, Node], replication: int) -> str | None:
    if not move.target and left < replication:
        serving = sum(each.duty is Duty.SERVES for each in nodes.values())
        return f"{replication} replicas need as many nodes, and {serving} serve: add one first"
    return quorum_refusal(shard.id, shard.voters, nodes)
