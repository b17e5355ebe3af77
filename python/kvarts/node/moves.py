"""The part that a node has in moves of shards that it leads: it sees them in the shard map and carries them out.

What is to be done next follows from the map and from the group's own log, so it makes no difference how often it is
done, nor who led before. See kvarts.placement.part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kvarts.node.rows import duties
from kvarts.node.shards import META, Shards
from kvarts.node.words import Word, encode
from kvarts.placement.nodes import REPLICATION, Node
from kvarts.placement.part import Deed, DeedKind, Group, next_deed
from kvarts.raft.confchange import ChangeKind, ConfigChange, NodeChange
from kvarts.raft.ids import NODE_NONE, LogIndex, NodeId, Term
from kvarts.raft.messages import Role
from kvarts.replication.events import CommandRequested, ConfigRequested, Event, GroupId, TransferRequested
from kvarts.replication.replica import Replica
from kvarts.replication.replicator import Replicator
from kvarts.shardmap.shard import Epoch, Shard, ShardId
from kvarts.shardmap.verdict import Ending
from kvarts.statemachine import shards, verdicts

LOOK_MS = 40
"""How often it is looked what is to be done."""
ALL_MS = 1_000
SETTLE_MS = 1_000
"""A new leader decides nothing for so long: it has yet to hear who answers."""
SILENT_MS = 2_000
"""A member that says nothing for so long does not answer."""
ARRIVE_MS = 20_000
"""How long a newcomer has until it says its first word: it learns of the move from the map."""
TELL_MS = 250
TELL_FENCED_MS = 1_000
HAND_OVER_MS = 2_000
BEHIND_MAX = 1_000
"""A learner that lacks no more entries than this is promoted."""
NOBODY_WAITS = 0
"""Context of commands whose outcome is seen in the rows."""


class Teller(Protocol):
    """What is asked of the muscle."""

    def tell(self, node: int, word: bytes) -> None:
        """Send a word to another node. It may be lost. Does not wait."""


@dataclass(slots=True)
class _Led:
    """A group that this node leads."""

    term: Term
    since_ms: int
    waits_for: LogIndex | None
    """Nothing is done before so much is applied: all that there was when it began to lead, and its own latest deed.
    None: the index of that is not known yet."""
    heard_ms: dict[NodeId, int] = field(default_factory=dict)
    waited_epoch: Epoch | None = None
    """Epoch of the latest move whose target was given time to say something."""
    pause_until_ms: int = 0


class Moves:
    """Called by the loop once per turn. Remembers nothing that the logs do not hold, but who was heard, and when."""

    def __init__(self, teller: Teller, replicator: Replicator, known: Shards, replication: int = REPLICATION) -> None:
        self._teller = teller
        self._replicator = replicator
        self._known = known
        self._replication = replication
        self._led: dict[GroupId, _Led] = {}
        self._due_ms = 0
        self._all_ms = 0
        self._tell_ms = 0
        self._tell_fenced_ms = 0

    def work(self, now_ms: int) -> list[Event]:
        """Return what is to be done with the groups that this node leads."""
        if now_ms < self._due_ms:
            return []
        self._due_ms = now_ms + LOOK_MS
        events: list[Event] = []
        steps: list[bytes] = []
        behind: dict[ShardId, int] = {}
        for group, replica, shard in self._leading(now_ms):
            if shard.learner:
                behind[shard.id] = replica.raft.behind(shard.learner)
            deed = self._deed(replica, shard, now_ms)
            if deed is not None and deed.kind is DeedKind.TELL:
                steps.append(step_of(shard, deed.ending or Ending.CANCEL))
            elif deed is not None:
                events.append(self._event(group, shard, deed, now_ms))
        if (steps or behind) and now_ms >= self._tell_ms:
            self._tell_ms = now_ms + TELL_MS
            events += self._tell(Word(tuple(steps), behind))
        if self._known.fenced and now_ms >= self._tell_fenced_ms:
            self._tell_fenced_ms = now_ms + TELL_FENCED_MS
            fenced = frozenset(ShardId(each) for each in self._known.fenced)
            self._tell(Word(fenced=(self._replicator.node, fenced)))
        return events

    def _leading(self, now_ms: int) -> Iterator[tuple[GroupId, Replica, Shard]]:
        """Yield the groups that this node leads, with their shards, where something may be under way."""
        replicas = self._replicator.replicas
        groups: Collection[GroupId] = self._known.moving
        if now_ms >= self._all_ms:
            # Who leads what, and learners that no move asks for: seldom, since a node may hold thousands.
            self._all_ms = now_ms + ALL_MS
            groups = list(replicas)
        for group in sorted(groups):
            replica = replicas.get(group)
            if replica is None:
                continue
            raft = replica.raft
            if group == META or raft.role is not Role.LEADER:
                self._led.pop(group, None)
                continue
            led = self._led.get(group)
            if led is None or led.term != raft.term:
                # The empty entry of its term is among what there is.
                self._led[group] = _Led(raft.term, now_ms, raft.status().last)
            shard = self._known.map.get(ShardId(group))
            if shard is not None and (shard.move is not None or raft.has_learners):
                yield group, replica, shard
        for group in [each for each in self._led if each not in replicas]:
            del self._led[group]

    def _deed(self, replica: Replica, shard: Shard, now_ms: int) -> Deed | None:
        led, raft = self._led[replica.group], replica.raft
        status = raft.status()
        self._hear(led, replica, shard, now_ms)
        if led.waits_for is None:
            led.waits_for = status.last
        if status.applied < led.waits_for or now_ms < led.pause_until_ms or now_ms < led.since_ms + SETTLE_MS:
            return None
        target = shard.learner
        group = Group(
            leader=status.node,
            membership=status.membership,
            verdict=verdicts.verdict_in(replica.system.rows),
            caught_up=target in status.membership.learners
            and raft.heard_from(target)
            and raft.behind(target) <= min(BEHIND_MAX, status.last - 1),
        )
        return next_deed(shard, group, self._members(led, shard, now_ms), self._replication)

    def _hear(self, led: _Led, replica: Replica, shard: Shard, now_ms: int) -> None:
        for member in (*shard.voters, shard.learner):
            if member and replica.raft.heard_from(member):
                led.heard_ms[member] = now_ms
        if shard.move is not None and shard.move.target and shard.epoch != led.waited_epoch:
            # It is about to come; or its word is due to a leader that has just begun.
            led.waited_epoch = shard.epoch
            grace_ms = ARRIVE_MS if shard.learner else SILENT_MS
            led.heard_ms[shard.move.target] = now_ms + grace_ms - SILENT_MS

    def _members(self, led: _Led, shard: Shard, now_ms: int) -> list[Node]:
        """Return the members as this leader hears them."""
        meta = self._replicator.replicas.get(META)
        if meta is None:
            return []
        members = {*shard.voters, shard.learner} - {NODE_NONE}
        answering = {each for each in members if led.heard_ms.get(each, -SILENT_MS) + SILENT_MS > now_ms}
        answering.add(self._replicator.node)
        return [each for each in duties(meta.system.rows, answering) if each.id in members]

    def _event(self, group: GroupId, shard: Shard, deed: Deed, now_ms: int) -> Event:
        led = self._led[group]
        led.waits_for = None
        if deed.kind is DeedKind.HAND_OVER:
            led.pause_until_ms = now_ms + HAND_OVER_MS
            return TransferRequested(group, deed.node)
        if deed.kind is DeedKind.DECIDE:
            assert deed.ending is not None
            command = verdicts.DecideMove(epoch=shard.epoch, ending=deed.ending.value)
            return CommandRequested(group, NOBODY_WAITS, verdicts.encode(command))
        return ConfigRequested(group, ConfigChange((NodeChange(_CHANGES[deed.kind], deed.node),)))

    def _tell(self, word: Word) -> list[Event]:
        """Have the leader of the meta group take steps."""
        meta = self._replicator.replicas.get(META)
        if meta is None or meta.leader == NODE_NONE:
            return []
        if meta.raft.role is Role.LEADER:
            self._known.behind |= word.behind
            return [CommandRequested(META, NOBODY_WAITS, each) for each in word.steps]
        self._teller.tell(meta.leader, encode(word))
        return []


_CHANGES = {
    DeedKind.ADD_LEARNER: ChangeKind.ADD_LEARNER,
    DeedKind.ADD_VOTER: ChangeKind.ADD_VOTER,
    DeedKind.REMOVE: ChangeKind.REMOVE,
}


def step_of(shard: Shard, ending: Ending) -> bytes:
    """Return the command by which the map follows the group."""
    assert shard.move is not None
    source, target = shard.move.source, shard.move.target
    if ending is Ending.PROMOTE:
        return shards.encode(shards.PromoteMove(shard=shard.id, epoch=shard.epoch, target=target))
    ends: Mapping[Ending, type[shards.FinishMove] | type[shards.CancelMove] | type[shards.SettleMove]] = {
        Ending.FINISH: shards.FinishMove,
        Ending.CANCEL: shards.CancelMove,
        Ending.SETTLE: shards.SettleMove,
    }
    return shards.encode(ends[ending](shard=shard.id, epoch=shard.epoch, source=source, target=target))
