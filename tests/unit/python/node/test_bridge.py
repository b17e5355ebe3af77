"""What crosses the border comes back as it was."""

import pytest

from kvarts.node.bridge import APPLIED, HEARTBEATS, RECEIVED, RESTORED, SNAPSHOT_SENT, WRITE, event_of, native_of
from kvarts.node.codec import (
    UnreadableMembership,
    decode_change,
    decode_membership,
    encode_change,
    encode_membership,
)
from kvarts.raft.confchange import LEAVE_JOINT, ChangeKind, ConfigChange, NodeChange, Transition
from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, EntryKind, HardState, Message, MessageKind, Snapshot
from kvarts.raft.quorum import JointConfig, MajorityConfig
from kvarts.replication.events import (
    Applied,
    Batch,
    GroupId,
    Handle,
    Heartbeats,
    Received,
    Restored,
    SnapshotSent,
    WriteRequested,
)
from kvarts.replication.turn import Outgoing, Turn, Write

G = GroupId(1)
JOINT = Membership(
    JointConfig(MajorityConfig(frozenset({NodeId(1), NodeId(2)})), MajorityConfig(frozenset({NodeId(1), NodeId(3)}))),
    frozenset({NodeId(9)}),
    frozenset({NodeId(3)}),
    True,
)


@pytest.mark.parametrize("membership", [Membership(), Membership.of(1, 2, 3, learners=(4,)), JOINT])
def test_a_membership_survives_its_encoding(membership: Membership) -> None:
    assert decode_membership(encode_membership(membership)) == membership


@pytest.mark.parametrize(
    "change",
    [
        LEAVE_JOINT,
        ConfigChange((NodeChange(ChangeKind.ADD_VOTER, NodeId(4)),)),
        ConfigChange(
            (NodeChange(ChangeKind.REMOVE, NodeId(12)), NodeChange(ChangeKind.ADD_LEARNER, NodeId(3))),
            Transition.EXPLICIT,
        ),
    ],
)
def test_a_change_survives_its_encoding(change: ConfigChange) -> None:
    assert decode_change(encode_change(change)) == change


DEEP = b"[" * 100_000
HUGE = b'{"auto_leave":false,"learners":[],"learners_next":[],"outgoing":[],"voters":[1e400]}'


@pytest.mark.parametrize("data", [b"x", b"[]", b"{}", b'{"changes":["z1"],"transition":"auto"}', b"\xff", DEEP, HUGE])
def test_bytes_that_are_neither_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadableMembership):
        decode_change(data)
    with pytest.raises(UnreadableMembership):
        decode_membership(data)


def test_a_received_append_has_handles_bytes_and_changes() -> None:
    change = ConfigChange((NodeChange(ChangeKind.ADD_VOTER, NodeId(4)),))
    entries = ((2, 5, 0, 77, 10), (2, 6, 0, 0, 0), (2, 7, 1, encode_change(change), 0), (2, 8, 2, b"do", 2))
    native = (RECEIVED, 1, int(MessageKind.APPEND), 2, 1, 2, 1, 4, 3, entries, False, 0, 0, 0, False, 0, None)
    message = Message(
        MessageKind.APPEND,
        NodeId(2),
        NodeId(1),
        Term(2),
        Term(1),
        LogIndex(4),
        LogIndex(3),
        (
            Entry(Term(2), LogIndex(5), EntryKind.NORMAL, Batch((Handle(77),)), 10),
            Entry(Term(2), LogIndex(6), EntryKind.NORMAL, Batch(()), 0),
            Entry(Term(2), LogIndex(7), EntryKind.CONFIG, change, 0),
            Entry(Term(2), LogIndex(8), EntryKind.PYTHON, b"do", 2),
        ),
    )
    assert event_of(native) == Received(G, message)


def test_a_received_snapshot_names_its_directory_by_a_handle() -> None:
    members = encode_membership(Membership.of(1, 2))
    head = (RECEIVED, 1, int(MessageKind.SNAPSHOT), 2, 1, 2, 0, 0, 0, (), False, 0, 0, 0, False, 0)
    event = event_of((*head, (9, 2, members, 5)))
    assert isinstance(event, Received)
    assert event.message.snapshot == Snapshot(LogIndex(9), Term(2), Membership.of(1, 2), Handle(5))


def test_small_events_have_their_meaning() -> None:
    assert event_of((APPLIED, 1, 7, b"c")) == Applied(G, LogIndex(7), b"c")
    bundle = (HEARTBEATS, 2, True, [(1, 3, 9, 4)], [(5, 3, 7)])
    assert event_of(bundle) == Heartbeats(NodeId(2), True, [(G, Term(3), LogIndex(9), 4)], [(GroupId(5), Term(3), 7)])
    assert event_of((WRITE, 1, 3, 100)) == WriteRequested(G, Handle(3), 100)
    assert event_of((SNAPSHOT_SENT, 1, 2, True)) == SnapshotSent(G, NodeId(2), True)
    assert event_of((RESTORED, 1, 9, ((b"config/a", b"1"),))) == Restored(G, LogIndex(9), {b"config/a": b"1"})


def test_a_turn_goes_out_as_numbers_bytes_and_handles() -> None:
    entries = [
        Entry(Term(3), LogIndex(4), EntryKind.NORMAL, Batch((Handle(1), Handle(2))), 20),
        Entry(Term(3), LogIndex(5), EntryKind.NORMAL, b"", 0),
        Entry(Term(3), LogIndex(6), EntryKind.CONFIG, LEAVE_JOINT, 0),
    ]
    turn = Turn(writes=[Write(G, HardState(Term(3), NodeId(1), LogIndex(2)), None, entries)], must_sync=True)
    turn.sends.append(Outgoing(G, Message(MessageKind.HEARTBEAT, NodeId(2), NodeId(1), Term(3), round=8)))
    _, ticket, must_sync, writes, sends, *_ = native_of(turn)
    assert (ticket, must_sync) == (None, True)
    leave = encode_change(LEAVE_JOINT)
    assert writes == [(1, (3, 1, 2), None, [(3, 4, 0, (1, 2), 20), (3, 5, 0, (), 0), (3, 6, 1, leave, 0)])]
    assert sends == [(1, 7, 2, 1, 3, 0, 0, 0, [], False, 0, 0, 8, False, 0, None)]


def test_bundles_of_heartbeats_go_out_as_numbers() -> None:
    turn = Turn()
    turn.beats_to(NodeId(2), idle=True).heartbeats.append((G, Term(3), LogIndex(9), 4))
    turn.beats_to(NodeId(2), idle=False).answers.append((G, Term(3), 5))
    assert native_of(turn)[-1] == [(2, True, [(1, 3, 9, 4)], []), (2, False, [], [(1, 3, 5)])]
