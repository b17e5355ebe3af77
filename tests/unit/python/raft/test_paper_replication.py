"""Sections 5.3 to 5.5, 7 and 8 of the Raft paper, and 10.2.1 of the thesis: one test per claim."""

import random
from typing import Any

import pytest

from kvarts.raft.errors import InvariantBroken, ProposalDropped
from kvarts.raft.ids import LOG_STORE, STATE_MACHINE, LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, Message, MessageKind, Role, Snapshot
from kvarts.raft.node import RaftNode
from kvarts.raft.options import RaftOptions
from kvarts.raft.storage import MemoryStore
from tests.unit.python.raft.group import Group

PLAIN: dict[str, Any] = {"pre_vote": False, "check_quorum": False}


def _append(to: int, sender: int, term: int, base: tuple[int, int], *terms: int, commit: int = 0) -> Message:
    """An append of entries of the given terms, after (term, index) `base`."""
    entries = [Entry(Term(t), LogIndex(base[1] + at), payload=b"%d" % t, size=1) for at, t in enumerate(terms, 1)]
    fields = (Term(term), Term(base[0]), LogIndex(base[1]), LogIndex(commit), entries)
    return Message(MessageKind.APPEND, NodeId(to), NodeId(sender), *fields)


def test_leader_begins_with_an_empty_entry_of_its_term() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    assert group[1].log == [(1, b"")]


def test_entry_is_sent_to_all_at_once_and_applied_when_a_majority_has_it() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    group.isolate(3)
    leader.raft.propose(b"x")
    group.settle()
    assert (leader.applied, group[2].applied, group[3].applied) == ([b"x"], [b"x"], [])
    assert {message.to for message in group.sent(MessageKind.APPEND)} == {2, 3}


def test_entry_without_a_majority_is_not_committed() -> None:
    group = Group(1, 2, 3, **PLAIN)
    leader = group.elect(1)
    group.isolate(1)
    leader.raft.propose(b"x")
    group.settle()
    assert leader.applied == []
    assert leader.log[-1] == (1, b"x")


def test_leader_writes_while_it_sends_and_commits_without_its_own_disk() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    group.stalled = {1}
    leader.raft.propose(b"x")
    group.settle()
    group.tick()
    assert [group[node].applied for node in (2, 3)] == [[b"x"], [b"x"]]
    assert leader.applied == []


def test_acknowledgement_leaves_only_when_the_entry_is_durable() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    group.stalled = {2, 3}
    leader.raft.propose(b"x")
    group.settle()
    assert leader.applied == []
    assert leader.raft.status().committed == 2
    group.stalled = {3}
    group.settle()
    assert leader.applied == [b"x"]


def test_append_after_a_missing_entry_is_refused_with_the_place_to_go_on_from() -> None:
    group = Group(1, 2, 3, **PLAIN)
    group[2].raft.step(_append(2, 1, 1, (1, 9), 1))
    group.work(2)
    (refusal,) = [message for message in group.messages if message.kind is MessageKind.APPEND_RESPONSE]
    assert (refusal.reject, refusal.index, refusal.hint) == (True, 9, 1)


def test_conflicting_entry_and_all_that_follow_are_superseded() -> None:
    group = Group(1, 2, 3, **PLAIN)
    group[2].raft.step(_append(2, 1, 1, (0, 1), 1, 1, 1))
    group.work(2)
    group[2].raft.step(_append(2, 3, 2, (1, 2), 2))
    group.work(2)
    assert [term for term, _ in group[2].log] == [1, 2]


def test_old_append_does_not_cut_off_newer_entries() -> None:
    group = Group(1, 2, 3, **PLAIN)
    group[2].raft.step(_append(2, 1, 1, (0, 1), 1, 1, 1))
    group[2].raft.step(_append(2, 1, 1, (0, 1), 1))
    group[2].raft.step(_append(2, 1, 1, (0, 1), 1, 1, 1))
    group.work(2)
    assert len(group[2].log) == 3


def test_commit_index_of_a_follower_stops_at_what_the_leader_vouches_for() -> None:
    group = Group(1, 2, 3, **PLAIN)
    group[2].raft.step(_append(2, 1, 1, (0, 1), 1, 1, 1))
    group[2].raft.step(_append(2, 3, 2, (1, 2), commit=4))
    assert group[2].raft.status().committed == 2


def test_committed_entry_is_never_superseded() -> None:
    group = Group(1, 2, 3, **PLAIN)
    group[2].raft.step(_append(2, 1, 1, (0, 1), 1, 1, commit=3))
    group[2].raft.step(_append(2, 3, 2, (1, 2), 2))
    group.settle()
    assert [term for term, _ in group[2].log] == [1, 1]


def test_entry_of_an_earlier_term_is_not_committed_by_counting_copies() -> None:
    """Figure 8: an entry on a majority may still be superseded unless one of the leader's own term follows it."""
    group = Group(1, 2, 3, 4, 5, **PLAIN)
    raft = group.elect(1).raft
    group.isolate(1, 2)
    raft.propose(b"old")
    group.settle()
    raft.campaign()
    raft.step(Message(MessageKind.HEARTBEAT, NodeId(1), NodeId(5), Term(2)))
    raft.campaign()
    for voter in (1, 3, 4):
        raft.step(Message(MessageKind.VOTE_RESPONSE, NodeId(1), NodeId(voter), Term(3)))
    assert group[1].role is Role.LEADER

    def acknowledge(index: int, *nodes: int) -> int:
        for node in nodes:
            fields = (NodeId(1), NodeId(node), Term(3))
            raft.step(Message(MessageKind.APPEND_RESPONSE, *fields, index=LogIndex(index)))
        return raft.status().committed

    assert acknowledge(3, 2, 3, 4) == 2
    assert acknowledge(4, 2, 3) == 2, "the leader's own copy is not durable yet, and two of five are no majority"
    assert acknowledge(4, 1) == 4


def test_commit_index_beyond_the_log_stops_the_node() -> None:
    """A leader counts only what we acknowledged as durable, so a commit index beyond our log says that it was lost."""
    group = Group(1, 2, 3)
    with pytest.raises(InvariantBroken, match="was the log lost"):
        group[2].raft.step(Message(MessageKind.HEARTBEAT, NodeId(2), NodeId(1), Term(1), commit=LogIndex(9)))


def test_log_of_a_new_leader_wins_and_followers_converge() -> None:
    group = Group(1, 2, 3, **PLAIN)
    group.elect(1)
    group.isolate(1)
    group[1].raft.propose(b"lost")
    group.settle()
    group.elect(2).raft.propose(b"kept")
    group.settle()
    group.heal()
    group.tick(3)
    assert group[1].log == group[2].log == group[3].log
    assert group[1].applied == [b"kept"]


def test_answer_to_an_old_append_repeated_changes_nothing() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    leader.raft.propose(b"x")
    group.settle()
    before = leader.raft.status()
    for message in [m for m in group.sent(MessageKind.APPEND_RESPONSE) if m.to == 1]:
        leader.raft.step(message)
    assert leader.raft.status() == before


def test_follower_behind_the_compacted_log_gets_a_snapshot_and_goes_on() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    group.isolate(3)
    for payload in (b"a", b"b", b"c"):
        leader.raft.propose(payload)
    group.settle()
    leader.compact()
    group.heal()
    group.tick(3)
    assert len(group.sent(MessageKind.SNAPSHOT)) == 1
    leader.raft.propose(b"d")
    group.settle()
    assert group[3].applied == [b"a", b"b", b"c", b"d"]


def test_snapshot_that_is_not_needed_is_answered_with_the_commit_index() -> None:
    group = Group(1, 2, 3)
    group.elect(1).raft.propose(b"x")
    group.settle()
    old = Snapshot(LogIndex(1), Term(0), Membership.of(1, 2, 3), ())
    group[2].raft.step(Message(MessageKind.SNAPSHOT, NodeId(2), NodeId(1), Term(1), snapshot=old))
    group.forget()
    group.settle()
    assert [message.index for message in group.sent(MessageKind.APPEND_RESPONSE)] == [3]
    assert group[2].applied == [b"x"]


def test_membership_after_a_snapshot_is_the_snapshots_alone() -> None:
    group = Group(1, 2, 3)
    snapshot = Snapshot(LogIndex(9), Term(1), Membership.of(2, 3, 4), (b"s",))
    group[2].raft.step(Message(MessageKind.SNAPSHOT, NodeId(2), NodeId(3), Term(1), snapshot=snapshot))
    assert group[2].raft.status().membership == Membership.of(2, 3, 4)
    group.work(2)
    assert (group[2].applied, group[2].raft.status().applied) == ([b"s"], 1)


def test_snapshot_whose_delivery_failed_is_sent_again() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    group.isolate(3)
    leader.raft.propose(b"a")
    group.settle()
    leader.compact()
    group.heal()
    group.lost = {MessageKind.SNAPSHOT}
    group.tick(20)
    group.lost = set()
    group.tick(3)
    assert group[3].applied == [], "nothing is sent while a snapshot is thought to be under way"
    leader.raft.report_snapshot(NodeId(3), delivered=False)
    group.tick(3)
    assert group[3].applied == [b"a"]


def test_acknowledgement_from_before_a_truncation_counts_for_nothing() -> None:
    """An entry is handed to the store, superseded, and only then reported durable: the log must keep its own."""
    group = Group(1, 2, 3, **PLAIN)
    group.stalled = {2}
    group[2].raft.step(_append(2, 1, 1, (0, 1), 1))
    group.work(2)
    group[2].raft.step(_append(2, 3, 2, (0, 1), 2))
    group.work(2)
    for response in group[2].write():
        if response.to == 2:
            group[2].raft.step(response)
    assert group[2].raft._core.log.unstable.entries[0].term == 2
    assert group[2].raft._core.log.term_at(LogIndex(2)) == 2


def test_proposals_beyond_the_uncommitted_limit_are_dropped_and_taken_again_after_commits() -> None:
    group = Group(1, 2, 3, uncommitted_bytes_max=10)
    leader = group.elect(1)
    leader.raft.propose(b"x" * 99)
    with pytest.raises(ProposalDropped):
        leader.raft.propose(b"y")
    group.settle()
    leader.raft.propose(b"y")
    group.settle()
    assert group[2].applied == [b"x" * 99, b"y"]


def test_batch_is_taken_whole_or_not_at_all() -> None:
    group = Group(1, 2, 3, uncommitted_bytes_max=10)
    leader = group.elect(1)
    leader.raft.propose(b"x")
    with pytest.raises(ProposalDropped):
        leader.raft.propose_many([(b"y" * 5, 5), (b"z" * 5, 5)])
    group.settle()
    assert leader.applied == [b"x"]


def test_entries_to_apply_are_limited_in_bytes_but_never_stuck() -> None:
    group = Group(1, 2, 3, apply_bytes_max=50)
    leader = group.elect(1)
    leader.raft.propose_many([(b"%030d" % at, 30) for at in range(8)])
    leader.raft.propose(b"x" * 99)
    group.settle()
    assert [max(peer.batches) for peer in group.peers.values()] == [1, 1, 1]
    assert [len(peer.applied) for peer in group.peers.values()] == [9, 9, 9]


def test_what_a_snapshot_overtakes_gives_its_room_to_apply_back() -> None:
    store = MemoryStore()
    store.install_snapshot(Snapshot(LogIndex(1), Term(1), Membership.of(1, 2)))
    store.append([Entry(Term(1), LogIndex(index), payload=b"x" * 50, size=50) for index in (2, 3)])
    options = RaftOptions(node=NodeId(1), apply_bytes_max=40)
    node = RaftNode(options, store, random.Random(1), applied=LogIndex(1))
    node.step(Message(MessageKind.HEARTBEAT, NodeId(1), NodeId(2), Term(1), commit=LogIndex(2)))
    (apply,) = [message for message in node.ready().messages if message.to == STATE_MACHINE]
    snapshot = Snapshot(LogIndex(9), Term(1), Membership.of(1, 2))
    node.step(Message(MessageKind.SNAPSHOT, NodeId(1), NodeId(2), Term(1), snapshot=snapshot))
    (write,) = [message for message in node.ready().messages if message.to == LOG_STORE]
    store.install_snapshot(snapshot)
    for response in (*write.responses, *apply.responses):
        if response.to == NodeId(1):
            node.step(response)
    entries = tuple(Entry(Term(1), LogIndex(index), payload=b"x" * 50, size=50) for index in (10, 11))
    node.step(Message(MessageKind.APPEND, NodeId(1), NodeId(2), Term(1), Term(1), LogIndex(9), LogIndex(11), entries))
    (write,) = [message for message in node.ready().messages if message.to == LOG_STORE]
    store.append(entries)
    for response in write.responses:
        if response.to == NodeId(1):
            node.step(response)
    handed_out = [message.entries for message in node.ready().messages if message.to == STATE_MACHINE]
    assert [entry.index for batch in handed_out for entry in batch] == [10]


def test_appends_are_limited_in_bytes_and_pipelined_within_the_window() -> None:
    group = Group(1, 2, 3, append_bytes_max=100, inflight_count_max=3)
    leader = group.elect(1)
    group.forget()
    leader.raft.propose_many([(b"%060d" % at, 60) for at in range(10)])
    group.work(1)
    to_two = [m for m in group.messages if m.to == 2 and m.kind is MessageKind.APPEND]
    assert [len(message.entries) for message in to_two] == [1]
    group.settle()
    assert len(group[2].applied) == 10


def test_follower_forwards_proposals_unless_told_not_to() -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    group[2].raft.propose(b"x")
    group.settle()
    assert group[3].applied == [b"x"]
    silent = Group(1, 2, 3, forward_proposals=False)
    silent.elect(1)
    with pytest.raises(ProposalDropped):
        silent[2].raft.propose(b"x")


def test_proposal_without_a_leader_is_dropped() -> None:
    with pytest.raises(ProposalDropped):
        Group(1, 2, 3)[1].raft.propose(b"x")


def test_restarted_node_goes_on_from_its_disk() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    leader.raft.propose(b"x")
    group.settle()
    group[2].start()
    assert group[2].raft.status().term == 1
    group.tick(3)
    leader.raft.propose(b"y")
    group.settle()
    assert group[2].applied == [b"x", b"y"]


def test_commit_index_is_repeated_to_a_follower_that_catches_up_after_a_heartbeat() -> None:
    group = Group(1, 2, 3)
    leader = group.elect(1)
    group.stalled = {3}
    leader.raft.propose(b"x")
    group.work(1)
    while group.messages:
        group.deliver(group.messages.pop(0))
    group.lost = {MessageKind.APPEND, MessageKind.HEARTBEAT}
    group.settle()
    assert leader.applied == [b"x"], "and the word of it to node 3 was lost"
    leader.raft.tick()
    group.settle()
    group.lost, group.stalled = set(), set()
    group.settle()
    assert group[3].applied == [b"x"]
