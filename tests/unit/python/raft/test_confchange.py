"""Laws of membership changes: what the scripts of the judges do not walk through."""

from hypothesis import given
from hypothesis import strategies as st

from kvarts.raft.confchange import LEAVE_JOINT, ChangeKind, ConfigChange, NodeChange, Transition, apply_change
from kvarts.raft.errors import ConfigChangeRefused
from kvarts.raft.ids import LogIndex, NodeId
from kvarts.raft.membership import Membership
from kvarts.raft.tracker import Tracker

node_changes = st.builds(NodeChange, st.sampled_from(ChangeKind), st.integers(0, 5).map(NodeId))
changes = st.builds(ConfigChange, st.lists(node_changes, max_size=4).map(tuple), st.sampled_from(Transition))


def _majorities_overlap(one: frozenset[NodeId], other: frozenset[NodeId]) -> bool:
    """True if no majority of `one` is disjoint from a majority of `other`: the smallest ones that avoid each other."""
    shared, needed = one & other, (len(one) // 2 + 1, len(other) // 2 + 1)
    left = max(0, needed[0] - len(one - shared)) + max(0, needed[1] - len(other - shared))
    return left > len(shared)


@given(st.lists(changes, max_size=12))
def test_old_and_new_quorums_always_overlap(walk: list[ConfigChange]) -> None:
    membership = Membership.of(1, 2, 3)
    for change in walk:
        try:
            after = apply_change(membership, change)
        except ConfigChangeRefused:
            continue
        assert after.broken_rule() is None
        assert after.voters.incoming.voters
        before_halves = {membership.voters.incoming.voters, membership.voters.outgoing.voters} - {frozenset()}
        after_halves = {after.voters.incoming.voters, after.voters.outgoing.voters} - {frozenset()}
        assert any(_majorities_overlap(one, other) for one in before_halves for other in after_halves)
        membership = after


@given(st.lists(changes, max_size=8))
def test_tracker_keeps_progress_of_members_that_stay(walk: list[ConfigChange]) -> None:
    tracker = Tracker(inflight_count_max=1)
    tracker.switch(Membership.of(1, 2, 3), LogIndex(0))
    for last, change in enumerate(walk):
        before = dict(tracker.progress)
        try:
            tracker.switch(apply_change(tracker.membership, change), LogIndex(last))
        except ConfigChangeRefused:
            continue
        assert list(tracker.progress) == sorted(tracker.membership.members)
        assert all(tracker.progress[node] is before[node] for node in tracker.progress.keys() & before.keys())


def test_demoted_voter_votes_until_the_change_is_left() -> None:
    demote = ConfigChange((NodeChange(ChangeKind.ADD_LEARNER, NodeId(1)), NodeChange(ChangeKind.ADD_VOTER, NodeId(4))))
    joint = apply_change(Membership.of(1, 2, 3), demote)
    assert repr(joint) == "voters=(2 3 4)&&(1 2 3) learners_next=(1) autoleave"
    assert repr(apply_change(joint, LEAVE_JOINT)) == "voters=(2 3 4) learners=(1)"
