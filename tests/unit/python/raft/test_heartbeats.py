"""Heartbeats without messages: they and their answers must do exactly what the messages would.

A failure prints its seed; KVARTS_RAFT_SEEDS sets how many are tried.
"""

import os
from copy import deepcopy
from dataclasses import replace

import pytest

from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.messages import Message, MessageKind, Role
from kvarts.raft.node import RaftNode
from kvarts.raft.options import ReadMode
from tests.unit.python.raft.group import Group
from tests.unit.python.raft.test_storms import Storm

SEEDS = int(os.environ.get("KVARTS_RAFT_SEEDS", "40")) // 5
COMPARED_MIN = 40
N1, N2 = NodeId(1), NodeId(2)


def _state(raft: RaftNode) -> dict[str, object]:
    """Everything that a core knows, as values."""
    core = raft._core
    plain = {
        name: value for name, value in vars(core).items() if name not in {"options", "rng", "log", "tracker", "reads"}
    }
    progress = {node: repr(each) + str(each.commit_sent) for node, each in core.tracker.progress.items()}
    reads = {name: getattr(core.reads, name) for name in core.reads.__slots__}
    return plain | {"log": (core.log.committed, core.log.last_index()), "progress": progress, "reads": reads}


class Twins(Group):
    """Gives heartbeats and answers to a twin of their receiver too, the short way."""

    compared = 0
    storm: Storm

    def deliver(self, message: Message) -> None:
        peer = self.peers.get(message.to)
        both = message.kind in {MessageKind.HEARTBEAT, MessageKind.HEARTBEAT_RESPONSE}
        if peer is None or not both:
            super().deliver(message)
            return
        twin = deepcopy(peer.raft)
        before = _state(twin)
        asks = message.kind is MessageKind.HEARTBEAT
        if asks:
            taken = twin.hear(message.sender, message.term, message.commit)
        else:
            taken = twin.heard(message.sender, message.term, message.round)
        if not taken:
            assert _state(twin) == before, "it was refused, and something happened"
        super().deliver(message)
        if not taken or (message.sender, message.to) in self.cut:
            return
        if asks:
            kind = MessageKind.HEARTBEAT_RESPONSE
            twin._core.send(Message(kind, message.sender, NodeId(peer.id), message.term, round=message.round))
        assert _state(twin) == _state(peer.raft), message
        self.compared += 1


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_comes_the_short_way_changes_what_the_message_would(seed: int) -> None:
    storm = Storm(seed)
    storm.group = twins = Twins(1, 2, 3, 4, 5, **storm._options(), read_mode=ReadMode.SAFE)
    twins.storm = storm
    for _ in range(600):
        storm.step()
        if twins.compared > COMPARED_MIN:
            break
    assert twins.compared > COMPARED_MIN // 4, f"seed={seed}"


def test_tick_of_a_leader_at_rest_stirs_nobody_and_leaves_heartbeats() -> None:
    leader = Group(1, 2, 3).elect(1).raft
    stirred: list[int] = []
    leader._stir = lambda: stirred.append(1)
    leader.tick()
    assert leader.take_heartbeats() == [(2, 1, 2, 1), (3, 1, 2, 1)]
    assert (leader.has_ready(), stirred) == (False, [])


def test_heartbeats_that_nobody_takes_are_messages_of_the_next_ready() -> None:
    leader = Group(1, 2, 3).elect(1).raft
    leader.tick()
    sent = [message for message in leader.ready().messages if message.to > 0]
    assert [(message.kind, message.to, message.round) for message in sent] == [
        (MessageKind.HEARTBEAT, 2, 1),
        (MessageKind.HEARTBEAT, 3, 1),
    ]
    assert leader.take_heartbeats() == []


@pytest.mark.parametrize(
    ("sender", "term"), [(1, 0), (1, 2), (3, 1)], ids=["an older term", "a later term", "not the leader"]
)
def test_heartbeat_that_means_more_is_to_be_stepped(sender: int, term: int) -> None:
    group = Group(1, 2, 3)
    group.elect(1)
    follower = group[2].raft
    before = _state(follower)
    assert not follower.hear(NodeId(sender), Term(term), LogIndex(1))
    assert _state(follower) == before


def test_answer_of_another_term_extends_no_lease() -> None:
    group = Group(1, 2, 3, read_mode=ReadMode.LEASE)
    leader = group.elect(1).raft
    leader.tick()
    (round_,) = {number for _, _, _, number in leader.take_heartbeats()}
    for term in (Term(0), Term(2)):
        assert not leader.heard(N2, term, round_)
        assert not leader.status().lease
    assert leader.heard(N2, Term(1), round_)
    assert leader.status().lease


def test_heartbeat_the_short_way_is_a_promise_not_to_vote() -> None:
    group = Group(1, 2, 3, read_mode=ReadMode.LEASE)
    group.elect(1)
    follower = group[2].raft
    for _ in range(9):
        follower.tick()
    assert follower.hear(N1, Term(1), LogIndex(2))
    asks = Message(MessageKind.VOTE, N2, NodeId(3), Term(9), Term(9), LogIndex(99))
    for ticks in range(10):
        follower.step(replace(asks, term=Term(9 + ticks)))
        assert follower.term == 1, f"after {ticks} ticks"
        follower.tick()
    follower.step(asks)
    assert follower.term == 9


def test_notice_of_a_commit_is_a_heartbeat_where_followers_have_the_entries() -> None:
    group = Group(1, 2, 3, eager_commit=False)
    leader = group.elect(1).raft
    leader.propose(b"x")
    group.work(1)
    for message in [each for each in group.messages if each.kind is MessageKind.APPEND]:
        group.messages.remove(message)
        group.deliver(message)
        group.work(message.to)
    for message in [each for each in group.messages if each.kind is MessageKind.APPEND_RESPONSE]:
        group.messages.remove(message)
        group.deliver(message)
    group.work(1)
    assert leader.owes_commit()
    leader.tell_commit()
    committed = leader.committed
    assert [(to, commit) for to, _, commit, _ in leader.take_heartbeats()] == [(2, committed), (3, committed)]
    leader.tell_commit()
    assert leader.take_heartbeats() == [], "everybody was told"
    assert group[2].raft.hear(N1, Term(1), committed)
    assert group[2].raft.committed == committed
    assert group[2].role is Role.FOLLOWER
