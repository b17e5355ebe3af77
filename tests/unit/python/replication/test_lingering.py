"""How long writes of several groups wait for each other, and what a commit is told by."""

import random

from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import HardState, Message, MessageKind, Snapshot
from kvarts.raft.options import RaftOptions
from kvarts.raft.storage import MemoryStore
from kvarts.replication.events import Events, GroupId, GroupOpened, Handle, Received, Synced, WriteRequested
from kvarts.replication.options import ReplicatorOptions
from kvarts.replication.replicator import Replicator
from kvarts.replication.turn import Turn

N1, N2 = NodeId(1), NodeId(2)
GROUPS = (GroupId(1), GroupId(2), GroupId(3), GroupId(4), GroupId(5))


class Logs(dict[GroupId, MemoryStore]):
    """Logs of so many voters, one for each group that is asked for. They keep what turns write, at once."""

    def __init__(self, voters: int) -> None:
        super().__init__()
        self.voters = voters

    def group(self, group: GroupId) -> MemoryStore:
        if group not in self:
            store = self[group] = MemoryStore()
            store.install_snapshot(Snapshot(LogIndex(1), Term(0), Membership.of(*range(1, self.voters + 1))))
            store.hard_state = HardState(commit=LogIndex(1))
        return self[group]

    def keep(self, turn: Turn) -> Turn:
        for write in turn.writes:
            self[write.group].append(write.entries)
        return turn


def _replicator(logs: Logs) -> Replicator:
    options = RaftOptions(node=N1, forward_proposals=False, eager_commit=False)
    opened = [GroupOpened(group, LogIndex(1)) for group in GROUPS]
    return Replicator(ReplicatorOptions(raft=options), logs, opened, lambda _group: random.Random(1), now_ms=0)


def _entries(turn: Turn) -> int:
    return sum(len(write.entries) for write in turn.writes)


def test_writes_linger_longer_where_those_of_other_groups_wait_too() -> None:
    for busy, lingers_ms in (1, 1), (2, 2), (3, 3), (5, 3):
        logs = Logs(1)
        node, groups = _replicator(logs), GROUPS[:busy]
        for group in groups:
            node.replicas[group].raft.campaign()
        turn = logs.keep(node.turn(Events(0)))
        while turn.ticket is not None:
            turn = logs.keep(node.turn(Events(0, [Synced(turn.ticket)])))
        first = logs.keep(node.turn(Events(1, [WriteRequested(group, Handle(10 + group), 10) for group in groups])))
        assert _entries(first) == busy
        assert first.ticket is not None
        node.turn(Events(1, [WriteRequested(group, Handle(20 + group), 10) for group in groups]))
        assert _entries(logs.keep(node.turn(Events(2, [Synced(first.ticket)])))) == 0
        assert node.next_due_ms() == 2 + lingers_ms, busy
        assert _entries(logs.keep(node.turn(Events(2 + lingers_ms)))) == busy


def test_a_commit_is_told_by_the_next_append_where_one_is_due_and_else_after_a_while() -> None:
    logs, group = Logs(2), GROUPS[0]
    node = _replicator(logs)
    raft = node.replicas[group].raft

    def turn(now_ms: int, *events: Received | Synced | WriteRequested) -> Turn:
        return logs.keep(node.turn(Events(now_ms, events)))

    def answer(kind: MessageKind) -> Received:
        last = logs[group].last_index() if kind is MessageKind.APPEND_RESPONSE else LogIndex(0)
        return Received(group, Message(kind, N1, N2, raft.term or Term(1), index=last))

    raft.campaign()
    turn(0)
    for kind in (MessageKind.PRE_VOTE_RESPONSE, MessageKind.VOTE_RESPONSE):
        turn(0, Synced(node._ticket), answer(kind))
    turn(0, Synced(node._ticket))
    turn(0, answer(MessageKind.APPEND_RESPONSE))
    told_at_ms = node.next_due_ms()
    assert told_at_ms == 5
    assert [beats.to for beats in turn(told_at_ms).beats.values()] == [N2]

    turn(10, WriteRequested(group, Handle(7), 10))
    turn(11, WriteRequested(group, Handle(8), 10), Synced(node._ticket), answer(MessageKind.APPEND_RESPONSE))
    committed = raft.committed
    append = turn(12)
    assert [sent.message.commit for sent in append.sends] == [committed]
    assert node.next_due_ms() == 100, "nothing is owed: only the tick is due"
