"""The present placement made level by as few changes as that takes: rendezvous hashing with bounded loads.

A replica stays where it is while its node keeps replicas and is not above its bounds. What must lie elsewhere goes to
the node that its shard prefers among those below their share.
Source: Mirrokni, Thorup, Zadimoghaddam 2018, for bounded loads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from kvarts.base.ids import NODE_NONE, NodeId
from kvarts.placement.nodes import SMALL, Duty, Node, by_id, excess, least, most, ranked, score, shares, whole
from kvarts.shardmap.shard import ShardId

Placement = dict[ShardId, frozenset[NodeId]]
"""Who keeps a replica of each shard."""


def place(shards: Iterable[ShardId], nodes: Iterable[Node], replication: int, others: Placement) -> Placement:
    """Return where new shards should lie, beside `others` that are there."""
    new = set(shards)
    levelling = _Levelling(others | dict.fromkeys(new, frozenset()), by_id(nodes), replication, new)
    return {each: kept for each, kept in levelling.done().items() if each in new}


def level(present: Mapping[ShardId, frozenset[NodeId]], nodes: Iterable[Node], replication: int) -> Placement:
    """Return where replicas should lie. The same arguments always give the same answer; what is level stays."""
    return _Levelling(present, by_id(nodes), replication, present.keys()).done()


class _Levelling:
    """`load` counts what each node keeps in `placed`, which is worked on; only shards of `movable` are touched."""

    def __init__(
        self,
        present: Mapping[ShardId, frozenset[NodeId]],
        nodes: Mapping[NodeId, Node],
        replication: int,
        movable: Collection[ShardId],
    ) -> None:
        self.nodes = nodes
        self.movable = sorted(movable)
        self.fresh: dict[NodeId, set[ShardId]] = {each: set() for each in nodes}
        self._orders: dict[NodeId, list[ShardId]] = {}
        # A node that is away keeps what it has, but is given nothing: its share counts, it is no target.
        self.keeping = [each for each in nodes.values() if each.keeps]
        self.targets = [each for each in self.keeping if each.duty is Duty.SERVES]
        self.present = {shard: present[shard] for shard in sorted(present)}
        self.placed = {
            shard: {each for each in kept if each in nodes and nodes[each].keeps}
            for shard, kept in self.present.items()
        }
        self.replicas = min(replication, len(self.keeping))
        self.share = shares(self.keeping, len(self.placed), replication)
        self.load = dict.fromkeys((each.id for each in self.keeping), 0)
        for kept in self.placed.values():
            for node in kept:
                self.load[node] += 1

    def done(self) -> Placement:
        """Fill up what lacks replicas, take away what is too much, then relieve and fill nodes."""
        for shard in self.movable:
            kept = self.placed[shard]
            while len(kept) > self.replicas:
                self._take(shard, max(kept, key=self._least_missed))
        for shard in self.movable:
            while len(self.placed[shard]) < self.replicas and self._fill(shard):
                pass
        for each in self.keeping:
            self._relieve(each.id)
        for each in self.targets:
            self._pull(each)
        return {shard: frozenset(kept) for shard, kept in self.placed.items()}

    def _fill(self, shard: ShardId) -> bool:
        kept = self.placed[shard]
        free = [each for each in self.targets if each.id not in kept]
        if not free:
            return False
        named = self._successors(shard)
        # Where a node was named; who is below its bounds; who is below its share; where it rounds up; anywhere.
        tiers = (
            [each for each in free if each.id in named],
            [each for each in free if self.load[each.id] < least(self.share[each.id])],
            [each for each in free if self.load[each.id] < whole(self.share[each.id])],
            [each for each in free if self.load[each.id] < whole(self.share[each.id], up=True)],
        )
        for tier in tiers:
            if tier:
                self._put(shard, ranked(shard, tier)[0].id)
                return True
        self._put(shard, min(free, key=lambda each: (excess(self.load, self.share, each.id), each.id)).id)
        return True

    def _successors(self, shard: ShardId) -> set[NodeId]:
        left = (self.nodes.get(each) for each in self.present[shard] if each not in self.placed[shard])
        return {each.successor for each in left if each is not None and each.successor != NODE_NONE}

    def _relieve(self, node: NodeId) -> None:
        """Hand replicas of a node above its bounds to those that have room."""
        while self.load[node] > most(self.share[node]):
            if self._shift_fresh(node, over=True):
                continue
            roomy = [each for each in self.targets if excess(self.load, self.share, each.id) < 0]
            if not self._shift([node], sorted(roomy, key=self._emptiest)):
                return

    def _pull(self, node: Node) -> None:
        """Give a node below its bounds replicas of those that have most."""
        while self.load[node.id] < least(self.share[node.id]):
            if self._shift_fresh(node.id, over=False):
                continue
            full = [each.id for each in self.keeping if excess(self.load, self.share, each.id) > 0]
            if not self._shift(sorted(full, key=self._fullest), [node]):
                return

    def _shift(self, givers: Sequence[NodeId], takers: Sequence[Node]) -> bool:
        """Move one replica from the first giver to the first taker that can: of the shard that prefers it most."""
        for giver in givers:
            for taker in takers:
                for shard in self._order(taker):
                    kept = self.placed[shard]
                    if giver in kept and taker.id not in kept:
                        self._take(shard, giver)
                        self._put(shard, taker.id)
                        return True
        return False

    def _shift_fresh(self, start: NodeId, *, over: bool) -> bool:
        """Pass replicas that are put down anew on along a chain of nodes: that moves nothing more than is moved anyway.

        The chain leads from `start`, which has too much, to a node with room; or to `start` from one above its share.
        """
        came: dict[NodeId, tuple[NodeId, ShardId]] = {}
        queue = deque([start])
        while queue:
            at = queue.popleft()
            for each in self.keeping if not over else self.targets:
                node = each.id
                giver, taker = (at, node) if over else (node, at)
                fitting = [shard for shard in self.fresh[giver] if taker not in self.placed[shard]]
                if node == start or node in came or not fitting:
                    continue
                came[node] = (at, min(fitting))
                queue.append(node)
                beyond = excess(self.load, self.share, node)
                if beyond < -SMALL if over else beyond > SMALL:
                    self._pass_along(start, node, came, over=over)
                    return True
        return False

    def _pass_along(
        self, start: NodeId, end: NodeId, came: Mapping[NodeId, tuple[NodeId, ShardId]], *, over: bool
    ) -> None:
        while end != start:
            before, shard = came[end]
            self._take(shard, before if over else end)
            self._put(shard, end if over else before)
            end = before

    def _order(self, taker: Node) -> list[ShardId]:
        """Return the shards that may move, the one that prefers the node most first."""
        if taker.id not in self._orders:
            self._orders[taker.id] = sorted(self.movable, key=lambda shard: (-score(shard, taker), shard))
        return self._orders[taker.id]

    def _least_missed(self, node: NodeId) -> tuple[bool, float, NodeId]:
        return self.nodes[node].duty is Duty.AWAY, excess(self.load, self.share, node), node

    def _emptiest(self, node: Node) -> tuple[float, NodeId]:
        return excess(self.load, self.share, node.id), node.id

    def _fullest(self, node: NodeId) -> tuple[float, NodeId]:
        return -excess(self.load, self.share, node), node

    def _put(self, shard: ShardId, node: NodeId) -> None:
        self.placed[shard].add(node)
        self.load[node] += 1
        if node not in self.present[shard]:
            self.fresh[node].add(shard)

    def _take(self, shard: ShardId, node: NodeId) -> None:
        self.placed[shard].discard(node)
        self.load[node] -= 1
        self.fresh[node].discard(shard)
