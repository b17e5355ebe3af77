"""What doors are told of who leads the meta group: only a leader by whose rows one may go."""

from collections.abc import Iterator

from kvarts.node.loop import role_at_door
from kvarts.raft.ids import NODE_NONE
from kvarts.raft.messages import Message, Role
from tests.unit.python.raft.group import Group

SHARDS = b"a keyspace gets its shards"


def test_a_new_leader_leads_at_the_door_once_it_has_applied_what_others_committed() -> None:
    group = Group(1, 2, 3, check_quorum=False)
    group.elect(1)
    group[1].raft.propose(SHARDS)
    # Node 2 writes it and says so; that it is committed nobody hears any more.
    for node in (1, 2):
        group.work(node)
        sent, group.messages = group.messages, []
        _carry(group, [message for message in sent if message.to in (1, 2)])
    group.work(1)
    group.messages.clear()
    assert SHARDS in group[1].applied
    group.isolate(1)

    new = group[2]
    new.raft.campaign()
    seen = [(*role_at_door(new.raft), SHARDS in new.applied) for _ in _steps(group) if new.role is Role.LEADER]
    assert seen[0] == (Role.CANDIDATE, NODE_NONE, False)
    assert seen[-1] == (Role.LEADER, 2, True)
    assert all(applied for role, _, applied in seen if role is Role.LEADER)


def test_a_leader_that_has_applied_all_leads_at_once() -> None:
    group = Group(1, 2, 3, check_quorum=False)
    group.elect(1)
    group[1].raft.propose(SHARDS)
    group.settle()
    group.tick()
    group.isolate(1)
    new = group[2]
    new.raft.campaign()
    for _ in _steps(group):
        assert role_at_door(new.raft) == (new.role, new.raft.leader)
        if new.role is Role.LEADER:
            break
    # Its first entry is not even on its way.
    assert new.role is Role.LEADER
    assert new.raft.has_ready()


def _steps(group: Group) -> Iterator[None]:
    """Let nodes 2 and 3 work and talk, one thing at a time."""
    for _ in range(100):
        peer = next(
            (each for each in (group[2], group[3]) if each.raft.has_ready() or each.writes or each.applies), None
        )
        if peer is not None:
            work = peer.take_ready if peer.raft.has_ready() else peer.write if peer.writes else peer.apply
            group.messages += work()
        elif group.messages:
            group.deliver(group.messages.pop(0))
        else:
            return
        yield


def _carry(group: Group, messages: list[Message]) -> None:
    for message in messages:
        group.deliver(message)
