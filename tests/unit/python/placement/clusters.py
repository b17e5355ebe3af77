"""Clusters that tests make, and a rebalancer that carries steps out on a map as the meta group would."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kvarts.base.ids import NodeId
from kvarts.placement.level import place
from kvarts.placement.nodes import Duty, Node
from kvarts.placement.steps import Limits, Seen, Step, StepKind, next_steps
from kvarts.shardmap.map import MapVersion, ShardMap, initial
from kvarts.shardmap.shard import (
    KeyspaceId,
    Shard,
    ShardId,
    begin_move,
    cancel_move,
    finish_move,
    promote,
    settle_move,
)
from kvarts.shardmap.space import Space

K1 = KeyspaceId(1)
LIMITS = Limits()


def serving(count: int, *, first: int = 1, capacity: int = 1) -> list[Node]:
    """Return nodes that serve."""
    return [Node(id=NodeId(first + each), capacity=capacity) for each in range(count)]


def placed(shards: int, nodes: Sequence[Node], replication: int) -> ShardMap:
    """Return the map of a new keyspace on these nodes."""
    ids = [ShardId(2 + each) for each in range(shards)]
    where = place(ids, nodes, replication, {})
    voters = [sorted(where[each]) for each in ids]
    space = Space()
    return ShardMap(MapVersion(1), {K1: space}, initial(K1, space, space.even_bounds(shards), voters, ShardId(2)))


def load(shard_map: ShardMap) -> Counter[NodeId]:
    """Return how many replicas every node keeps."""
    return Counter(node for shard in shard_map.shards for node in shard.voters)


def duty(nodes: Iterable[Node], node: int, becomes: Duty, successor: int = 0) -> list[Node]:
    """Return the nodes, one of them with another duty."""
    return [
        Node(id=each.id, capacity=each.capacity, duty=becomes, successor=NodeId(successor)) if each.id == node else each
        for each in nodes
    ]


def stepped(shard_map: ShardMap, step: Step) -> ShardMap:
    """Return the map after a step."""
    shard = shard_map.get(step.shard)
    assert shard is not None
    assert shard.epoch == step.epoch
    after = _after(shard, step)
    shards = [after if each.id == shard.id else each for each in shard_map.shards]
    return ShardMap(MapVersion(shard_map.version + 1), shard_map.spaces, shards)


def _after(shard: Shard, step: Step) -> Shard:
    match step.kind:
        case StepKind.BEGIN:
            return begin_move(shard, step.source, step.target, step.epoch)
        case StepKind.PROMOTE:
            return promote(shard, step.target, step.epoch)
        case StepKind.FINISH:
            return finish_move(shard, step.source, step.target, step.epoch)
        case StepKind.CANCEL:
            return cancel_move(shard, step.source, step.target, step.epoch)
        case StepKind.SETTLE:
            return settle_move(shard, step.source, step.target, step.epoch)
    return shard


@dataclass
class Rebalancing:
    """Rounds of steps until nothing is left to do. Learners catch up when the seed says so."""

    shard_map: ShardMap
    nodes: list[Node]
    replication: int
    limits: Limits = LIMITS
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    caught_up: set[tuple[ShardId, NodeId]] = field(default_factory=set)
    leaders: dict[ShardId, NodeId] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.voters_min = min(self.replication, *(len(each.voters) for each in self.shard_map.shards))
        for shard in self.shard_map.shards:
            self._elect(shard)

    def round(self) -> list[Step]:
        """Carry out the steps of one round."""
        for shard in self.shard_map.shards:
            if shard.learner and self.rng.random() < 0.5:
                self.caught_up.add((shard.id, shard.learner))
        seen = Seen(caught_up=frozenset(self.caught_up), leaders=self.leaders)
        steps = list(next_steps(self.shard_map, self.nodes, self.replication, seen, self.limits))
        assert len({each.shard for each in steps}) == len(steps)
        for step in steps:
            if step.kind is StepKind.HAND_OVER:
                self.leaders[step.shard] = step.target
            if step.kind is StepKind.FINISH:
                self.caught_up.discard((step.shard, step.target))
            self.shard_map = stepped(self.shard_map, step)
            changed = self.shard_map.get(step.shard)
            assert changed is not None
            self.check(changed)
            self._elect(changed)
        self.steps += steps
        return steps

    def check(self, shard: Shard) -> None:
        """A shard has a quorum of voters that answer, and never fewer voters than it began with."""
        up = {each.id for each in self.nodes if each.answers}
        assert len(set(shard.voters) & up) * 2 > len(shard.voters), shard
        assert len(shard.voters) >= self.voters_min, shard

    def run(self, rounds_max: int = 4000) -> int:
        """Go on until nothing is under way and nothing begins; return the number of moves that were finished."""
        for _ in range(rounds_max):
            if not self.round() and not any(each.busy for each in self.shard_map.shards):
                return sum(each.kind is StepKind.FINISH for each in self.steps)
        raise AssertionError("it never ends")

    def _elect(self, shard: Shard) -> None:
        up = [each.id for each in self.nodes if each.answers and each.id in shard.voters]
        if self.leaders.get(shard.id) not in up and up:
            self.leaders[shard.id] = self.rng.choice(up)
