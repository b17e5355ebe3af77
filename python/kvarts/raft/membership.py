"""Who belongs to a group: voters, learners, and the two halves while membership changes."""

from __future__ import annotations

from dataclasses import dataclass

from kvarts.raft.ids import NodeId
from kvarts.raft.quorum import JointConfig, MajorityConfig

NOBODY: frozenset[NodeId] = frozenset()
NO_VOTERS = JointConfig()


@dataclass(frozen=True, slots=True)
class Membership:
    """The members of a group at one point of its log. Source: Raft paper 6, thesis 4.

    Invariants: voters and learners are disjoint; `learners_next` (voters of the outgoing half that become learners once
    the change is left) is a part of the outgoing half; outside a change there is no outgoing half, no `learners_next`
    and no `auto_leave`.
    """

    voters: JointConfig = NO_VOTERS
    learners: frozenset[NodeId] = NOBODY
    learners_next: frozenset[NodeId] = NOBODY
    auto_leave: bool = False

    @classmethod
    def of(cls, *voters: int, learners: tuple[int, ...] = ()) -> Membership:
        """Return a membership outside any change."""
        incoming = MajorityConfig(frozenset(map(NodeId, voters)))
        return cls(JointConfig(incoming), frozenset(map(NodeId, learners)))

    @property
    def members(self) -> frozenset[NodeId]:
        """Every node that takes part, voting or not."""
        return self.voters.voters | self.learners

    @property
    def is_joint(self) -> bool:
        """True while a change is under way."""
        return self.voters.is_joint

    def broken_rule(self) -> str | None:
        """Return which invariant does not hold, if any."""
        voters = self.voters.voters
        if self.learners & voters:
            return "a learner votes"
        if not self.learners_next <= self.voters.outgoing.voters:
            return "a future learner was no voter"
        if not self.is_joint and (self.learners_next or self.auto_leave):
            return "traces of a change that is over"
        return None

    def __repr__(self) -> str:
        parts = ["voters=" + _ids(self.voters.incoming.voters)]
        if self.is_joint:
            parts[0] += "&&" + _ids(self.voters.outgoing.voters)
        if self.learners:
            parts.append("learners=" + _ids(self.learners))
        if self.learners_next:
            parts.append("learners_next=" + _ids(self.learners_next))
        if self.auto_leave:
            parts.append("autoleave")
        return " ".join(parts)


def _ids(nodes: frozenset[NodeId]) -> str:
    return "(" + " ".join(map(str, sorted(nodes))) + ")"
