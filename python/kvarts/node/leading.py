"""Who leads what: nodes tell it to those that keep no replica of it, and each hands over what it leads too much of.

A node sees the leaders of its own replicas. By those alone each would think that it leads more than others, of which it
sees only a part, and hand over to one that thinks the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kvarts.node.moves import Teller
from kvarts.node.rows import duties
from kvarts.node.shards import META, Shards
from kvarts.node.words import Word, decode, encode
from kvarts.placement.leaders import all_leaders, spread
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.replication.events import Event, GroupId, TransferRequested
from kvarts.replication.replicator import Replicator
from kvarts.shardmap.shard import ShardId

SPREAD_MS = 2_000
TELL_AGAIN_MS = 10_000
"""What has not changed is told again after so long: a word may have been lost."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a node was told last, and when."""

    at_ms: int
    led: frozenset[ShardId]


class Leading:
    """Called by the loop once per turn; does something every two seconds."""

    def __init__(self, teller: Teller, replicator: Replicator, kept: Shards) -> None:
        self._teller = teller
        self._replicator = replicator
        self._kept = kept
        self._told: dict[NodeId, _Told] = {}
        self._due_ms = 0

    def take(self, word: bytes, now_ms: int) -> None:
        """Take a word of another node."""
        said = decode(word)
        if said is not None and said.led is not None:
            node, led = said.led
            self._kept.led_elsewhere[NodeId(node)] = now_ms, led

    def work(self, now_ms: int) -> list[Event]:
        """Return what is to be done now."""
        if not self._kept.map.shards or now_ms < self._due_ms:
            return []
        self._due_ms = now_ms + SPREAD_MS
        elsewhere = self._kept.led_elsewhere
        for node in [node for node, (at_ms, _) in elsewhere.items() if at_ms + 3 * TELL_AGAIN_MS < now_ms]:
            del elsewhere[node]
        self._tell(now_ms)
        return list(self._hand_over())

    def _tell(self, now_ms: int) -> None:
        """Tell each node what this one leads that it keeps no replica of, if that has changed, or was long ago."""
        own, replicas = self._replicator.node, self._replicator.replicas
        holders = {each.id: each.voters for each in self._kept.map.shards}
        led = [shard for group, each in replicas.items() if each.leader == own and (shard := ShardId(group)) in holders]
        for node in {voter for voters in holders.values() for voter in voters} - {own}:
            unseen = frozenset(shard for shard in led if node not in holders[shard])
            told = self._told.get(node, _Told(now_ms, frozenset()))
            if unseen != told.led or (unseen and now_ms >= told.at_ms + TELL_AGAIN_MS):
                self._told[node] = _Told(now_ms, unseen)
                self._teller.tell(node, encode(Word(led=(own, unseen))))

    def _hand_over(self) -> Iterable[Event]:
        """Hand over at most one shard that this node leads, if it leads too many. Each node sees to its own."""
        replicas, own = self._replicator.replicas, self._replicator.node
        seen = {ShardId(group): each.leader for group, each in replicas.items() if group != META}
        seen = {shard: leader for shard, leader in seen.items() if leader != NODE_NONE}
        leaders = all_leaders(self._kept.map, seen, self._kept.led_elsewhere)
        voters = {voter for shard in self._kept.map.shards for voter in shard.voters}
        led = [each for group, each in replicas.items() if group != META and each.leader == own]
        alive = {own, *seen.values(), *self._kept.led_elsewhere}
        alive |= {voter for voter in voters if any(each.raft.heard_from(voter) for each in led)}
        nodes = [each for each in duties(replicas[META].system.rows, alive) if each.id in voters]
        for transfer in spread(self._kept.map, leaders, nodes, len(leaders)):
            replica = replicas.get(GroupId(transfer.shard))
            if transfer.source == own and replica is not None and replica.raft.heard_from(transfer.target):
                return [TransferRequested(GroupId(transfer.shard), transfer.target)]
        return ()
