"""One turn: what waits for the log, what becomes of handles, and what a pause does to leases."""

import random
from dataclasses import replace

import pytest

from kvarts.raft.confchange import ChangeKind, ConfigChange, NodeChange
from kvarts.raft.errors import InvariantBroken
from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, EntryKind, HardState, Message, MessageKind, Role, Snapshot
from kvarts.raft.options import RaftOptions, ReadMode
from kvarts.raft.storage import MemoryStore
from kvarts.replication.events import (
    Applied,
    Batch,
    CloseRequested,
    CommandRequested,
    ConfigRequested,
    Event,
    Events,
    GroupId,
    GroupOpened,
    Handle,
    Heartbeats,
    ReadRequested,
    Received,
    Restored,
    StopRequested,
    Synced,
    TransferRequested,
    WriteRequested,
)
from kvarts.replication.options import ReplicatorOptions
from kvarts.replication.replicator import Replicator
from kvarts.replication.turn import Beats, CommandDone, CommandRefused, Effects, Turn, Why
from kvarts.statemachine.configuration import CreateKeyspace, encode
from kvarts.statemachine.python_commands import Decision, UnreadableCommand

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

    def __init__(self, voters: int, *, gather_ms: int = 0, linger_ms: int = 0, **raft: object) -> None:
        options = RaftOptions(node=NodeId(1), forward_proposals=False)
        self.log = Log(voters)
        self.now_ms = 0
        self.effects: list[Effects] = []
        self.answers: list[CommandDone | CommandRefused] = []
        self.replicator = Replicator(
            ReplicatorOptions(raft=replace(options, **raft), gather_ms=gather_ms, linger_ms=linger_ms),  # type: ignore[arg-type]
            self.log,
            [GroupOpened(S1, LogIndex(1))],
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

    def entry_at(self, index: LogIndex) -> Entry:
        return self.log.store.entries(index, LogIndex(index + 1), None)[0]

    def finish(self, turn: Turn) -> Turn:
        """Sync and apply until nothing waits."""
        while turn.ticket is not None or turn.applies:
            synced: list[Event] = [] if turn.ticket is None else [Synced(turn.ticket)]
            reached = []
            for apply in turn.applies:
                payload = self.entry_at(apply.last).payload if apply.barrier else None
                reached.append(Applied(S1, apply.last, payload if isinstance(payload, bytes) else None))
            turn = self.turn(*synced, *reached)
            self.effects += turn.effects
            self.answers += [*turn.commands_done, *turn.commands_refused]
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


def _entries(turn: Turn) -> list[tuple[int, ...]]:
    batches = [entry.payload for write in turn.writes for entry in write.entries]
    return [batch.handles for batch in batches if isinstance(batch, Batch)]


def test_writes_wait_for_the_entry_before_theirs() -> None:
    node = Node(1, gather_ms=2)
    node.lead_alone()
    first = node.turn(WriteRequested(S1, Handle(7), 10))
    assert _entries(first) == [(7,)], "nothing is on its way"
    waiting = node.turn(WriteRequested(S1, Handle(8), 20), WriteRequested(S1, Handle(9), 30))
    assert (_entries(waiting), waiting.release) == ([], [])
    assert first.ticket is not None
    assert _entries(node.turn(Synced(first.ticket))) == [(8, 9)], "it goes in the turn that commits the first"


def test_writes_that_waited_linger_for_those_whom_the_entry_answered() -> None:
    node = Node(1, gather_ms=8, linger_ms=1)
    node.lead_alone()
    first = node.turn(WriteRequested(S1, Handle(7), 10))
    node.turn(WriteRequested(S1, Handle(8), 20))
    assert first.ticket is not None
    assert _entries(node.turn(Synced(first.ticket))) == []
    assert node.replicator.next_due_ms() == node.now_ms + 1
    assert _entries(node.turn(WriteRequested(S1, Handle(9), 30))) == [], "one that was answered writes again"
    assert _entries(node.turn(ms=1)) == [(8, 9)]


def test_a_write_that_finds_nothing_on_its_way_lingers_for_nobody() -> None:
    node = Node(1, gather_ms=8, linger_ms=1)
    node.lead_alone()
    assert _entries(node.turn(WriteRequested(S1, Handle(7), 10))) == [(7,)]


def test_writes_linger_no_longer_than_they_may_wait() -> None:
    node = Node(1, gather_ms=2, linger_ms=5)
    node.lead_alone()
    first = node.turn(WriteRequested(S1, Handle(7), 10))
    node.turn(WriteRequested(S1, Handle(8), 20))
    assert first.ticket is not None
    assert _entries(node.turn(Synced(first.ticket), ms=1)) == []
    assert _entries(node.turn(ms=1)) == [(8,)]


def test_writes_wait_for_another_entry_only_so_long() -> None:
    node = Node(1, gather_ms=2)
    node.lead_alone()
    node.turn(WriteRequested(S1, Handle(7), 10))
    node.turn(WriteRequested(S1, Handle(8), 20))
    assert node.replicator.next_due_ms() == node.now_ms + 2
    assert _entries(node.turn(ms=1)) == []
    assert _entries(node.turn(ms=1)) == [(8,)]


def test_gathered_writes_become_entries_of_bounded_size() -> None:
    node = Node(1)
    node.lead_alone()
    size = ReplicatorOptions(raft=RaftOptions(node=NodeId(1), forward_proposals=False)).entry_bytes_max // 2
    turn = node.turn(*(WriteRequested(S1, Handle(each), size) for each in (7, 8, 9)))
    assert _entries(turn) == [(7, 8), (9,)]


def test_writes_that_wait_are_refused_when_the_lead_is_lost_or_the_group_goes() -> None:
    for end in (Received(S1, Message(MessageKind.HEARTBEAT, NodeId(1), N2, Term(9))), CloseRequested(S1)):
        node = Node(2, gather_ms=2)
        node.lead_two()
        node.turn(WriteRequested(S1, Handle(7), 10))
        node.turn(WriteRequested(S1, Handle(8), 20))
        turn = node.turn(end)
        assert [refused.handle for refused in turn.writes_refused] == [8]
        assert turn.release == [8]


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
    ((_, term, _, number),) = node.turn(ms=100).beats_to(N2, idle=True).heartbeats
    node.turn(Heartbeats(N2, True, [], [(S1, term, number)]), ms=1)
    assert node.raft.status().lease
    turn = node.turn(ReadRequested(S1, 5), ms=pause_ms)
    assert bool(turn.reads) is served


USERS = encode(CreateKeyspace(name="users", key="str", value="json"))
ROW = b'{"id":1,"key":"str","options":{},"value":"json"}'


def test_a_python_command_is_a_barrier_and_its_effects_are_a_batch_of_system_keys() -> None:
    node = Node(1)
    node.lead_alone()
    turn = node.turn(CommandRequested(S1, 5, USERS), WriteRequested(S1, Handle(1), 1))
    assert turn.ticket is not None
    turn = node.turn(Synced(turn.ticket))
    assert [(apply.last - apply.first, apply.barrier) for apply in turn.applies] == [(0, True)]
    barrier = turn.applies[0].last
    assert not node.turn().applies
    turn = node.turn(Applied(S1, barrier, USERS))
    writes = ((b"config/last-keyspace", b"1"), (b"config/keyspace/users", ROW))
    assert turn.effects == [Effects(S1, barrier, Membership.of(1), writes)]
    assert turn.commands_done == [CommandDone(S1, 5, Decision(writes, value=1))]
    assert [apply.first for apply in turn.applies] == [barrier + 1]
    assert not turn.flushes


def test_a_command_that_its_rules_refuse_is_an_answer_and_no_effect() -> None:
    node = Node(1)
    node.lead_alone()
    node.finish(node.turn(CommandRequested(S1, 5, USERS), CommandRequested(S1, 6, USERS)))
    assert [effects.writes != () for effects in node.effects] == [True, False]
    assert node.answers[1] == CommandDone(S1, 6, Decision(refusal="keyspace-exists", value=1))


def test_a_muscle_that_reached_another_command_stops_the_node() -> None:
    node = Node(1)
    node.lead_alone()
    turn = node.turn(CommandRequested(S1, 5, USERS))
    assert turn.ticket is not None
    barrier = node.turn(Synced(turn.ticket)).applies[0].last
    with pytest.raises(InvariantBroken):
        node.turn(Applied(S1, barrier, b"another"))


def test_a_command_that_cannot_be_read_never_enters_the_log() -> None:
    node = Node(1)
    node.lead_alone()
    turn = node.turn(CommandRequested(S1, 5, b"no command"))
    assert turn.commands_refused == [CommandRefused(S1, 5, NodeId(1), Why.UNREADABLE)]
    assert not turn.writes


def test_a_command_in_the_log_that_cannot_be_read_stops_the_node() -> None:
    node = Node(1)
    node.lead_alone()
    node.raft.propose(b"of a later version", kind=EntryKind.PYTHON)
    with pytest.raises(UnreadableCommand):
        node.finish(node.turn())


def test_system_keys_of_a_snapshot_take_the_place_of_ours() -> None:
    node = Node(1)
    node.lead_alone()
    node.turn(Restored(S1, LogIndex(9), {b"config/keyspace/users": ROW, b"config/last-keyspace": b"1"}))
    node.finish(node.turn(CommandRequested(S1, 5, USERS)))
    assert node.answers == [CommandDone(S1, 5, Decision(refusal="keyspace-exists", value=1))]


def test_a_command_whose_entry_was_superseded_is_refused_when_another_has_its_place() -> None:
    node = Node(2)
    node.lead_two()
    node.turn(CommandRequested(S1, 5, USERS))
    at, term = node.raft.status().last, node.raft.status().term
    instead = Entry(Term(term + 1), at, EntryKind.NORMAL, b"", 0)
    append = Message(MessageKind.APPEND, NodeId(1), N2, instead.term, term, LogIndex(at - 1), at, (instead,))
    node.finish(node.turn(Received(S1, append)))
    assert node.answers == [CommandRefused(S1, 5, N2, Why.SUPERSEDED)]


def test_a_command_is_not_done_because_another_leaders_command_has_its_place() -> None:
    node = Node(2)
    node.lead_two()
    node.turn(CommandRequested(S1, 5, USERS))
    at, term = node.raft.status().last, node.raft.status().term
    other = encode(CreateKeyspace(name="other", key="str", value="json"))
    instead = Entry(Term(term + 1), at, EntryKind.PYTHON, other, len(other))
    append = Message(MessageKind.APPEND, NodeId(1), N2, instead.term, term, LogIndex(at - 1), at, (instead,))
    node.finish(node.turn(Received(S1, append)))
    assert [effects.writes[0] for effects in node.effects] == [(b"config/last-keyspace", b"1")]
    assert node.answers == [CommandRefused(S1, 5, N2, Why.SUPERSEDED)]


def test_a_command_that_a_snapshot_passed_over_has_an_unknown_outcome() -> None:
    node = Node(2)
    node.lead_two()
    node.turn(CommandRequested(S1, 5, USERS))
    turn = node.turn(Restored(S1, LogIndex(99), {}))
    assert [refused.why for refused in turn.commands_refused] == [Why.UNKNOWN]


def test_refusals_name_the_leader() -> None:
    node = Node(3)
    beat = Message(MessageKind.HEARTBEAT, NodeId(1), N2, Term(1))
    node.turn(Received(S1, beat))
    turn = node.turn(WriteRequested(S1, Handle(7), 1), CommandRequested(S1, 5, USERS))
    assert [(each.leader, each.why) for each in turn.writes_refused] == [(N2, Why.NOT_LEADER)]
    assert [(each.leader, each.why) for each in turn.commands_refused] == [(N2, Why.NOT_LEADER)]


def test_a_leader_with_too_much_uncommitted_says_that_it_is_busy() -> None:
    node = Node(2, uncommitted_bytes_max=10)
    node.lead_two()
    node.turn(WriteRequested(S1, Handle(7), 10))
    turn = node.turn(WriteRequested(S1, Handle(8), 10))
    assert [(each.leader, each.why) for each in turn.writes_refused] == [(1, Why.BUSY)]


def test_while_it_hands_over_a_leader_names_its_successor() -> None:
    node = Node(2)
    node.lead_two()
    turn = node.turn(TransferRequested(S1, N2), WriteRequested(S1, Handle(7), 1))
    assert [(each.leader, each.why) for each in turn.writes_refused] == [(N2, Why.NOT_LEADER)]


def test_a_node_that_is_to_stop_hands_over_and_says_when_it_leads_nothing() -> None:
    node = Node(2)
    node.lead_two()
    turn = node.turn(StopRequested())
    assert [(each.message.kind, each.message.to) for each in turn.sends] == [(MessageKind.TIMEOUT_NOW, N2)]
    assert not turn.stopped
    vote = Message(MessageKind.VOTE, NodeId(1), N2, Term(9), Term(9), LogIndex(99), forced=True)
    assert node.turn(Received(S1, vote)).stopped


def test_a_group_that_nobody_else_could_lead_does_not_keep_a_node_from_stopping() -> None:
    node = Node(1)
    node.lead_alone()
    assert node.turn(StopRequested()).stopped


def test_groups_come_and_go() -> None:
    node = Node(1)
    node.lead_alone()
    turn = node.turn(CommandRequested(S1, 5, USERS))
    closing = node.turn(CloseRequested(S1), WriteRequested(S1, Handle(7), 1), ReadRequested(S1, 6))
    assert (closing.closed, closing.release) == ([S1], [7])
    assert [each.handle for each in closing.writes_refused] == [7]
    assert [each.context for each in closing.reads_refused] == [6]
    assert [each.why for each in closing.commands_refused] == [Why.UNKNOWN]
    assert turn.ticket is not None
    beat = Message(MessageKind.HEARTBEAT, NodeId(1), N2, Term(1))
    assert node.turn(Synced(turn.ticket), Received(S1, beat)) == Turn()
    assert node.replicator.status() == []
    node.turn(GroupOpened(S1, LogIndex(1), {b"config/keyspace/users": ROW}))
    node.raft = node.replicator.replicas[S1].raft
    node.lead_alone()
    assert [(each.group, each.role) for each in node.replicator.status()] == [(S1, Role.LEADER)]
    node.finish(node.turn(CommandRequested(S1, 8, USERS)))
    assert node.answers[-1] == CommandDone(S1, 8, Decision(refusal="keyspace-exists", value=1))


def test_a_muted_group_acknowledges_nothing_and_lets_go_of_what_came() -> None:
    node = Node(2)
    entries = (Entry(Term(1), LogIndex(2), EntryKind.NORMAL, Batch((Handle(7),)), 10),)
    append = Message(MessageKind.APPEND, NodeId(1), N2, Term(1), Term(0), LogIndex(1), LogIndex(1), entries)
    node.replicator.muted = frozenset({S1})
    assert node.turn(Received(S1, append)).release == [7]
    assert node.log.store.last_index() == 1
    node.replicator.muted = frozenset()
    turn = node.turn(Received(S1, append))
    assert [entry.index for write in turn.writes for entry in write.entries] == [2]


def test_status_tells_how_far_a_replica_is() -> None:
    node = Node(1)
    node.lead_alone()
    turn = node.turn(WriteRequested(S1, Handle(1), 1))
    assert turn.ticket is not None
    node.turn(Synced(turn.ticket))
    (status,) = node.replicator.status()
    assert (status.role, status.term, status.leader) == (Role.LEADER, node.raft.status().term, 1)
    assert (status.last, status.committed, status.applied, status.waiting) == (3, 3, 2, 1)


def test_heartbeats_of_all_groups_to_a_node_leave_in_one_turn() -> None:
    options = ReplicatorOptions(raft=RaftOptions(node=NodeId(1), forward_proposals=False))
    logs = {GroupId(group): Log(3) for group in range(1, 17)}
    groups = [GroupOpened(group, LogIndex(1)) for group in logs]

    class Logs:
        def group(self, group: GroupId) -> MemoryStore:
            return logs[group].store

    replicator = Replicator(options, Logs(), groups, lambda _: random.Random(1), now_ms=0)
    for group, replica in replicator.replicas.items():
        replica.raft.campaign()
        turn = replicator.turn(Events(0))
        for kind in (MessageKind.PRE_VOTE_RESPONSE, MessageKind.VOTE_RESPONSE):
            answer = Message(kind, NodeId(1), N2, Term(1))
            synced: list[Event] = [] if turn.ticket is None else [Synced(turn.ticket)]
            turn = replicator.turn(Events(0, [*synced, Received(group, answer)]))
        assert turn.ticket is not None
        replicator.turn(Events(0, [Synced(turn.ticket)]))
    assert {status.role for status in replicator.status()} == {Role.LEADER}
    turn = replicator.turn(Events(options.tick_ms))
    assert [each for each, *_ in turn.beats_to(N2, idle=True).heartbeats] == list(logs)
    assert not turn.sends
    assert replicator.stirred == []


def test_a_bundle_of_heartbeats_is_answered_by_a_bundle_and_stirs_nobody() -> None:
    node = Node(3)
    node.turn(Received(S1, Message(MessageKind.HEARTBEAT, NodeId(1), N2, Term(1))))
    s9 = GroupId(9)
    turn = node.turn(Heartbeats(N2, True, [(S1, Term(1), LogIndex(1), 4), (s9, Term(1), LogIndex(1), 4)], []))
    assert turn.beats == {(N2, True): Beats(N2, True, answers=[(S1, Term(1), 4)])}, "nothing for a group not held here"
    assert (turn.sends, node.replicator.stirred) == ([], [])


def test_a_muted_group_hears_nothing_of_a_bundle() -> None:
    node = Node(3)
    node.turn(Received(S1, Message(MessageKind.HEARTBEAT, NodeId(1), N2, Term(1))))
    node.replicator.muted = frozenset({S1})
    turn = node.turn(Heartbeats(N2, True, [(S1, Term(1), LogIndex(1), 4)], [(S1, Term(2), 4)]))
    assert (turn.beats_to(N2, idle=True).answers, turn.sends, node.raft.term) == ([], [], 1)


def test_a_heartbeat_of_a_later_term_in_a_bundle_is_a_message() -> None:
    node = Node(3)
    node.turn(Received(S1, Message(MessageKind.HEARTBEAT, NodeId(1), N2, Term(1))))
    turn = node.turn(Heartbeats(NodeId(3), True, [(S1, Term(2), LogIndex(1), 4)], []))
    assert turn.beats_to(NodeId(3), idle=True).answers == []
    assert (node.raft.term, node.raft.leader) == (2, 3)
    (answer,) = [each.message for each in turn.sends]
    assert (answer.kind, answer.to, answer.round) == (MessageKind.HEARTBEAT_RESPONSE, 3, 4)


def test_an_answer_in_a_bundle_extends_the_gate_and_a_later_term_ends_it() -> None:
    node = Node(2, read_mode=ReadMode.LEASE)
    node.lead_two()
    ((_, term, _, number),) = node.turn(ms=100).beats_to(N2, idle=True).heartbeats
    turn = node.turn(Heartbeats(N2, True, [], [(S1, term, number)]), ms=1)
    assert [(gate.group, gate.until_ms) for gate in turn.gates] == [(S1, 100 + 8 * 100)]
    turn = node.turn(Heartbeats(N2, True, [], [(S1, Term(term + 1), number)]))
    assert [(gate.group, gate.until_ms) for gate in turn.gates] == [(S1, 0)]
