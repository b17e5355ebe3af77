"""The leader of the meta group takes in nodes, begins moves, a few at a time, and takes steps for shards' leaders."""

from __future__ import annotations

from kvarts.node.moves import BEHIND_MAX, NOBODY_WAITS
from kvarts.node.rows import MOVES, duties, lacking
from kvarts.node.shards import FEATURES, META, Shards
from kvarts.node.words import decode
from kvarts.placement.nodes import REPLICATION, Duty, Node
from kvarts.placement.steps import Limits, begin
from kvarts.raft.confchange import ChangeKind, ConfigChange, NodeChange
from kvarts.raft.ids import NodeId, Term
from kvarts.raft.messages import Role
from kvarts.replication.events import CommandRequested, ConfigRequested, Event, TransferRequested
from kvarts.replication.replica import Replica
from kvarts.replication.replicator import Replicator
from kvarts.statemachine import shards
from kvarts.statemachine.configuration import Configuration, SetFeature, encode
from kvarts.statemachine.python_commands import UnreadableCommand, unpack_command

ROUND_MS = 500
HEAR_MS = 100
AWAY_MS = 3_000
"""A node that says nothing for so long is away. A new leader begins nothing before: it has yet to hear who answers."""
TRANSFER_MS = 5_000
SPLITS_MAX = 2
"""Splits that are under way together, at most: each node copies state machines one after the other, and each of them
stands still, then has a half that nobody serves: that is to be short, and for few keys at a time."""
SPLIT_MS = 500
"""So soon after one that a shard's leader asked for no other is begun: the map may not know of it yet."""
TAKE_IN_MS = 3_000
"""A node that is listed and no member for so long was forgotten by whoever admitted it."""


class Conductor:
    """Called by the loop once per turn. Remembers nothing but who was heard, and when: another node may go on."""

    def __init__(
        self, replicator: Replicator, known: Shards, replication: int = REPLICATION, limits: Limits | None = None
    ) -> None:
        self._replicator = replicator
        self._known = known
        self._replication = replication
        self._limits = limits or Limits()
        self._term = Term(0)
        self._since_ms = 0
        self._heard_ms: dict[NodeId, int] = {}
        self._outside: dict[NodeId, int] = {}
        """Nodes that are listed and do not vote, and since when."""
        self._now_ms = 0
        self._hear_ms = 0
        self._round_ms = 0
        self._transfer_ms = 0
        self._split_ms = 0
        self._idle: tuple[int, tuple[Node, ...]] | None = None
        """The map and the nodes of which it is known that nothing is to begin."""

    def take(self, word: bytes) -> list[Event]:
        """Take a word of a shard's leader."""
        meta, said = self._replicator.replicas.get(META), decode(word)
        if said is None or meta is None or meta.raft.role is not Role.LEADER:
            # It is said again, to whoever leads then.
            return []
        self._known.behind |= said.behind
        if said.fenced is not None:
            node, shards_fenced = said.fenced
            self._known.fenced_elsewhere[NodeId(node)] = self._now_ms, shards_fenced
        return [CommandRequested(META, NOBODY_WAITS, each) for each in said.steps if self._has_room(each)]

    def work(self, now_ms: int) -> list[Event]:
        """Return what is to be done now."""
        self._now_ms = now_ms
        meta = self._replicator.replicas.get(META)
        if meta is None or meta.raft.role is not Role.LEADER:
            self._term = Term(0)
            return []
        if meta.raft.term != self._term:
            self._term, self._since_ms, self._heard_ms, self._idle = meta.raft.term, now_ms, {}, None
            self._outside = {}
            self._known.behind.clear()
        self._hear(meta, now_ms)
        if now_ms < self._round_ms or not self.knows(now_ms):
            return []
        self._round_ms = now_ms + ROUND_MS
        taken_in = self._take_in(meta, now_ms)
        if taken_in or not self._known.map.shards:
            return taken_in
        self._known.forget_progress()
        nodes = self.nodes(now_ms)
        return self._hand_over(meta, nodes, now_ms) or self._begin(meta, nodes)

    def _has_room(self, step: bytes) -> bool:
        """Return whether a step may be taken now: shards that ask for a split wait until few are under way."""
        try:
            command = shards.decode(unpack_command(step)[1])
        except UnreadableCommand:
            return False
        if not isinstance(command, shards.BeginSplit):
            return True
        under_way = sum(each.split is not None for each in self._known.map.shards)
        if under_way >= SPLITS_MAX or self._now_ms < self._split_ms + SPLIT_MS:
            return False
        self._split_ms = self._now_ms
        return True

    def knows(self, now_ms: int) -> bool:
        """Return whether this node leads and has had the time to hear who answers."""
        return self._term > 0 and now_ms >= self._since_ms + AWAY_MS

    def has_heard(self, now_ms: int) -> bool:
        """Return whether this node leads and has heard all others that vote, or has had the time to."""
        voters = self._replicator.replicas[META].raft.status().membership.voters.voters
        return self.knows(now_ms) or (self._term > 0 and voters <= self._heard_ms.keys() | {self._replicator.node})

    def nodes(self, now_ms: int) -> list[Node]:
        """Return the nodes as the leader of the meta group hears them. Only its voters are given replicas."""
        meta = self._replicator.replicas[META]
        voters = meta.raft.status().membership.voters.voters
        answering = {
            each for each, heard_ms in self._heard_ms.items() if heard_ms + AWAY_MS > now_ms and each in voters
        }
        return duties(meta.system.rows, answering | {self._replicator.node})

    def _hear(self, meta: Replica, now_ms: int) -> None:
        if now_ms < self._hear_ms:
            return
        self._hear_ms = now_ms + HEAR_MS
        for node in meta.raft.status().membership.members:
            if meta.raft.heard_from(node):
                self._heard_ms[node] = now_ms

    def _take_in(self, meta: Replica, now_ms: int) -> list[Event]:
        """Let who is listed and does not vote learn, and vote once it has caught up; let go of who was removed.

        Whoever admitted it may have led no more before it was done with that. One that drains may be on its way out.
        """
        configuration, membership = Configuration(meta.system.rows), meta.raft.status().membership
        listed = configuration.nodes.keys() - configuration.draining.keys()
        outside = sorted(listed - membership.voters.incoming.voters)
        self._outside = {each: self._outside.get(each, now_ms) for each in outside}
        if membership.is_joint:
            return []
        leaving = sorted(membership.members & configuration.removed)
        if leaving:
            return [ConfigRequested(META, ConfigChange((NodeChange(ChangeKind.REMOVE, leaving[0]),)))]
        for node, since_ms in self._outside.items():
            if node not in membership.learners and now_ms >= since_ms + TAKE_IN_MS:
                return [ConfigRequested(META, ConfigChange((NodeChange(ChangeKind.ADD_LEARNER, node),)))]
            behind_max = min(BEHIND_MAX, meta.raft.status().last - 1)
            if node in membership.learners and meta.raft.heard_from(node) and meta.raft.behind(node) <= behind_max:
                return [ConfigRequested(META, ConfigChange((NodeChange(ChangeKind.ADD_VOTER, node),)))]
        return []

    def _hand_over(self, meta: Replica, nodes: list[Node], now_ms: int) -> list[Event]:
        """A node that drains leads nothing, the meta group neither."""
        drains = any(each.id == self._replicator.node and each.duty is Duty.DRAINING for each in nodes)
        successor = meta.raft.successor()
        heirs = {each.id for each in nodes if each.duty is Duty.SERVES} & meta.raft.status().membership.voters.voters
        if not drains or not heirs or now_ms < self._transfer_ms:
            return []
        self._transfer_ms = now_ms + TRANSFER_MS
        return [TransferRequested(META, successor if successor in heirs else min(heirs))]

    def _begin(self, meta: Replica, nodes: list[Node]) -> list[Event]:
        seen = self._known.map.version, tuple(nodes)
        if seen == self._idle:
            return []
        steps = begin(self._known.map, nodes, self._replication, self._limits)
        if not steps:
            self._idle = seen
            return []
        feature = self._raise_feature(meta)
        if feature is not None:
            return feature
        return [
            CommandRequested(
                META,
                NOBODY_WAITS,
                shards.encode(
                    shards.BeginMove(shard=each.shard, epoch=each.epoch, source=each.source, target=each.target)
                ),
            )
            for each in steps
        ]

    def _raise_feature(self, meta: Replica) -> list[Event] | None:
        """Return what makes moves possible, where they are not yet; nothing can be done while a node is too old."""
        configuration, level = Configuration(meta.system.rows), FEATURES[MOVES]
        if configuration.features.get(MOVES, 0) >= level:
            return None
        if lacking(MOVES, level, configuration, meta.raft.status().membership.members):
            return []
        return [CommandRequested(META, NOBODY_WAITS, encode(SetFeature(name=MOVES, level=level)))]
