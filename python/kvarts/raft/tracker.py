"""A group's members and, at its leader or candidate, what each of them has acknowledged, voted and answered."""

from __future__ import annotations

from collections.abc import Iterator

from kvarts.raft.ids import LogIndex, NodeId
from kvarts.raft.inflights import Inflights
from kvarts.raft.membership import Membership
from kvarts.raft.progress import Progress
from kvarts.raft.quorum import VoteResult


class Tracker:
    """Membership with the progress of each member. Invariant: `progress` has exactly the members as keys, in order."""

    __slots__ = ("_inflight_bytes_max", "_inflight_count_max", "membership", "progress", "votes")

    def __init__(self, *, inflight_count_max: int, inflight_bytes_max: int | None = None) -> None:
        self._inflight_count_max = inflight_count_max
        self._inflight_bytes_max = inflight_bytes_max
        self.membership = Membership()
        self.progress: dict[NodeId, Progress] = {}
        self.votes: dict[NodeId, bool] = {}

    def switch(self, membership: Membership, last: LogIndex) -> None:
        """Take `membership`: members that stay keep their progress, new ones are first probed at `last`."""
        first_probe = LogIndex(max(last, 1))
        members = sorted(membership.members)
        # A new member counts as active, or it would be judged before it could answer.
        self.progress = {
            node: self.progress.get(node) or Progress(first_probe, self._inflights(), recently_active=True)
            for node in members
        }
        self.membership = membership

    def reset(self, last: LogIndex) -> None:
        """Forget what members acknowledged and voted, as at the start of a term."""
        next_index = LogIndex(last + 1)
        self.progress = {node: Progress(next_index, self._inflights()) for node in self.progress}
        self.votes = {}

    def is_learner(self, node: NodeId) -> bool:
        """Return whether `node` takes part without a vote."""
        return node in self.membership.learners

    def others(self, node: NodeId) -> Iterator[tuple[NodeId, Progress]]:
        """Yield all members but `node`, by id."""
        return iter([pair for pair in self.progress.items() if pair[0] != node])

    def committed(self) -> LogIndex:
        """Return the highest index that the membership's quorum has acknowledged."""
        acked = {node: progress.match for node, progress in self.progress.items()}
        return self.membership.voters.committed(acked)

    def quorum_active(self) -> bool:
        """Return whether a quorum of voters was heard from lately."""
        learners = self.membership.learners
        heard = {node: p.recently_active for node, p in self.progress.items() if node not in learners}
        return self.membership.voters.vote_result(heard) is VoteResult.WON

    def record_vote(self, node: NodeId, granted: bool) -> None:
        """Note a vote; the first word of a node counts."""
        self.votes.setdefault(node, granted)

    def vote_result(self) -> VoteResult:
        """Return what the votes so far amount to."""
        return self.membership.voters.vote_result(self.votes)

    def _inflights(self) -> Inflights:
        return Inflights(self._inflight_count_max, self._inflight_bytes_max)
