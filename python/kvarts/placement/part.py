"""The part of a move that the shard's own group carries out, one deed after the other. Pure.

Whoever leads the group asks again and again what to do next, of the map as it knows it and of the group as its log has
made it. Voters change only by a verdict of the group's log, and the map is told only what the log shows: so a leader
with an old map does nothing that another one has not decided, and the map follows the group however often, late or
seldom it is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from kvarts.base.ids import NODE_NONE, NodeId
from kvarts.placement.nodes import Duty, Node, by_id
from kvarts.placement.safety import quorum_refusal
from kvarts.placement.steps import Seen, StepKind, go_on
from kvarts.raft.membership import Membership
from kvarts.shardmap.shard import Move, Shard
from kvarts.shardmap.verdict import Ending, Verdict


class DeedKind(Enum):
    """What a leader does."""

    ADD_LEARNER = "add-learner"
    ADD_VOTER = "add-voter"
    REMOVE = "remove"
    """`node` leaves the group."""
    HAND_OVER = "hand-over"
    """`node` is to lead, since this one is to leave."""
    DECIDE = "decide"
    """`ending` goes into the group's log."""
    TELL = "tell"
    """`ending` has come about: the map is to follow."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One deed; `node` for changes of the group, `ending` for words."""

    kind: DeedKind
    node: NodeId = NODE_NONE
    ending: Ending | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group as its log has made it, seen by its leader. `caught_up`: the learner holds nearly all that there is."""

    leader: NodeId
    membership: Membership
    verdict: Verdict | None = None
    caught_up: bool = False

    @property
    def voters(self) -> frozenset[NodeId]:
        """Who votes."""
        return self.membership.voters.incoming.voters


def next_deed(shard: Shard, group: Group, nodes: Iterable[Node], replication: int) -> Deed | None:
    """Return what the group's leader should do now, if anything. `nodes`: the members, as far as they answer it."""
    verdict = group.verdict
    if group.membership.is_joint or (verdict is not None and verdict.epoch > shard.epoch):
        # A change is under way, or the map is older here than what the group has decided.
        return None
    decided = verdict.ending if verdict is not None and verdict.epoch == shard.epoch else None
    strays = group.membership.learners - {NODE_NONE if decided is Ending.CANCEL else shard.learner}
    if strays:
        return Deed(DeedKind.REMOVE, min(strays))
    if shard.move is None:
        return None
    return _Part(shard, shard.move, group, by_id(nodes), replication).next(decided)


@dataclass(frozen=True, slots=True)
class _Part:
    shard: Shard
    move: Move
    group: Group
    nodes: dict[NodeId, Node]
    replication: int

    def next(self, decided: Ending | None) -> Deed | None:
        """Return what follows on what was decided."""
        move, voters = self.move, self.group.voters
        if move.target in voters and not move.promoted:
            return _tell(Ending.PROMOTE)
        match decided:
            case None | Ending.PROMOTE:
                return self.decide(decided)
            case Ending.CANCEL if move.target in voters:
                return self.remove(move.target)
            case Ending.FINISH if move.source in voters:
                return self.remove(move.source)
            case _:
                return _tell(decided)

    def decide(self, decided: Ending | None) -> Deed | None:
        """Return what is to be decided, or done before anything can be."""
        caught_up = frozenset({(self.shard.id, self.move.target)}) if self.group.caught_up else frozenset()
        seen = Seen(caught_up=caught_up, leaders={self.shard.id: self.group.leader})
        step = go_on(self.shard, self.nodes.values(), self.replication, seen)
        if step is None:
            target = self.move.target
            waits = target and not self.move.promoted and target not in self.group.membership.learners
            return Deed(DeedKind.ADD_LEARNER, target) if waits else None
        if step.kind is StepKind.HAND_OVER:
            return Deed(DeedKind.HAND_OVER, step.target)
        ending = _ENDINGS[step.kind]
        if ending is decided:
            return Deed(DeedKind.ADD_VOTER, self.move.target)
        return Deed(DeedKind.DECIDE, ending=ending)

    def remove(self, leaving: NodeId) -> Deed | None:
        """Return how a node leaves: not as the leader, and not where the others would be too few just now."""
        after = [each for each in self.shard.voters if each != leaving]
        if quorum_refusal(self.shard.id, after, self.nodes) is not None:
            gone = any(each not in self.nodes or self.nodes[each].duty is Duty.GONE for each in after)
            both = self.move.promoted or not self.move.target
            settles = gone and both and self.move.source in self.group.voters
            return Deed(DeedKind.DECIDE, ending=Ending.SETTLE) if settles else None
        if leaving == self.group.leader:
            heirs = [each for each in after if each in self.nodes and self.nodes[each].answers]
            return Deed(DeedKind.HAND_OVER, self.move.target if self.move.target in heirs else heirs[0])
        return Deed(DeedKind.REMOVE, leaving)


_ENDINGS = {
    StepKind.PROMOTE: Ending.PROMOTE,
    StepKind.FINISH: Ending.FINISH,
    StepKind.CANCEL: Ending.CANCEL,
    StepKind.SETTLE: Ending.SETTLE,
}


def _tell(ending: Ending) -> Deed:
    return Deed(DeedKind.TELL, ending=ending)
