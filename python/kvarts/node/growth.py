"""Shards that split by themselves: their leaders measure them, and ask the meta group's leader for a split in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from kvarts.base.errors import InvalidArgument
from kvarts.node.asker import Asker, Verb
from kvarts.node.features import agree
from kvarts.node.moves import Teller
from kvarts.node.news import News
from kvarts.node.shards import GROWTH, META, SPLITS, Shards
from kvarts.node.splits import sharded
from kvarts.node.words import Word
from kvarts.node.words import encode as encode_word
from kvarts.placement.growth import Measure, cuts, full, whole
from kvarts.raft.ids import NODE_NONE
from kvarts.raft.messages import Role
from kvarts.replication.events import Event, GroupId
from kvarts.replication.replicator import Replicator
from kvarts.shardmap.shard import Epoch, KeyspaceId, Shard, ShardId
from kvarts.shardmap.space import SHARDS_MAX
from kvarts.statemachine.rows import limits_in
from kvarts.statemachine.shards import BeginSplit, LimitShards, encode

MEASURE_MS = 10_000
"""How often shards are measured. A few keys of each new table are read for that, and nothing of those known before."""
DECIDE_MS = 1_000
LIMIT_BYTES_MIN = 1 << 20
"""Below, shards would cost more than they hold."""


class Measurer(Teller, Protocol):
    """What is asked of the muscle."""

    def measure(self, groups: Sequence[tuple[int, int]]) -> None:
        """Measure shards, given with their keyspaces; an event tells of each. Does not wait."""


class Growth:
    """Called by the loop once per turn. What it remembers is measured again by whoever leads next."""

    def __init__(
        self,
        measurer: Measurer,
        replicator: Replicator,
        kept: Shards,
        news: News,
        propose: Callable[[bytes], list[Event]],
    ) -> None:
        """`propose` takes a word for the meta group's leader, where this node is it."""
        self._measurer = measurer
        self._replicator = replicator
        self._kept = kept
        self._news = news
        self._propose = propose
        self._measures: dict[ShardId, Measure] = {}
        self._told: set[tuple[ShardId, Epoch]] = set()
        """Shards of which it was said that they cannot be cut."""
        self._told_full: set[KeyspaceId] = set()
        self._measure_ms = 0
        self._decide_ms = 0

    def take(self, group: int, epoch: int, size: int, middle: bytes | None) -> None:
        """Take what the muscle has measured, of a shard as it was at an epoch."""
        self._measures[ShardId(group)] = Measure(Epoch(epoch), size, middle)

    def work(self, now_ms: int) -> list[Event]:
        """Return what is to be done now."""
        if now_ms < self._decide_ms or META not in self._replicator.replicas:
            return []
        self._decide_ms = now_ms + DECIDE_MS
        limits = limits_in(self._replicator.replicas[META].system.rows)
        led = {each.id: each for each in self._kept.map.shards if each.keyspace in limits and self._may_cut(each)}
        self._measures = {shard: each for shard, each in self._measures.items() if shard in led}
        if now_ms >= self._measure_ms:
            self._measure_ms = now_ms + MEASURE_MS
            if led:
                self._measurer.measure([(each.id, each.keyspace) for each in led.values()])
        return self._cut(limits) if self._measures else []

    def _cut(self, limits: Mapping[KeyspaceId, int]) -> list[Event]:
        shard_map = self._kept.map
        for keyspace in full(shard_map, limits, self._measures) - self._told_full:
            self._told_full.add(keyspace)
            self._news.say(
                "keyspace-not-cut", keyspace=int(keyspace), why=f"it has {SHARDS_MAX} shards, as many as may be"
            )
        for shard, size in whole(shard_map, limits, self._measures).items():
            marked = shard, self._measures[shard].epoch
            if marked not in self._told:
                self._told.add(marked)
                self._news.say("shard-not-cut", shard=int(shard), bytes=size, why="its keys have one token, or are few")
        events: list[Event] = []
        for cut in cuts(shard_map, limits, self._measures, room=1):
            word = encode_word(Word((encode(BeginSplit(shard=cut.shard, epoch=cut.epoch, at=cut.at.hex())),)))
            leader = self._replicator.replicas[META].leader
            if leader == self._replicator.node:
                events += self._propose(word)
            elif leader != NODE_NONE:
                self._measurer.tell(leader, word)
        return events

    def _may_cut(self, shard: Shard) -> bool:
        """Return whether this node leads a shard and hears all of its voters: each is to copy it."""
        replica = self._replicator.replicas.get(GroupId(shard.id))
        if replica is None or replica.raft.role is not Role.LEADER or shard.busy:
            return False
        return all(each == self._replicator.node or replica.raft.heard_from(each) for each in shard.voters)


def limit(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Split shards of a keyspace once they take more than `bytes` (0: none any more); without, tell what holds.

    Raises InvalidArgument for a keyspace without shards, and for fewer bytes than are sensible.
    """
    asker.check_leads()
    keyspace = sharded(asker, arguments)
    wanted = arguments.get("bytes")
    if wanted is not None:
        if type(wanted) is not int or (wanted and not LIMIT_BYTES_MIN <= wanted < 1 << 60):
            raise InvalidArgument(
                f"a limit of {wanted} bytes is out of range", hint=f"at least {LIMIT_BYTES_MIN:,} bytes, or off"
            )
        if wanted:
            yield from agree(asker, SPLITS)
        yield from agree(asker, GROWTH)
        yield from asker.command(encode(LimitShards(keyspace=keyspace, bytes=wanted)))
    return {"keyspace": arguments["keyspace"], "bytes": limits_in(asker.replica.system.rows).get(keyspace, 0)}
