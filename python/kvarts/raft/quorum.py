"""Quorum arithmetic: which entries a majority has, and who won a vote. Pure functions over sets of voters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from kvarts.raft.ids import LOG_INDEX_MAX, LOG_INDEX_MIN, LogIndex, NodeId


class VoteResult(Enum):
    """What the votes so far amount to."""

    PENDING = "pending"
    LOST = "lost"
    WON = "won"


@dataclass(frozen=True, slots=True)
class MajorityConfig:
    """A set of voters of which a strict majority decides. Source: Raft paper 5.2."""

    voters: frozenset[NodeId] = frozenset()

    def committed(self, acked: Mapping[NodeId, LogIndex]) -> LogIndex:
        """Return the highest index that a majority has acknowledged; a silent voter counts as 0.

        An empty config commits everything, so a joint config is the minimum of its two halves.
        """
        if not self.voters:
            return LOG_INDEX_MAX
        descending = sorted([acked.get(voter, LOG_INDEX_MIN) for voter in self.voters], reverse=True)
        return descending[len(descending) // 2]

    def vote_result(self, votes: Mapping[NodeId, bool]) -> VoteResult:
        """Return what `votes` (True = granted) amount to; votes of others do not count. An empty config has won."""
        if not self.voters:
            return VoteResult.WON
        granted = sum(votes.get(voter) is True for voter in self.voters)
        missing = sum(voter not in votes for voter in self.voters)
        majority = len(self.voters) // 2 + 1
        if granted >= majority:
            return VoteResult.WON
        return VoteResult.PENDING if granted + missing >= majority else VoteResult.LOST


@dataclass(frozen=True, slots=True)
class JointConfig:
    """Two majorities that must both agree while membership changes; outside a change `outgoing` is empty.

    Source: Raft paper 6.
    """

    incoming: MajorityConfig = MajorityConfig()
    outgoing: MajorityConfig = MajorityConfig()

    @property
    def voters(self) -> frozenset[NodeId]:
        """Every node that votes in either half."""
        return self.incoming.voters | self.outgoing.voters if self.outgoing.voters else self.incoming.voters

    @property
    def is_joint(self) -> bool:
        """True during a change that must be left by a second one."""
        return bool(self.outgoing.voters)

    def committed(self, acked: Mapping[NodeId, LogIndex]) -> LogIndex:
        """Return the highest index that both majorities have acknowledged."""
        if not self.outgoing.voters:
            return self.incoming.committed(acked)
        return min(self.incoming.committed(acked), self.outgoing.committed(acked))

    def vote_result(self, votes: Mapping[NodeId, bool]) -> VoteResult:
        """Return what `votes` amount to: won in both halves, lost in either, otherwise pending."""
        halves = {self.incoming.vote_result(votes), self.outgoing.vote_result(votes)}
        if len(halves) == 1:
            return halves.pop()
        return VoteResult.LOST if VoteResult.LOST in halves else VoteResult.PENDING
