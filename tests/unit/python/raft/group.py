"""A group of nodes in one process: messages and writes happen when the test says so."""

import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from kvarts.raft.errors import ProposalDropped, UnknownPeer
from kvarts.raft.ids import LOG_STORE, STATE_MACHINE, LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, EntryKind, HardState, Message, MessageKind, Role, Snapshot
from kvarts.raft.node import RaftNode
from kvarts.raft.options import RaftOptions
from kvarts.raft.storage import MemoryStore

DEFAULTS: dict[str, Any] = {"election_ticks": 10, "heartbeat_ticks": 1}


class PeerStore(MemoryStore):
    """A log on a disk, beside a state machine that can make a snapshot at any time."""

    def __init__(self, make: Callable[[], Snapshot]) -> None:
        super().__init__()
        self._make = make

    @property
    def saved(self) -> Snapshot:
        """The snapshot that a crash leaves."""
        snapshot = super().snapshot()
        assert snapshot is not None
        return snapshot

    def snapshot(self) -> Snapshot | None:
        return self._make()


class Peer:
    """A node, its disk, and what it has applied. A crash loses what `write` has not reached."""

    def __init__(self, node: int, membership: Membership, options: dict[str, Any]) -> None:
        self.id = NodeId(node)
        self.options = RaftOptions(node=self.id, **options)
        self.store = PeerStore(self.snapshot)
        index = LogIndex(1 if membership.members else 0)
        self.store.install_snapshot(Snapshot(index, Term(0), membership, ()))
        self.store.hard_state = HardState(commit=index)
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Start, or start again, from what the disk holds; the state machine is that of the snapshot."""
        snapshot = self.store.saved
        self.starts += 1
        rng = random.Random(self.id * 1000 + self.starts)
        self.raft = RaftNode(self.options, self.store, rng, applied=snapshot.index)
        self._install(snapshot)
        self.applied_entries: list[Entry] = []
        self.batches: list[int] = []
        self.reads: dict[object, int] = {}
        self.writes: list[Message] = []
        self.applies: list[Message] = []

    @property
    def role(self) -> Role:
        return self.raft.status().role

    @property
    def log(self) -> list[tuple[int, object]]:
        """(term, payload) of every entry on disk."""
        first, last = self.store.first_index(), self.store.last_index()
        return [(entry.term, entry.payload) for entry in self.store.entries(first, LogIndex(last + 1), None)]

    def take_ready(self) -> list[Message]:
        """Queue writes and applies; return what goes to others at once."""
        ready = self.raft.ready()
        self.reads.update((state.context, state.index) for state in ready.read_states)
        self.writes += [message for message in ready.messages if message.to == LOG_STORE]
        self.applies += [message for message in ready.messages if message.to == STATE_MACHINE]
        return [message for message in ready.messages if message.to > 0]

    def write(self) -> list[Message]:
        """Do the oldest write; return its responses."""
        message = self.writes.pop(0)
        if message.term:
            self.store.hard_state = HardState(message.term, message.vote, message.commit)
        if message.snapshot:
            self.store.install_snapshot(message.snapshot)
            self._install(message.snapshot)
        self.store.append(message.entries)
        return list(message.responses)

    def apply(self) -> list[Message]:
        """Do the oldest apply; return its responses."""
        message = self.applies.pop(0)
        self.batches.append(len(message.entries))
        for entry in message.entries:
            if entry.kind is EntryKind.CONFIG:
                self.membership = self.raft.apply_config(entry.change)
            elif entry.payload:
                self.applied.append(entry.payload)
            self.applied_index, self.applied_term = entry.index, entry.term
            self.applied_entries.append(entry)
        return list(message.responses)

    def snapshot(self) -> Snapshot:
        """Make a snapshot of what is applied."""
        return Snapshot(self.applied_index, self.applied_term, self.membership, tuple(self.applied))

    def compact(self) -> None:
        """Keep a snapshot of what is applied and forget the log below it."""
        self.store.save_snapshot(self.snapshot())
        self.store.compact(self.applied_index)

    def _install(self, snapshot: Snapshot) -> None:
        self.membership = snapshot.membership
        self.applied: list[object] = list(snapshot.data or ())  # type: ignore[call-overload]
        self.applied_index, self.applied_term = snapshot.index, snapshot.term


class Group:
    """Peers and the messages between them."""

    def __init__(self, *voters: int, learners: tuple[int, ...] = (), **options: Any) -> None:
        self.membership = Membership.of(*voters, learners=learners)
        self.options = DEFAULTS | options
        self.peers: dict[int, Peer] = {}
        for node in (*voters, *learners):
            self.add(node, self.membership)
        self.messages: list[Message] = []
        self.cut: set[tuple[int, int]] = set()
        self.lost: set[MessageKind] = set()
        self.stalled: set[int] = set()
        self.seen: list[Message] = []

    def __getitem__(self, node: int) -> Peer:
        return self.peers[node]

    def add(self, node: int, membership: Membership | None = None) -> Peer:
        """Add a peer; without a membership it knows nobody yet."""
        self.peers[node] = Peer(node, membership or Membership(), self.options)
        return self.peers[node]

    @property
    def leaders(self) -> list[int]:
        return [node for node, peer in self.peers.items() if peer.role is Role.LEADER]

    def isolate(self, *nodes: int) -> None:
        """Cut nodes off from all others."""
        self.cut |= {pair for a in nodes for b in self.peers if b not in nodes for pair in ((a, b), (b, a))}

    def heal(self) -> None:
        self.cut.clear()

    def deliver(self, message: Message) -> None:
        """Hand one message to its receiver; what it refuses is lost."""
        self.seen.append(message)
        if message.kind in self.lost or message.to not in self.peers or (message.sender, message.to) in self.cut:
            return
        with suppress(ProposalDropped, UnknownPeer):
            self[message.to].raft.step(message)

    def work(self, node: int) -> bool:
        """Let one peer do what its Ready says; return whether there was anything."""
        peer, busy = self[node], False
        if peer.raft.has_ready():
            busy = True
            self.messages += peer.take_ready()
        while peer.writes and node not in self.stalled:
            busy = True
            self.messages += peer.write()
        while peer.applies and node not in self.stalled:
            busy = True
            self.messages += peer.apply()
        return busy

    def settle(self) -> None:
        """Let all work and talk until nothing is left to do."""
        busy = True
        while busy:
            done = [self.work(node) for node in self.peers]
            busy = any(done)
            while self.messages:
                busy = True
                self.deliver(self.messages.pop(0))

    def tick(self, count: int = 1, nodes: Iterable[int] | None = None) -> None:
        """Let time pass at all peers, or some."""
        for _ in range(count):
            for node in nodes or self.peers:
                self[node].raft.tick()
            self.settle()

    def elect(self, node: int) -> Peer:
        """Make a node the leader."""
        self[node].raft.campaign()
        self.settle()
        assert self[node].role is Role.LEADER
        return self[node]

    def sent(self, kind: MessageKind) -> list[Message]:
        """Return the messages of a kind that went out since the last call of `forget`."""
        return [message for message in self.seen if message.kind is kind]

    def forget(self) -> None:
        self.seen.clear()
