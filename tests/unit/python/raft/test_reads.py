"""Section 8 of the Raft paper and 6.4 of the thesis: linearizable reads by rounds of heartbeats, and by lease."""

from typing import Any

import pytest

from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.messages import Message, MessageKind, Role
from kvarts.raft.options import RaftOptions, ReadMode
from tests.unit.python.raft.group import Group

LEASE: dict[str, Any] = {"read_mode": ReadMode.LEASE}


def test_read_is_confirmed_by_a_round_of_heartbeats() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    leader.raft.read("r")
    assert leader.reads == {}
    group.settle()
    assert leader.reads == {"r": 2}


def test_reads_of_one_turn_share_a_round() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    group.forget()
    for number in range(50):
        leader.raft.read(number)
    group.settle()
    assert len(leader.reads) == 50
    assert len(group.sent(MessageKind.HEARTBEAT)) == 2


def test_deposed_leader_confirms_no_read() -> None:
    group = Group(1, 2, 3)
    old = group.elect(1)
    group.isolate(1)
    group.tick(60, [2, 3])
    assert len(group.leaders) == 2
    old.raft.read("r")
    group.settle()
    group.heal()
    group.tick(30)
    assert old.role is Role.FOLLOWER
    assert old.reads == {}


def test_answer_to_an_earlier_round_confirms_no_later_read() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    group.lost = {MessageKind.HEARTBEAT_RESPONSE}
    leader.raft.tick()
    group.settle()
    (old, *_) = group.sent(MessageKind.HEARTBEAT_RESPONSE)
    leader.raft.read("r")
    group.settle()
    leader.raft.step(old)
    group.work(1)
    assert leader.reads == {}


def test_read_before_the_first_commit_of_the_term_waits_for_it() -> None:
    group = Group(1, 2, 3, pre_vote=False, check_quorum=False)
    group.elect(1)
    group.lost = {MessageKind.APPEND}
    group.elect(2)
    group[2].raft.read("r")
    group.tick(2)
    assert group[2].reads == {}
    group.lost = set()
    group.tick(2)
    assert group[2].reads == {"r": 3}


def test_follower_asks_the_leader() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    group[3].raft.read("r")
    group.settle()
    assert group[3].reads == {"r": 2}


def test_read_that_will_never_be_answered_is_given_back() -> None:
    group = Group(1, 2, 3)
    group[1].raft.read("without a leader")
    assert group[1].raft.ready().reads_dropped == ["without a leader"]
    leader = group.elect(1)
    group.isolate(1)
    leader.raft.read("cut off")
    dropped: list[object] = []
    for _ in range(30):
        leader.raft.tick()
        dropped += leader.raft.ready().reads_dropped
    assert dropped == ["cut off"]


def test_only_voter_needs_no_round() -> None:
    group = Group(1)
    leader = group.elect(1)
    leader.raft.read("r")
    group.settle()
    assert leader.reads == {"r": 2}


def test_lease_answers_at_once_after_a_confirmed_round() -> None:
    group = Group(1, 2, 3, **LEASE)
    leader = group.elect(1)
    group.tick(1)
    assert leader.raft.status().lease
    group.forget()
    leader.raft.read("r")
    group.work(1)
    assert leader.reads == {"r": 2}
    assert not group.sent(MessageKind.HEARTBEAT)


def test_lease_counts_from_when_the_round_was_sent_and_ends_before_any_election() -> None:
    group = Group(1, 2, 3, **LEASE)
    leader = group.elect(1)
    group.tick(1)
    group.isolate(1)
    held = 0
    while leader.raft.status().lease:
        leader.raft.tick()
        held += 1
    assert held == 10 - RaftOptions(node=NodeId(1)).lease_margin_ticks


@pytest.mark.parametrize("what", ["transfer", "transfer given up", "pause", "step down"])
def test_gate_closes_though_the_lease_has_time_left(what: str) -> None:
    group = Group(1, 2, 3, **LEASE)
    leader = group.elect(1)
    group.tick(1)
    assert leader.raft.status().lease
    if what == "pause":
        leader.raft.pause_detected()
    elif what == "step down":
        leader.raft.step(Message(MessageKind.HEARTBEAT_RESPONSE, NodeId(1), NodeId(2), Term(9)))
    else:
        group.lost = {MessageKind.TIMEOUT_NOW}
        leader.raft.transfer_to(NodeId(2))
        if what == "transfer given up":
            group.tick(15)
            assert leader.raft.status().transferee == 0
    assert not leader.raft.status().lease


def test_read_without_a_lease_falls_back_to_a_round() -> None:
    group = Group(1, 2, 3, **LEASE)
    leader = group.elect(1)
    leader.raft.pause_detected()
    leader.raft.read("r")
    group.work(1)
    assert leader.reads == {}
    group.settle()
    assert leader.reads == {"r": 2}


def test_follower_under_lease_neither_forgets_its_leader_nor_stands_at_will() -> None:
    group = Group(1, 2, 3, **LEASE)
    group.elect(1)
    group.tick(1)
    group[2].raft.forget_leader()
    group[2].raft.campaign()
    group.settle()
    assert group.leaders == [1]
    assert group[2].raft.status().lead == 1


@pytest.mark.parametrize("crashes", [False, True])
def test_word_given_to_a_leaseholder_outlives_a_higher_term_and_a_crash(crashes: bool) -> None:
    group = Group(1, 2, 3, **LEASE, vote_quiet_ticks=5)
    group.tick(5)
    leader = group.elect(1)
    group.tick(1)
    # Node 3 stood in term 2 before this heartbeat, and refused a pre-vote that node 2 asked for then: late words.
    group[2].raft.step(Message(MessageKind.PRE_VOTE_RESPONSE, NodeId(2), NodeId(3), Term(2), reject=True))
    group.work(2)
    if crashes:
        group[2].start()
    wish = Message(MessageKind.VOTE, NodeId(2), NodeId(3), Term(2), Term(1), LogIndex(2))
    group[2].raft.step(wish)
    group.work(2)
    assert leader.raft.status().lease
    assert not _votes(group)
    for _ in range(10):
        group[2].raft.tick()
    group[2].raft.step(wish)
    group.work(2)
    assert [vote.reject for vote in _votes(group)] == [False]


def _votes(group: Group) -> list[Message]:
    return [message for message in group.messages if message.kind is MessageKind.VOTE_RESPONSE]


@pytest.mark.parametrize(
    "options",
    [
        {"read_mode": ReadMode.LEASE, "check_quorum": False},
        {"election_ticks": 1},
        {"heartbeat_ticks": 0},
        {"inflight_count_max": 0},
        {"apply_bytes_max": 0},
        {"lease_margin_ticks": 0},
        {"node": 0},
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        RaftOptions(**{"node": NodeId(1), **options}).validate()


def test_loss_of_the_connection_to_a_leader_elects_another_once_its_lease_is_over() -> None:
    group = Group(1, 2, 3, **LEASE, promise_ticks=6)
    leader = group.elect(1)
    group.tick(1)
    assert leader.raft.status().lease
    for peer in (group[2], group[3]):
        peer.raft.report_lost(NodeId(1))
    group.isolate(1)
    group.forget()
    group.tick(5)
    # Neither stands while the leader may rely on its word.
    assert not leader.raft.status().lease
    assert not group.sent(MessageKind.PRE_VOTE)
    group.tick(1)
    assert group[2].role is Role.LEADER, "the next in the ring is the first to stand"
    assert group[3].raft.status().lead == 2


def test_loss_of_a_connection_whose_leader_lives_moves_nobody() -> None:
    group = Group(1, 2, 3, **LEASE, promise_ticks=6)
    group.elect(1)
    group.tick(1)
    group.forget()
    for _ in range(5):
        group[2].raft.report_lost(NodeId(1))
        group[3].raft.report_lost(NodeId(1))
        group.tick(8)
    assert group.leaders == [1]
    assert not group.sent(MessageKind.PRE_VOTE)
    # Long after, patience is what it was.
    group.tick(30)
    group.isolate(1)
    group.tick(9)
    assert {group[2].role, group[3].role} == {Role.FOLLOWER}
