"""Nodes that each know a part of who leads what, and hand over what they lead too much of, come to rest."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from kvarts.base.ids import NodeId
from kvarts.placement.leaders import all_leaders, spread
from kvarts.shardmap.map import ShardMap
from kvarts.shardmap.shard import ShardId
from tests.unit.python.placement.clusters import placed, serving

Said = dict[NodeId, tuple[int, frozenset[ShardId]]]

ROUNDS = 60
"""Two seconds each."""
ROUNDS_AT_REST = 20
REPLICATION = 3


class Nodes:
    """Nodes that hand over at most one shard a round each, by what they see and what others told before it."""

    def __init__(self, count: int, shards: int, rng: random.Random, *, tells: bool) -> None:
        self._nodes, self._rng, self._tells = serving(count), rng, tells
        self.shard_map: ShardMap = placed(shards, self._nodes, REPLICATION)
        self.leaders = {each.id: rng.choice(each.voters) for each in self.shard_map.shards}
        self._heard: dict[NodeId, Said] = {each.id: {} for each in self._nodes}

    def round(self, now: int) -> int:
        """Let each node look once, in any order. Returns how many shards were handed over."""
        holders = {each.id: each.voters for each in self.shard_map.shards}
        if self._tells:
            for node in self._heard:
                led = frozenset(shard for shard, leader in self.leaders.items() if leader == node)
                for other in self._heard:
                    self._heard[other][node] = now, frozenset(each for each in led if other not in holders[each])
        handed = 0
        for node in self._rng.sample(list(self._heard), len(self._heard)):
            seen = {shard: leader for shard, leader in self.leaders.items() if node in holders[shard]}
            known = all_leaders(self.shard_map, seen, self._heard[node])
            own = [each for each in spread(self.shard_map, known, self._nodes, 10_000) if each.source == node]
            for transfer in own[:1]:
                self.leaders[transfer.shard] = transfer.target
                handed += 1
        return handed

    def are_even(self) -> bool:
        """Return whether who knows all would hand over nothing."""
        return not spread(self.shard_map, self.leaders, self._nodes, 10_000)


@settings(deadline=None)
@given(st.integers(3, 9), st.integers(1, 40), st.randoms(use_true_random=False))
def test_leaders_come_to_rest_and_are_even(count: int, shards: int, rng: random.Random) -> None:
    nodes = Nodes(count, shards, rng, tells=True)
    handed = [nodes.round(now) for now in range(ROUNDS)]
    assert handed[-ROUNDS_AT_REST:] == [0] * ROUNDS_AT_REST, handed
    assert nodes.are_even()


def test_leaders_of_whom_nobody_tells_would_be_handed_to_and_fro() -> None:
    """Why nodes tell: each sees its own replicas, and would take others for ones that lead less."""
    nodes = Nodes(5, 24, random.Random(18), tells=False)
    handed = [nodes.round(now) for now in range(ROUNDS)]
    assert all(handed)


def test_what_was_said_later_is_believed_and_what_is_seen_even_more() -> None:
    shard_map = placed(3, serving(5), REPLICATION)
    one, two, three = (each.id for each in shard_map.shards)
    said = {NodeId(4): (7, frozenset({one, two})), NodeId(5): (6, frozenset({one, three, ShardId(99)}))}
    leaders = all_leaders(shard_map, {three: NodeId(2)}, said)
    assert leaders == {one: NodeId(4), two: NodeId(4), three: NodeId(2)}
