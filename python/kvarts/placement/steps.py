"""The next steps towards a plan: which moves go on, and which begin, within limits and without losing a quorum.

A move is a learner, then a voter, then the old replica goes. What was begun stands in the shard map, so nothing else is
remembered and any node may go on where another stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from kvarts.base.ids import NODE_NONE, NodeId
from kvarts.placement.nodes import Duty, Node, by_id
from kvarts.placement.plan import plan
from kvarts.placement.safety import quorum_refusal
from kvarts.shardmap.map import ShardMap
from kvarts.shardmap.shard import Epoch, Move, Shard, ShardId


class StepKind(Enum):
    """What is to be done with one shard."""

    BEGIN = "begin"
    """The target becomes a learner and catches up."""
    PROMOTE = "promote"
    """The target votes."""
    HAND_OVER = "hand-over"
    """Another voter leads, since the leader is to go."""
    FINISH = "finish"
    """The source is taken away."""
    CANCEL = "cancel"
    """The target is taken away: it does not answer."""
    SETTLE = "settle"
    """Both stay: without the source there would be no quorum, since another voter is gone. That one goes next."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a move. `epoch`: of the shard that it was decided on. A leader is handed over to the target."""

    kind: StepKind
    shard: ShardId
    epoch: Epoch
    source: NodeId
    target: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be under way at once. `begun_max`: moves that begin in one round, as the rate of copying allows."""

    moves_max: int = 4
    per_node_max: int = 2
    begun_max: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the nodes said last: learners that have caught up, and who leads."""

    caught_up: frozenset[tuple[ShardId, NodeId]] = frozenset()
    leaders: Mapping[ShardId, NodeId] = field(default_factory=dict)


def next_steps(
    shard_map: ShardMap, nodes: Iterable[Node], replication: int, seen: Seen, limits: Limits
) -> tuple[Step, ...]:
    """Return what to do now, at most one step a shard. Nothing: all is done, or waits for what is not seen yet."""
    known = by_id(nodes)
    this = _Round(known, replication, seen)
    gone_on = (this.go_on(each, each.move) for each in shard_map.shards if each.move is not None)
    return (*(each for each in gone_on if each is not None), *_begin(shard_map, known, replication, limits))


def begin(shard_map: ShardMap, nodes: Iterable[Node], replication: int, limits: Limits) -> tuple[Step, ...]:
    """Return the moves to begin now."""
    return tuple(_begin(shard_map, by_id(nodes), replication, limits))


def go_on(shard: Shard, nodes: Iterable[Node], replication: int, seen: Seen) -> Step | None:
    """Return the next step of a shard's move, if one is under way and it can be taken."""
    return None if shard.move is None else _Round(by_id(nodes), replication, seen).go_on(shard, shard.move)


def _begin(shard_map: ShardMap, nodes: dict[NodeId, Node], replication: int, limits: Limits) -> Iterator[Step]:
    under_way = [each.move for each in shard_map.shards if each.move is not None]
    busy = {each.id for each in shard_map.shards if each.busy}
    at_node = Counter(node for move in under_way for node in _ends(nodes, move.source, move.target))
    room = min(limits.begun_max, limits.moves_max - len(under_way))
    if room <= 0:
        return
    for move in plan(shard_map, nodes.values(), replication).moves:
        ends = _ends(nodes, move.source, move.target)
        if move.shard in busy or any(at_node[node] >= limits.per_node_max for node in ends):
            continue
        shard = shard_map.get(move.shard)
        if shard is None:
            continue
        yield Step(StepKind.BEGIN, move.shard, shard.epoch, move.source, move.target)
        busy.add(move.shard)
        at_node.update(ends)
        room -= 1
        if not room:
            return


@dataclass(frozen=True, slots=True)
class _Round:
    """What one round knows of the world."""

    nodes: Mapping[NodeId, Node]
    replication: int
    seen: Seen

    def go_on(self, shard: Shard, move: Move) -> Step | None:
        """Return the next step of a move that is under way, if it can be taken."""
        if move.target and not _answers(self.nodes, move.target):
            return self._give_up(shard, move)
        if move.target and not move.promoted:
            caught_up = (shard.id, move.target) in self.seen.caught_up
            fits = caught_up and self._has_quorum(shard, {*shard.voters, move.target})
            return _step(StepKind.PROMOTE, shard, move) if fits else None
        after = set(shard.voters) - {move.source}
        # One that is silent is worth nothing: it was fenced, and comes back empty.
        if not move.target and len(after) < self.replication and _answers(self.nodes, move.source):
            return _step(StepKind.CANCEL, shard, move)
        if self._has_quorum(shard, after):
            return self._without(shard, move.source, StepKind.FINISH)
        gone = any(each not in self.nodes or self.nodes[each].duty is Duty.GONE for each in after)
        return _step(StepKind.SETTLE, shard, move) if gone and (move.promoted or not move.target) else None

    def _give_up(self, shard: Shard, move: Move) -> Step | None:
        """Take away a target that does not answer. One that votes and may come back stays, where the source is lost."""
        if not move.promoted:
            return _step(StepKind.CANCEL, shard, move)
        target = self.nodes.get(move.target)
        may_return = target is not None and target.duty is Duty.AWAY
        if may_return and not _answers(self.nodes, move.source):
            return None
        after = set(shard.voters) - {move.target}
        return self._without(shard, move.target, StepKind.CANCEL) if self._has_quorum(shard, after) else None

    def _without(self, shard: Shard, leaving: NodeId, kind: StepKind) -> Step | None:
        """Return the step that takes a node away or, while it leads, the one that lets another lead."""
        move = shard.move
        if move is None:
            return None
        if leaving and self.seen.leaders.get(shard.id) == leaving and _answers(self.nodes, leaving):
            heirs = [each for each in shard.voters if each != leaving and _answers(self.nodes, each)]
            if heirs:
                heir = move.target if move.target in heirs else heirs[0]
                return Step(StepKind.HAND_OVER, shard.id, shard.epoch, leaving, heir)
        return _step(kind, shard, move)

    def _has_quorum(self, shard: Shard, voters: Collection[NodeId]) -> bool:
        return quorum_refusal(shard.id, voters, self.nodes) is None


def _step(kind: StepKind, shard: Shard, move: Move) -> Step:
    return Step(kind, shard.id, shard.epoch, move.source, move.target)


def _ends(nodes: Mapping[NodeId, Node], *ends: NodeId) -> list[NodeId]:
    """Return the ends of a move that have work by it: one that does not answer has none."""
    return [each for each in ends if _answers(nodes, each)]


def _answers(nodes: Mapping[NodeId, Node], node: NodeId) -> bool:
    return node != NODE_NONE and node in nodes and nodes[node].answers
