"""Sections 5.1, 5.2 and 5.4.1 of the Raft paper, and 3.10, 4.2.3, 6.2, 9.6 of the thesis: one test per claim."""

from contextlib import suppress
from typing import Any

import pytest

from kvarts.raft.errors import ProposalDropped
from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.messages import Message, MessageKind, Role
from tests.unit.python.raft.group import Group

PLAIN: dict[str, Any] = {"pre_vote": False, "check_quorum": False}


def _message(kind: MessageKind, to: int, sender: int, term: int, **fields: Any) -> Message:
    return Message(kind, NodeId(to), NodeId(sender), Term(term), **fields)


def test_nodes_start_as_followers() -> None:
    assert [peer.role for peer in Group(1, 2, 3).peers.values()] == [Role.FOLLOWER] * 3


@pytest.mark.parametrize("kind", [MessageKind.APPEND_RESPONSE, MessageKind.HEARTBEAT_RESPONSE, MessageKind.VOTE])
def test_leader_that_meets_a_higher_term_becomes_a_follower_of_it(kind: MessageKind) -> None:
    group = Group(1, 2, 3, **PLAIN)
    group.elect(1)
    group[1].raft.step(_message(kind, 1, 2, 9))
    assert (group[1].role, group[1].raft.status().term) == (Role.FOLLOWER, 9)


def test_message_of_an_old_term_is_refused() -> None:
    group = Group(1, 2, 3, **PLAIN)
    group.elect(1)
    group.elect(2)
    before = group[3].raft.status()
    group[3].raft.step(_message(MessageKind.APPEND, 3, 1, 1, index=LogIndex(1), commit=LogIndex(1)))
    group[3].raft.step(_message(MessageKind.VOTE, 3, 1, 1, index=LogIndex(99), log_term=Term(99)))
    assert group[3].raft.status() == before


def test_leader_sends_heartbeats_to_all() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    group.forget()
    group.tick(1, [1])
    assert sorted(message.to for message in group.sent(MessageKind.HEARTBEAT)) == [2, 3]


def test_follower_that_hears_nothing_stands_in_a_higher_term_with_its_own_vote() -> None:
    group = Group(1, 2, 3, **PLAIN)
    group.isolate(1)
    group.tick(20, [1])
    status = group[1].raft.status()
    assert (status.role, status.vote) == (Role.CANDIDATE, 1)
    assert status.term >= 1
    assert {message.to for message in group.sent(MessageKind.VOTE)} == {2, 3}


def test_heartbeats_keep_followers_from_standing() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    group.tick(100)
    assert group.leaders == [1]
    assert group[1].raft.status().term == 1


def test_election_timeout_is_drawn_anew_between_once_and_twice_the_least() -> None:
    group = Group(1, 2, 3, **PLAIN)
    group.isolate(1)
    drawn = set()
    for _ in range(200):
        term, ticks = group[1].raft.status().term, 0
        while group[1].raft.status().term == term:
            group[1].raft.tick()
            ticks += 1
        drawn.add(ticks)
    assert drawn == set(range(10, 20))


def test_node_votes_once_a_term_first_come_first_served() -> None:
    group = Group(1, 2, 3, **PLAIN)
    for candidate in (1, 3, 1):
        group[2].raft.step(_message(MessageKind.VOTE, 2, candidate, 1, index=LogIndex(1)))
    (write,) = _take_writes(group, 2)
    assert [(m.to, m.reject) for m in write.responses] == [(1, False), (3, True), (1, False)]


def _take_writes(group: Group, node: int) -> list[Message]:
    group.messages += group[node].take_ready()
    return group[node].writes


def test_vote_leaves_only_when_it_is_durable_and_survives_a_crash() -> None:
    group = Group(1, 2, 3, **PLAIN)
    group[2].raft.step(_message(MessageKind.VOTE, 2, 1, 1, index=LogIndex(1)))
    assert not group[2].take_ready()
    answers = group[2].write()
    assert [(m.kind, m.reject) for m in answers] == [(MessageKind.VOTE_RESPONSE, False)]
    group[2].start()
    group[2].raft.step(_message(MessageKind.VOTE, 2, 3, 1, index=LogIndex(1)))
    (refusal,) = _take_writes(group, 2)[0].responses
    assert refusal.reject


def test_own_vote_counts_only_when_it_is_durable() -> None:
    group = Group(1, **PLAIN)
    group.stalled = {1}
    group[1].raft.campaign()
    group.settle()
    assert group.leaders == []
    group.stalled = set()
    group.settle()
    assert group.leaders == [1]


def test_node_that_forgot_its_term_in_a_crash_never_leads_that_term_twice() -> None:
    # Two votes of three make a majority. Had node 1 led before its own was durable, it could have filled one index with
    # two entries of one term: node 3 would keep "a" for ever, since it compares terms, and acknowledge "b".
    group = Group(1, 2, 3, **PLAIN)
    group.stalled, group.lost = {1}, {MessageKind.APPEND}
    group[1].raft.campaign()
    group.settle()
    with suppress(ProposalDropped):
        group[1].raft.propose(b"a")
    group.cut, group.lost = {(1, 2)}, set()
    group.tick(2, [1])
    group[1].start()
    group.stalled, group.cut = set(), set()
    group[1].raft.campaign()
    group.settle()
    group[1].raft.propose(b"b")
    group.settle()
    group.tick(2, [1])
    assert [group[node].applied for node in (1, 2, 3)] == [[b"b"]] * 3


def test_candidate_that_hears_a_leader_of_its_term_follows_it() -> None:
    group = Group(1, 2, 3, **PLAIN)
    group.isolate(1)
    group[1].raft.campaign()
    group.settle()
    group[1].raft.step(_message(MessageKind.HEARTBEAT, 1, 3, 1))
    status = group[1].raft.status()
    assert (status.role, status.lead, status.term) == (Role.FOLLOWER, 3, 1)


def test_split_vote_ends_by_another_election() -> None:
    group = Group(1, 2, 3, 4, **PLAIN)
    group.cut = {(1, 3), (3, 1), (2, 4), (4, 2), (1, 4), (4, 1), (2, 3), (3, 2)}
    group[1].raft.campaign()
    group[3].raft.campaign()
    group.settle()
    assert group.leaders == []
    group.heal()
    group.tick(40)
    assert len(group.leaders) == 1


@pytest.mark.parametrize(
    ("last", "last_term", "granted"),
    [(3, 1, True), (4, 1, True), (2, 1, False), (1, 2, True), (9, 0, False)],
    ids=["same", "longer", "shorter", "later term", "earlier term"],
)
def test_vote_goes_only_to_a_log_at_least_as_complete(last: int, last_term: int, granted: bool) -> None:
    group = Group(1, 2, 3, **PLAIN)
    group.elect(1).raft.propose(b"x")
    group.settle()
    group[2].raft.step(_message(MessageKind.VOTE, 2, 3, 5, index=LogIndex(last), log_term=Term(last_term)))
    (answer,) = _take_writes(group, 2)[0].responses
    assert answer.reject is not granted


def test_pre_vote_leaves_terms_alone_while_no_election_can_be_won() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    group.isolate(3)
    group.tick(100)
    assert group[3].raft.status().term == 1
    group.heal()
    group.tick(30)
    assert group.leaders == [1]
    assert group[1].raft.status().term == 1


def test_voter_that_hears_a_leader_ignores_candidates_even_of_a_higher_term() -> None:
    group = Group(1, 2, 3, check_quorum=True)
    group.elect(1)
    group[2].raft.step(_message(MessageKind.VOTE, 2, 3, 9, index=LogIndex(9), log_term=Term(9)))
    assert group[2].raft.status().term == 1
    group[2].raft.step(_message(MessageKind.VOTE, 2, 3, 9, index=LogIndex(9), log_term=Term(9), forced=True))
    assert group[2].raft.status().term == 9


def test_leader_without_a_quorum_steps_down() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    group.isolate(1)
    group.tick(20, [1])
    assert group[1].role is Role.FOLLOWER


def test_leader_whose_disk_stands_still_gives_way_to_another() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    group.stalled = {1}
    group[1].raft.propose(b"x")
    group.tick(9)
    assert group.leaders == [1]
    group.tick(2)
    assert group.leaders == []
    group.tick(40)
    assert group.leaders in ([2], [3])
    group.stalled = set()
    group.tick(2)
    assert b"x" in group[1].applied


def test_leader_whose_disk_is_slow_but_goes_on_stays() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    for number in range(5):
        group.stalled = {1}
        leader.raft.propose(b"%d" % number)
        group.tick(9)
        group.stalled = set()
        group.settle()
    assert group.leaders == [1]


def test_idle_leader_owes_its_disk_nothing() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    group.stalled = {1}
    group.tick(60)
    assert group.leaders == [1]


def test_candidate_whose_disk_stands_still_does_not_win_by_the_votes_of_others() -> None:
    group = Group(1, 2, 3)
    group.stalled = {1}
    group[1].raft.campaign()
    group.settle()
    assert group.leaders == []
    assert group.sent(MessageKind.PRE_VOTE_RESPONSE)
    group.stalled = set()
    group.settle()
    assert group.leaders == [1]


def test_leader_that_was_cut_off_hears_of_the_new_term_though_voters_ignore_it() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    group.isolate(3)
    group[3].raft.step(_message(MessageKind.VOTE, 3, 2, 7, index=LogIndex(9), log_term=Term(9), forced=True))
    group.settle()
    group.heal()
    group.tick(60)
    assert len(group.leaders) == 1
    assert len({peer.raft.status().term for peer in group.peers.values()}) == 1


def test_transfer_waits_until_the_target_has_everything_and_takes_no_proposals() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    group.isolate(3)
    leader.raft.propose(b"x")
    group.settle()
    leader.raft.transfer_to(NodeId(3))
    group.settle()
    assert not group.sent(MessageKind.TIMEOUT_NOW)
    group.heal()
    group.tick(3)
    assert group.leaders == [3]
    assert group[3].applied == [b"x"]


def test_transfer_to_a_node_that_is_gone_is_given_up() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    group.isolate(3)
    leader.raft.propose(b"x")
    group.settle()
    leader.raft.transfer_to(NodeId(3))
    group.tick(10)
    leader.raft.propose(b"y")
    group.settle()
    assert group[2].applied == [b"x", b"y"]


@pytest.mark.parametrize("other", [4, 9], ids=["learner", "stranger"])
def test_wish_that_a_node_without_a_vote_leads_does_not_end_a_transfer(other: int) -> None:
    group = Group(1, 2, 3, learners=(4,))
    leader = group.elect(1)
    leader.raft.propose(b"x")
    leader.raft.transfer_to(NodeId(2))
    leader.raft.transfer_to(NodeId(other))
    assert leader.raft.status().transferee == 2
    group.settle()
    assert group.leaders == [2]


def test_follower_passes_the_wish_for_a_transfer_on() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    group[2].raft.transfer_to(NodeId(3))
    group.settle()
    assert group.leaders == [3]


def test_node_that_is_told_to_forget_its_leader_votes_before_its_timeout() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    group.isolate(1)
    group[2].raft.campaign()
    group.settle()
    assert group.leaders == [1]
    group[3].raft.forget_leader()
    assert group[3].raft.status().lead == 0
    group[2].raft.campaign()
    group.settle()
    assert group[2].role is Role.LEADER


def test_learner_never_stands() -> None:
    group = Group(1, 2, learners=(3,))
    group.tick(100, [3])
    assert group[3].role is Role.FOLLOWER
    assert not group.sent(MessageKind.PRE_VOTE)


def test_restarted_node_may_be_told_to_vote_for_nobody_for_a_while() -> None:
    group = Group(1, 2, 3, vote_quiet_ticks=10)
    group[1].raft.campaign()
    group.settle()
    assert group.leaders == []
    group.tick(60)
    assert len(group.leaders) == 1
