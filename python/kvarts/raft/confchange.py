"""Changes of membership as pure functions from one membership to the next.

Simple changes touch at most one voter, so old and new majorities overlap. Others pass through a joint membership, in
which both majorities must agree. Source: Raft paper 6, thesis 4.1 and 4.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from kvarts.raft.errors import ConfigChangeRefused, Refusal, invariant
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.raft.membership import NOBODY, Membership
from kvarts.raft.quorum import JointConfig, MajorityConfig


class ChangeKind(Enum):
    """What happens to one node."""

    ADD_VOTER = "v"
    ADD_LEARNER = "l"
    REMOVE = "r"
    UPDATE = "u"
    """Nothing here: whoever keeps addresses of members learns of it in log order."""


class Transition(Enum):
    """How a change passes through the joint membership, if it does."""

    AUTO = "auto"
    """Joint only if several nodes change; left without being asked."""
    IMPLICIT = "implicit"
    """Joint in any case; left without being asked."""
    EXPLICIT = "explicit"
    """Joint in any case; left by a change of its own."""


@dataclass(frozen=True, slots=True)
class NodeChange:
    """One node and what happens to it."""

    kind: ChangeKind
    node: NodeId

    def __str__(self) -> str:
        return f"{self.kind.value}{self.node}"


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A change of membership as it stands in the log; without `changes` it leaves the joint membership.

    `context` belongs to the proposer and comes back when the change is applied.
    """

    changes: tuple[NodeChange, ...] = ()
    transition: Transition = Transition.AUTO
    context: object = None

    @property
    def leaves_joint(self) -> bool:
        """True if this ends a change that is under way."""
        return not self.changes and self.transition is Transition.AUTO

    @property
    def enters_joint(self) -> bool:
        """True if this begins a change that must be left."""
        return self.transition is not Transition.AUTO or len(self.changes) > 1

    def __str__(self) -> str:
        return " ".join(map(str, self.changes))


LEAVE_JOINT = ConfigChange()


def apply_change(membership: Membership, change: ConfigChange) -> Membership:
    """Return the membership after `change`. Raises ConfigChangeRefused."""
    if change.leaves_joint:
        return leave_joint(membership)
    if change.enters_joint:
        return enter_joint(membership, change.changes, auto_leave=change.transition is not Transition.EXPLICIT)
    return change_simply(membership, change.changes)


def change_simply(membership: Membership, changes: Iterable[NodeChange]) -> Membership:
    """Return the membership after `changes` that touch at most one voter. Raises ConfigChangeRefused."""
    if membership.is_joint:
        raise ConfigChangeRefused(Refusal.SIMPLE_WHILE_JOINT)
    changed = _change_incoming(membership, changes)
    if len(membership.voters.incoming.voters ^ changed.voters.incoming.voters) > 1:
        raise ConfigChangeRefused(Refusal.TWO_VOTERS_AT_ONCE)
    return _checked(changed)


def enter_joint(membership: Membership, changes: Iterable[NodeChange], *, auto_leave: bool) -> Membership:
    """Return the joint membership: `changes` made in the incoming half, the outgoing half as it was."""
    if membership.is_joint:
        raise ConfigChangeRefused(Refusal.ALREADY_JOINT)
    before = membership.voters.incoming
    if not before.voters:
        raise ConfigChangeRefused(Refusal.JOINT_WITHOUT_VOTERS)
    joint = replace(membership, voters=JointConfig(before, before))
    return _checked(replace(_change_incoming(joint, changes), auto_leave=auto_leave))


def leave_joint(membership: Membership) -> Membership:
    """Return the membership of the incoming half alone; voters demoted by the change become learners."""
    if not membership.is_joint:
        raise ConfigChangeRefused(Refusal.NOT_JOINT)
    learners = membership.learners | membership.learners_next
    return _checked(Membership(JointConfig(membership.voters.incoming), learners))


def _change_incoming(membership: Membership, changes: Iterable[NodeChange]) -> Membership:
    voters = set(membership.voters.incoming.voters)
    outgoing = membership.voters.outgoing.voters
    learners, learners_next = set(membership.learners), set(membership.learners_next)
    for change in changes:
        node = change.node
        if node == NODE_NONE or change.kind is ChangeKind.UPDATE:
            continue
        if change.kind is ChangeKind.ADD_LEARNER and node in learners | learners_next:
            continue
        for group in (voters, learners, learners_next):
            group.discard(node)
        if change.kind is ChangeKind.ADD_VOTER:
            voters.add(node)
        elif change.kind is ChangeKind.ADD_LEARNER:
            # A voter of the outgoing half votes until the change is left, and must not be a learner meanwhile.
            (learners_next if node in outgoing else learners).add(node)
    if not voters:
        raise ConfigChangeRefused(Refusal.NO_VOTERS)
    halves = JointConfig(MajorityConfig(frozenset(voters)), MajorityConfig(outgoing))
    return replace(
        membership,
        voters=halves,
        learners=frozenset(learners) or NOBODY,
        learners_next=frozenset(learners_next) or NOBODY,
    )


def _checked(membership: Membership) -> Membership:
    broken = membership.broken_rule()
    invariant(broken is None, broken, membership)
    return membership
