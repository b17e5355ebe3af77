"""Who is bound by a promise, and who stands when the connection to the leader breaks."""

from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.messages import Message, MessageKind, Role
from kvarts.raft.options import ReadMode
from kvarts.replication.events import CloseRequested, GroupOpened, PeerLost, Received
from tests.unit.python.replication.test_replicator import N2, S1, Node


def test_only_groups_of_the_start_may_have_promised_something_before_it() -> None:
    node = Node(3, read_mode=ReadMode.LEASE, vote_quiet_ticks=6)
    wish = Received(S1, Message(MessageKind.PRE_VOTE, NodeId(1), N2, Term(1), index=LogIndex(1)))

    def answers() -> list[MessageKind]:
        turn = node.turn(wish)
        return [each.message.kind for each in [*turn.sends, *turn.held]]

    assert answers() == []
    node.turn(CloseRequested(S1))
    node.turn(GroupOpened(S1, LogIndex(1)))
    assert answers() == [MessageKind.PRE_VOTE_RESPONSE]


def test_whose_connection_to_the_leader_broke_stands_before_its_patience_ends() -> None:
    node = Node(3, read_mode=ReadMode.LEASE, promise_ticks=6)
    heard = Received(S1, Message(MessageKind.HEARTBEAT, NodeId(1), NodeId(3), Term(1), round=1))
    node.turn(heard)
    node.turn(PeerLost(N2))
    for _ in range(8):
        node.turn(ms=100)
    assert node.raft.role is Role.FOLLOWER, "node 2 does not lead"
    node.turn(heard, PeerLost(NodeId(3)))
    roles = [(node.turn(ms=100), node.raft.role)[1] for _ in range(6)]
    assert roles == [*[Role.FOLLOWER] * 5, Role.PRE_CANDIDATE]
