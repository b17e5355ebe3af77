"""One turn: what waits for the log, what becomes of handles, and what a pause does to leases."""

import random
from dataclasses import replace

import pytest

from kvarts.raft.confchange import ChangeKind, ConfigChange, NodeChange
from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import HardState, Message, MessageKind, Snapshot
from kvarts.raft.options import RaftOptions, ReadMode
from kvarts.raft.storage import MemoryStore
from kvarts.replication.events import (
    Applied,
    ConfigRequested,
    Event,
    Events,
    GroupId,
    Handle,
    ReadRequested,
    Received,
    Synced,
    WriteRequested,
)
from kvarts.replication.options import ReplicatorOptions
from kvarts.replication.replicator import Replicator
from kvarts.replication.turn import Turn

S1 = GroupId(1)
N2 = NodeId(2)


class Log:
    """A log that keeps what turns write, at once."""

    def __init__(self, voters: int) -> None:
        self.store = MemoryStore()
        self.store.install_snapshot(Snapshot(LogIndex(1), Term(0), Membership.of(*range(1, voters + 1))))
        self.store.hard_state = HardState(commit=LogIndex(1))

    def group(self, _group: GroupId) -> MemoryStore:
        return self.store


class Node:
    """A replicator and its clock."""

    def __init__(self, voters: int, **raft: object) -> None:
        options = RaftOptions(node=NodeId(1), forward_proposals=False)
        self.log = Log(voters)
        self.now_ms = 0
        self.replicator = Replicator(
            ReplicatorOptions(raft=replace(options, **raft)),  # type: ignore[arg-type]
            self.log,
            {S1: LogIndex(1)},
            lambda _group: random.Random(1),
            now_ms=0,
        )
        self.raft = self.replicator.replicas[S1].raft

    def turn(self, *events: Event, ms: int = 0) -> Turn:
        self.now_ms += ms
        turn = self.replicator.turn(Events(self.now_ms, events))
        for write in turn.writes:
            self.log.store.append(write.entries)
        return turn

    def lead_alone(self) -> None:
        """Elect itself, and finish all work."""
        self.raft.campaign()
        self.finish(self.turn())

    def finish(self, turn: Turn) -> Turn:
        """Sync and apply until nothing waits."""
        while turn.ticket is not None or turn.applies:
            synced: list[Event] = [] if turn.ticket is None else [Synced(turn.ticket)]
            turn = self.turn(*synced, *(Applied(S1, apply.last) for apply in turn.applies))
        return turn

    def lead_two(self) -> None:
        """Be elected by node 2, which then has everything."""
        self.raft.campaign()
        self.turn()
        for kind in (MessageKind.PRE_VOTE_RESPONSE, MessageKind.VOTE_RESPONSE):
            self.turn(Synced(self.replicator._ticket), Received(S1, Message(kind, NodeId(1), N2, Term(1))))
        self.turn(Synced(self.replicator._ticket))
        last = self.log.store.last_index()
        ack = Message(MessageKind.APPEND_RESPONSE, NodeId(1), N2, self.raft.status().term, index=last)
        self.finish(self.turn(Received(S1, ack)))


def test_writes_of_one_turn_become_one_entry_and_nothing_commits_before_the_sync() -> None:
    node = Node(1)
    node.lead_alone()
    before = node.raft.status()
    turn = node.turn(WriteRequested(S1, Handle(7), 10), WriteRequested(S1, Handle(8), 20))
    assert [entry.size for write in turn.writes for entry in write.entries] == [30]
    assert turn.must_sync
    assert not turn.applies
    assert turn.ticket is not None
    done = node.turn(Synced(turn.ticket))
    assert [(apply.first, apply.last) for apply in done.applies] == [(before.last + 1, before.last + 1)]


def test_every_handle_that_enters_a_turn_leaves_it() -> None:
    node = Node(3)
    turn = node.turn(WriteRequested(S1, Handle(7), 10))
    assert [refused.handle for refused in turn.writes_refused] == [7]
    assert turn.release == [7]


def test_votes_are_held_for_the_sync() -> None:
    node = Node(3)
    ask = Message(MessageKind.VOTE, NodeId(1), N2, Term(1), Term(0), LogIndex(1))
    turn = node.turn(Received(S1, ask))
    assert not turn.sends
    assert [each.message.kind for each in turn.held] == [MessageKind.VOTE_RESPONSE]
    assert turn.must_sync


def test_a_change_of_membership_is_a_barrier() -> None:
    node = Node(1)
    node.lead_alone()
    change = ConfigChange((NodeChange(ChangeKind.ADD_LEARNER, NodeId(2)),))
    turn = node.turn(ConfigRequested(S1, change))
    assert turn.ticket is not None
    turn = node.turn(Synced(turn.ticket), WriteRequested(S1, Handle(1), 1))
    assert [apply.barrier for apply in turn.applies] == [True]
    barrier = turn.applies[0].last
    assert turn.ticket is not None
    turn = node.turn(Synced(turn.ticket))
    assert not turn.applies
    turn = node.turn(Applied(S1, barrier))
    assert [effects.membership for effects in turn.effects] == [Membership.of(1, learners=(2,))]
    assert turn.flushes == [S1]
    assert [apply.first for apply in turn.applies] == [barrier + 1]


@pytest.mark.parametrize(("pause_ms", "served"), [(1, True), (5000, False)], ids=["at once", "after a pause"])
def test_a_read_that_waited_out_a_pause_is_not_served_under_the_old_lease(pause_ms: int, served: bool) -> None:
    node = Node(2, read_mode=ReadMode.LEASE)
    node.lead_two()
    sent = node.turn(ms=100).sends
    beat = next(each.message for each in sent if each.message.kind is MessageKind.HEARTBEAT)
    answer = Message(MessageKind.HEARTBEAT_RESPONSE, NodeId(1), N2, beat.term, round=beat.round)
    node.turn(Received(S1, answer), ms=1)
    assert node.raft.status().lease
    turn = node.turn(ReadRequested(S1, 5), ms=pause_ms)
    assert bool(turn.reads) is served
