"""All replicas of a node: one turn decides for every group, and waits for one sync."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from kvarts.raft.core import Random
from kvarts.raft.ids import LogIndex, NodeId
from kvarts.raft.messages import Entry, Message, Snapshot
from kvarts.raft.node import RaftNode
from kvarts.replication.events import (
    Applied,
    Batch,
    ConfigRequested,
    Event,
    Events,
    Flushed,
    GroupId,
    Handle,
    PeerLost,
    ReadRequested,
    Received,
    SnapshotSent,
    Synced,
    Ticket,
    TransferRequested,
    WriteRequested,
)
from kvarts.replication.muscle import NodeLog
from kvarts.replication.options import ReplicatorOptions
from kvarts.replication.replica import Replica
from kvarts.replication.turn import Turn


class Replicator:
    """Decides for all groups of a node. Pure: the same events in the same order give the same turns.

    `applied` names the groups and how far each one's state machine had got when the node started.
    """

    def __init__(
        self,
        options: ReplicatorOptions,
        log: NodeLog,
        applied: Mapping[GroupId, LogIndex],
        rng_of: Callable[[GroupId], Random],
        *,
        now_ms: int,
    ) -> None:
        options.validate()
        self._options = options
        self.node: NodeId = options.raft.node
        self.replicas: dict[GroupId, Replica] = {}
        for group, index in sorted(applied.items()):
            store = log.group(group)
            raft = RaftNode(options.raft, store, rng_of(group), applied=index)
            self.replicas[group] = Replica(group, raft, store, keep_entries=options.keep_entries)
        self._ticket = Ticket(0)
        self._waiting: deque[tuple[Ticket, GroupId, Message]] = deque()
        """Words to ourselves, to be taken when the log is durable up to their ticket."""
        self._ticked_ms = now_ms

    def turn(self, events: Events) -> Turn:
        """Take what happened and return what to do."""
        turn = Turn()
        taken: list[Handle] = []
        # The clock first: a read that waited out a pause with us must not be served under the lease from before.
        self._tick(events.now_ms)
        # Completed work next: an apply that was reached before a snapshot came belongs to the membership before it.
        for event in sorted(events.events, key=_order):
            taken += _handles_of_event(event)
            self._take(event, turn)
        self._propose(events.events, turn)
        self._collect(turn)
        written = set(_handles_of_writes(turn))
        turn.release = [handle for handle in taken if handle not in written]
        return turn

    def _take(self, event: Event, turn: Turn) -> None:
        match event:
            case Received(group, message):
                self.replicas[group].receive(message)
            case Synced(ticket):
                self._synced(ticket)
            case Applied(group, index):
                self.replicas[group].applied(index, turn)
            case Flushed(group, index):
                self.replicas[group].flushed(index, turn)
            case ReadRequested(group, context):
                self.replicas[group].raft.read(context)
            case ConfigRequested(group, change):
                self.replicas[group].change(change)
            case TransferRequested(group, target):
                self.replicas[group].raft.transfer_to(target)
            case PeerLost(node):
                for replica in self.replicas.values():
                    replica.raft.report_unreachable(node)
            case SnapshotSent(group, node, delivered):
                self.replicas[group].raft.report_snapshot(node, delivered=delivered)

    def _synced(self, ticket: Ticket) -> None:
        while self._waiting and self._waiting[0][0] <= ticket:
            _, group, message = self._waiting.popleft()
            self.replicas[group].receive(message)

    def _propose(self, events: Iterable[Event], turn: Turn) -> None:
        requests: dict[GroupId, list[WriteRequested]] = {}
        for event in events:
            if isinstance(event, WriteRequested):
                requests.setdefault(event.group, []).append(event)
        for group, batch in requests.items():
            self.replicas[group].write(batch, turn)

    def _tick(self, now_ms: int) -> None:
        ticks = (now_ms - self._ticked_ms) // self._options.tick_ms
        if ticks <= 0:
            return
        paused = ticks > self._options.ticks_max
        # After a pause one tick passes: most who would stand for election at once first hear what waits at the door.
        self._ticked_ms = now_ms if paused else self._ticked_ms + ticks * self._options.tick_ms
        for replica in self.replicas.values():
            if paused:
                replica.raft.pause_detected()
            for _ in range(1 if paused else ticks):
                replica.raft.tick()

    def _collect(self, turn: Turn) -> None:
        local = [(group, each) for group, replica in self.replicas.items() for each in replica.collect(turn)]
        if not local and not turn.held and not turn.must_sync:
            return
        self._ticket = turn.ticket = Ticket(self._ticket + 1)
        self._waiting += [(self._ticket, group, message) for group, message in local]

    def next_tick_ms(self) -> int:
        """Return when the clock alone makes the next turn due."""
        return self._ticked_ms + self._options.tick_ms

    def __repr__(self) -> str:
        return f"<Replicator n{self.node} {len(self.replicas)} groups>"


def _order(event: Event) -> int:
    return 0 if isinstance(event, Synced | Applied | Flushed) else 1


def _handles_of_event(event: Event) -> Iterator[Handle]:
    match event:
        case WriteRequested(_, handle, _):
            yield handle
        case Received(_, message):
            yield from _handles_of(message.entries, message.snapshot)


def _handles_of_writes(turn: Turn) -> Iterator[Handle]:
    for write in turn.writes:
        yield from _handles_of(write.entries, write.snapshot)


def _handles_of(entries: Iterable[Entry], snapshot: Snapshot | None) -> Iterator[Handle]:
    for entry in entries:
        if isinstance(entry.payload, Batch):
            yield from entry.payload.handles
    if snapshot is not None and isinstance(snapshot.data, int):
        yield Handle(snapshot.data)
