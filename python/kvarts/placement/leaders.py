"""Leaders spread over their shards' voters: transfers that make the loads of nodes as equal as the voters allow.

A transfer costs no copying, so the answer is the best one: while a chain of transfers leads from a node that leads more
to one that leads at least two fewer, it is taken.
Source: Harvey, Ladner, Lovász, Tamir 2006, cost-reducing paths.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from kvarts.base.ids import NodeId
from kvarts.placement.nodes import Duty, Node, by_id
from kvarts.shardmap.map import ShardMap
from kvarts.shardmap.shard import Shard, ShardId


@dataclass(frozen=True, slots=True)
class Transfer:
    """Another voter is to lead a shard."""

    shard: ShardId
    source: NodeId
    target: NodeId


def first_leader(shard: Shard) -> NodeId:
    """Return who stands first for a new shard: voters take turns, so that the shards of a keyspace are spread."""
    return shard.voters[shard.id % len(shard.voters)]


def all_leaders(
    shard_map: ShardMap,
    seen: Mapping[ShardId, NodeId],
    said: Mapping[NodeId, tuple[int, Collection[ShardId]]],
) -> dict[ShardId, NodeId]:
    """Return who leads each shard, as far as one node knows.

    `seen`: by its own replicas. `said`: what other nodes say that they lead, and when; of two the later is believed.
    Of the rest voters are believed to take turns: were they left out, others would seem to lead less than they do.
    """
    leaders = {each.id: first_leader(each) for each in shard_map.shards}
    for node, (_, led) in sorted(said.items(), key=lambda each: (each[1][0], each[0])):
        leaders |= dict.fromkeys(leaders.keys() & led, node)
    return leaders | {shard: leader for shard, leader in seen.items() if shard in leaders}


def spread(
    shard_map: ShardMap, leaders: Mapping[ShardId, NodeId], nodes: Iterable[Node], transfers_max: int
) -> tuple[Transfer, ...]:
    """Return transfers to begin now, at most one a shard, none of a shard that moves or splits.

    Nodes that drain lead nothing, if others can. A shard without a known leader is left alone.
    """
    known = by_id(nodes)
    serving = {each.id: each.capacity for each in known.values() if each.duty is Duty.SERVES}
    spreading = _Spreading(serving)
    for shard in shard_map.shards:
        leader = leaders.get(shard.id)
        if leader in shard.voters:
            heirs = [] if shard.busy else [each for each in shard.voters if each in serving]
            spreading.add(shard.id, leader, heirs)
    spreading.run()
    changed = [
        Transfer(shard, leaders[shard], leader)
        for shard, leader in sorted(spreading.leader.items())
        if leader != leaders[shard]
    ]
    # Away from nodes that drain first, then from those that lead most.
    load = spreading.load_before
    changed.sort(key=lambda each: (each.source in serving, -load.get(each.source, 0), each.shard))
    return tuple(changed[:transfers_max])


class _Spreading:
    """`led` has for each node the shards that it leads now and that others may lead."""

    def __init__(self, capacity: Mapping[NodeId, int]) -> None:
        self.capacity = capacity
        self.leader: dict[ShardId, NodeId] = {}
        self.heirs: dict[ShardId, list[NodeId]] = {}
        self.led: dict[NodeId, set[ShardId]] = {each: set() for each in capacity}
        self.load = dict.fromkeys(capacity, 0)
        self.load_before: dict[NodeId, int] = {}

    def add(self, shard: ShardId, leader: NodeId, heirs: list[NodeId]) -> None:
        """Count a shard in; `heirs` are those that may lead it."""
        self.leader[shard] = leader
        self.heirs[shard] = heirs
        self.load[leader] = self.load.get(leader, 0) + 1
        self.led.setdefault(leader, set()).add(shard)

    def run(self) -> None:
        """Empty nodes that do not serve, then even out the others."""
        self.load_before = dict(self.load)
        for node in sorted(self.led.keys() - self.capacity.keys()):
            for shard in sorted(self.led[node]):
                if self.heirs[shard]:
                    self._pass_on(shard, min(self.heirs[shard], key=lambda each: (self._next(each), each)))
        while path := self._path():
            for shard, target in path:
                self._pass_on(shard, target)

    def _path(self) -> list[tuple[ShardId, NodeId]]:
        """Return transfers, the last first, that take one shard from a full node to an emptier one, or none."""
        for source in sorted(self.capacity, key=lambda each: (-self._now(each), each)):
            came: dict[NodeId, tuple[NodeId, ShardId]] = {}
            queue = deque([source])
            while queue:
                at = queue.popleft()
                if at != source and self._next(at) < self._now(source):
                    return list(self._walk(source, at, came))
                for shard in sorted(self.led[at]):
                    for heir in self.heirs[shard]:
                        if heir != source and heir not in came:
                            came[heir] = (at, shard)
                            queue.append(heir)
        return []

    def _walk(
        self, source: NodeId, at: NodeId, came: Mapping[NodeId, tuple[NodeId, ShardId]]
    ) -> Iterable[tuple[ShardId, NodeId]]:
        while at != source:
            before, shard = came[at]
            yield shard, at
            at = before

    def _pass_on(self, shard: ShardId, target: NodeId) -> None:
        source = self.leader[shard]
        self.led[source].discard(shard)
        self.load[source] -= 1
        self.leader[shard] = target
        self.led[target].add(shard)
        self.load[target] += 1

    def _now(self, node: NodeId) -> float:
        return self.load[node] / self.capacity[node]

    def _next(self, node: NodeId) -> float:
        return (self.load[node] + 1) / self.capacity[node]
