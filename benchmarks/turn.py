"""What a node's turn costs: its loop, replicator and Raft core, with a muscle that does nothing.

Run with python/ on the path: `PYTHONPATH=python python benchmarks/turn.py [groups]`. A put of 100 bytes takes one turn
of a follower, where its append comes with the words that the one before is durable and applied, and four of a leader:
the write, the sync, both acknowledgements, the apply. Warm: turn after turn; cold: with the caches cleared in between.
`calls` counts calls of functions, of Python and of C alike.
"""

import cProfile
import io
import pstats
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from kvarts.node import bridge
from kvarts.node.bridge import Native
from kvarts.node.loop import Loop
from kvarts.node.news import News
from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, EntryKind, HardState, MessageKind, Snapshot
from kvarts.raft.options import RaftOptions
from kvarts.raft.storage import MemoryStore
from kvarts.replication.events import GroupId, GroupOpened
from kvarts.replication.options import ReplicatorOptions
from kvarts.replication.replicator import Replicator

PEERS = (2, 3)
PAYLOAD_BYTES = 100
PUTS = 1_000
PUTS_COLD = 50
REPEATS = 5
BALLAST = bytes(16 << 20)
DUMP = bytearray(len(BALLAST))
"""To copy the one to the other clears the caches."""
KINDS = tuple(EntryKind)
TURN_WRITES, TURN_SENDS, TURN_HELD, TURN_APPLIES = 3, 4, 5, 8
"""Where they stand in a turn's tuple."""

Answer = tuple[int, MessageKind, int, int]
"""A peer, the kind of its answer, its term and index."""


class Muscle:
    """Plays a script of events, one list per turn; writes become readable when the next turn begins."""

    def __init__(self, groups: int) -> None:
        self.stores = {group: _store() for group in range(1, groups + 1)}
        self.turn: Native = ()
        self.script: Iterator[list[Native]] = iter(())
        self.before_turn: Callable[[], None] = _nothing
        self.after_turn: Callable[[], None] = _nothing

    def poll(self, _until_ms: int) -> tuple[int, list[Native]]:
        """Return the script's next events, or STOP at its end. The clock stands still."""
        self.after_turn()
        for group, _, _, entries in self.turn[TURN_WRITES] if self.turn else ():
            kept = [
                Entry(Term(term), LogIndex(index), KINDS[kind], b"", size) for term, index, kind, _, size in entries
            ]
            self.stores[group].append(kept)
        events = next(self.script, [(bridge.STOP, None, False)])
        self.before_turn()
        return 0, events

    def perform(self, turn: Native) -> None:
        """Keep the turn for the script to look at."""
        self.turn = turn

    def answer(self, call_id: int, answer: str) -> None:
        """Nobody calls."""

    def refuse(self, call_id: int, error: Mapping[str, object]) -> None:
        """Nobody calls."""

    def care(self, call_id: int, group: int, verb: str) -> None:
        """Nobody calls."""

    def open_group(self, group: int, membership: bytes) -> None:
        """No group comes."""

    def measure(self, groups: object) -> None:
        """No shard has a limit."""

    def fence(self, group: int, why: str) -> None:
        """No replica is fenced."""

    def fences(self) -> Mapping[int, str]:
        """No replica is fenced."""
        return {}

    def lift_fence(self, group: int) -> None:
        """No replica is fenced."""

    def set_shards(self, version: int, keyspaces: object, unready: list[int]) -> None:
        """Nobody asks for keys."""

    def set_removed(self, nodes: list[int]) -> None:
        """Nobody was removed."""

    def tell(self, node: int, word: bytes) -> None:
        """Nobody listens."""

    def set_peers(self, peers: Mapping[int, str]) -> None:
        """Nobody listens."""

    def set_role(self, group: int, role: str, term: int, leader: int, leader_address: str) -> None:
        """Nobody listens."""


class Node:
    """Node 1 of three, all of whose groups are turned by one loop."""

    def __init__(self, groups: int) -> None:
        self.muscle = Muscle(groups)
        raft = RaftOptions(node=NodeId(1), forward_proposals=False, eager_commit=False)
        self.replicator = Replicator(
            ReplicatorOptions(raft=raft),
            self,
            [GroupOpened(GroupId(group), LogIndex(1)) for group in self.muscle.stores],
            random.Random,
            now_ms=0,
        )
        news = News(io.StringIO(), NodeId(1), lambda: 0)
        self.loop = Loop(
            self.muscle,
            self.replicator,
            news,
            static_peers={},
            cluster="benchmark",
            clock_ns=time.process_time_ns,
            random=random.SystemRandom(),
        )

    def group(self, group: GroupId) -> MemoryStore:
        """Return a group's part of the log."""
        return self.muscle.stores[group]

    def follow(self, puts: int) -> Iterator[list[Native]]:
        """Take each put as a follower, the groups in turn."""
        ends = dict.fromkeys(self.muscle.stores, 1)
        events: list[Native] = []
        for number in range(puts):
            group = number % len(ends) + 1
            end = ends[group]
            ends[group] += 1
            entries = [(1, end + 1, 0, 1000 + number, PAYLOAD_BYTES)]
            append = _received(group, 2, MessageKind.APPEND, 1, end, log_term=int(end > 1), commit=end, entries=entries)
            yield [*events, append]
            applies = [(bridge.APPLIED, of, last, None) for of, _, last, _ in self.muscle.turn[TURN_APPLIES]]
            events = [(bridge.SYNCED, self.muscle.turn[1]), *applies]

    def lead(self) -> Iterator[list[Native]]:
        """Be elected in every group."""
        for group, replica in self.replicator.replicas.items():
            replica.raft.campaign()
            yield []
            while not (replica.raft.committed > 1 and self.muscle.turn[1] is None):
                yield [(bridge.SYNCED, self.muscle.turn[1]), *self._answers(group), *self._applied()]

    def take_puts(self, puts: int) -> Iterator[list[Native]]:
        """Take each put as the leader, the groups in turn."""
        for number in range(puts):
            group = GroupId(number % len(self.muscle.stores) + 1)
            yield [(bridge.WRITE, group, 1000 + number, PAYLOAD_BYTES)]
            answers = list(self._answers(group))
            yield [(bridge.SYNCED, self.muscle.turn[1])]
            yield answers
            yield list(self._applied())

    def _applied(self) -> Iterable[Native]:
        return [(bridge.APPLIED, group, last, None) for group, _, last, _ in self.muscle.turn[TURN_APPLIES]]

    def _answers(self, group: GroupId) -> Iterator[Native]:
        answers = {
            MessageKind.PRE_VOTE: MessageKind.PRE_VOTE_RESPONSE,
            MessageKind.VOTE: MessageKind.VOTE_RESPONSE,
            MessageKind.APPEND: MessageKind.APPEND_RESPONSE,
        }
        for _, kind, to, _, term, _, index, _, entries, *_ in [
            *self.muscle.turn[TURN_SENDS],
            *self.muscle.turn[TURN_HELD],
        ]:
            yield _received(group, to, answers[kind], term, index + len(entries))


def _received(
    group: int,
    sender: int,
    kind: MessageKind,
    term: int,
    index: int,
    *,
    log_term: int = 0,
    commit: int = 0,
    entries: Iterable[Native] = (),
) -> Native:
    ids = (bridge.RECEIVED, group, kind.value, 1, sender, term)
    return (*ids, log_term, index, commit, entries, False, 0, 0, 0, False, 0, None)


def _store() -> MemoryStore:
    store = MemoryStore()
    store.install_snapshot(Snapshot(LogIndex(1), Term(0), Membership.of(1, *PEERS)))
    store.hard_state = HardState(commit=LogIndex(1))
    return store


def _nothing() -> None:
    pass


def _clear_caches() -> None:
    DUMP[:] = BALLAST


def _us_per_turn(node: Node, script: Iterator[list[Native]], *, cold: bool = False) -> float:
    figures = node.loop.figures
    node.muscle.script, node.muscle.before_turn = script, _clear_caches if cold else _nothing
    turns, busy_ns = figures.turns, figures.busy_ns
    node.loop.run()
    return (figures.busy_ns - busy_ns) / (figures.turns - turns) / 1000


def _calls_per_turn(node: Node, script: Iterator[list[Native]]) -> float:
    profile = cProfile.Profile()
    muscle = node.muscle
    muscle.script, muscle.before_turn, muscle.after_turn = script, profile.enable, profile.disable
    turns = node.loop.figures.turns
    node.loop.run()
    profile.disable()
    return pstats.Stats(profile).total_calls / (node.loop.figures.turns - turns)  # type: ignore[attr-defined]


def _follower(groups: int, puts: int) -> tuple[Node, Iterator[list[Native]]]:
    node = Node(groups)
    return node, node.follow(puts)


def _leader(groups: int, puts: int) -> tuple[Node, Iterator[list[Native]]]:
    node = Node(groups)
    node.muscle.script = node.lead()
    node.loop.run()
    return node, node.take_puts(puts)


def measure(name: str, make: Callable[[int, int], tuple[Node, Iterator[list[Native]]]], groups: int) -> str:
    """Return the costs of a role's turns."""
    warm = min(_us_per_turn(*make(groups, PUTS)) for _ in range(REPEATS))
    cold = statistics.median(_us_per_turn(*make(groups, PUTS_COLD), cold=True) for _ in range(REPEATS))
    calls = _calls_per_turn(*make(groups, PUTS))
    return f"{name:8} {groups:3} groups: {warm:6.1f} us a turn warm, {cold:6.1f} cold, {calls:5.0f} calls"


if __name__ == "__main__":
    for count in map(int, sys.argv[1:] or ("1", "64")):
        print(measure("follower", _follower, count))
        print(measure("leader", _leader, count))
