"""Section 6 of the Raft paper and chapter 4 of the thesis: one test per claim."""

import pytest

from kvarts.raft.confchange import LEAVE_JOINT, ChangeKind, ConfigChange, NodeChange, Transition
from kvarts.raft.errors import Busy, ProposalDropped
from kvarts.raft.ids import NodeId
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Role
from tests.unit.python.raft.group import Group


def change(*words: str, transition: Transition = Transition.AUTO) -> ConfigChange:
    changes = [NodeChange(ChangeKind(word[0]), NodeId(int(word[1:]))) for word in words]
    return ConfigChange(tuple(changes), transition)


def _changed(group: Group, leader: int, *words: str, transition: Transition = Transition.AUTO) -> None:
    group[leader].raft.propose_config(change(*words, transition=transition))
    group.settle()


def test_added_learner_catches_up_without_a_vote() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    leader.raft.propose(b"x")
    group.settle()
    leader.compact()
    group.add(4)
    _changed(group, 1, "l4")
    group.tick(3)
    assert group[4].applied == [b"x"]
    group.isolate(2, 3)
    leader.raft.propose(b"y")
    group.settle()
    assert leader.applied == [b"x"], "a learner's copy counts for no quorum"


def test_promoted_learner_counts() -> None:
    group = Group(1, 2, learners=(3,))
    leader = group.elect(1)
    _changed(group, 1, "v3")
    group.isolate(2)
    leader.raft.propose(b"y")
    group.settle()
    assert leader.applied == [b"y"]


def test_while_joint_both_majorities_are_needed() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    for node in (4, 5):
        group.add(node)
    _changed(group, 1, "r2", "r3", "v4", "v5", transition=Transition.EXPLICIT)
    group.tick(3)
    assert leader.raft.status().membership.is_joint
    group.isolate(2, 3)
    leader.raft.propose(b"x")
    group.settle()
    assert leader.applied == []
    group.heal()
    group.tick(3)
    assert leader.applied == [b"x"]
    group.isolate(4, 5)
    leader.raft.propose(b"y")
    group.settle()
    assert leader.applied == [b"x"]


def test_joint_membership_is_left_without_being_asked() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    for node in (4, 5):
        group.add(node)
    _changed(group, 1, "r2", "r3", "v4", "v5")
    group.tick(3)
    assert {repr(group[node].membership) for node in (1, 4, 5)} == {"voters=(1 4 5)"}


def test_new_leader_leaves_the_joint_membership_of_its_predecessor() -> None:
    group = Group(1, 2, 3, pre_vote=False, check_quorum=False)
    group.elect(1)
    group.add(4)
    group[1].raft.propose_config(change("r1", "v4"))
    group.work(1)
    for message in list(group.messages):
        group.deliver(message)
    group.messages.clear()
    group.isolate(1)
    group.tick(60)
    group.heal()
    group.tick(60)
    assert repr(group[2].membership) in {"voters=(2 3 4)", "voters=(1 2 3)"}
    assert not group[2].membership.is_joint


def test_second_change_waits_for_the_first() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    leader.raft.propose_config(change("l4"))
    leader.raft.propose_config(change("l5"))
    group.settle()
    assert repr(leader.membership) == "voters=(1 2 3) learners=(4)"


def test_leaving_without_being_joint_becomes_an_empty_entry() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    leader.raft.propose_config(LEAVE_JOINT)
    group.settle()
    assert leader.log[-1] == (1, b"")


def test_removed_leader_resigns_when_the_change_is_committed() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    _changed(group, 1, "r1")
    assert group[1].role is Role.FOLLOWER
    group.tick(60)
    assert len(group.leaders) == 1
    assert group.leaders != [1]


def test_removed_leader_takes_no_proposals_where_it_may_not_resign() -> None:
    group = Group(1, 2, 3, step_down_on_removal=False)
    group.elect(1)
    _changed(group, 1, "r1")
    assert group[1].role is Role.LEADER
    with pytest.raises(ProposalDropped):
        group[1].raft.propose(b"x")


def test_removed_node_does_not_disturb_the_others() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    group.isolate(3)
    leader.raft.propose_config(change("r3"))
    group.settle()
    group.heal()
    group.tick(60)
    assert group.leaders == [1]
    assert leader.raft.status().term == 1


def test_node_does_not_stand_while_a_committed_change_is_not_applied() -> None:
    group = Group(1, 2, 3, pre_vote=False, check_quorum=False)
    group.elect(1)
    group[1].raft.propose_config(change("r2"))
    for _ in range(4):
        for node in (1, 2, 3):
            if group[node].raft.has_ready():
                group.messages += group[node].take_ready()
            while group[node].writes:
                group.messages += group[node].write()
        while group.messages:
            group.deliver(group.messages.pop(0))
    assert group[2].applies
    term = group[2].raft.status().term
    group[2].raft.campaign()
    assert group[2].raft.status().term == term


def test_membership_of_a_restarted_node_is_that_of_its_snapshot_until_it_applies_more() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    _changed(group, 1, "l4")
    leader.compact()
    group[1].start()
    assert repr(group[1].raft.status().membership) == "voters=(1 2 3) learners=(4)"
    assert group[1].membership != Membership.of(1, 2, 3)


def test_node_that_lost_its_commit_index_does_not_stand_by_a_membership_two_changes_old() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    group.isolate(3)
    for node in (4, 5):
        group.add(node)
        _changed(group, 1, f"v{node}")
        group.tick(2, nodes=[1])
    group.heal()
    _append_torn_write(group, 3)
    group[3].start()
    # Two of the three that node 3 knew are no majority of the five that the changes led to.
    group.isolate(2, 3)
    group.tick(50, nodes=[2, 3])
    leader.raft.propose(b"x")
    group.settle()
    assert leader.applied == [b"x"]
    assert group.leaders == [1]
    assert group[3].raft.status().membership == Membership.of(1, 2, 3, 4)


def _append_torn_write(group: Group, node: int) -> None:
    """Let a node write both changes; of that write the last record is lost, with the commit index."""
    group.stalled = {node}
    while not (group[node].writes and len(group[node].writes[0].entries) == 2):
        group.messages += [response for _ in group[node].writes for response in group[node].write()]
        group.tick(1, nodes=[1])
    group[node].store.append(group[node].writes[0].entries)
    group.stalled, group.messages = set(), []


def test_last_change_of_a_log_is_not_taken_for_committed() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    group.isolate(1)
    group[1].raft.propose_config(change("v4"))
    group.settle()
    committed = group[1].raft.status().committed
    group[1].start()
    assert group[1].raft.status().last == committed + 1
    assert group[1].raft.status().committed <= committed


def test_explicit_change_of_nothing_becomes_an_empty_entry() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    _changed(group, 1, transition=Transition.EXPLICIT)
    _changed(group, 1, transition=Transition.IMPLICIT)
    assert leader.log[-2:] == [(1, b""), (1, b"")]
    assert leader.raft.status().membership == Membership.of(1, 2, 3)


def test_change_that_finds_the_leader_busy_leaves_no_trace() -> None:
    group = Group(1, 2, 3, uncommitted_bytes_max=10)
    leader = group.elect(1)
    leader.raft.propose(b"0123456789")
    with pytest.raises(Busy):
        leader.raft.propose_config(change("v4"), size=1)
    group.settle()
    _changed(group, 1, "v4")
    assert leader.raft.status().membership == Membership.of(1, 2, 3, 4)


def test_a_replica_that_came_back_empty_helps_nobody_lead_who_missed_what_it_held() -> None:
    """It was a voter, left, and its files went; a voter that missed all that still counts on it."""
    group = Group(1, 2, 3, empty_votes=False)
    leader = group.elect(1)
    group.isolate(2)
    leader.raft.propose(b"acknowledged by 3")
    group.settle()
    _changed(group, 1, "r3")
    group.isolate(1, 2, 3)
    del group.peers[NodeId(3)]
    group.add(3)
    group.heal()
    group.isolate(1)
    group.tick(40)
    assert group[2].raft.role is not Role.LEADER
