"""All replicas of a node: one turn decides for every group, and waits for one sync."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from kvarts.raft.core import Random
from kvarts.raft.errors import invariant
from kvarts.raft.heartbeat import TICKS_ALONE
from kvarts.raft.ids import LOG_INDEX_MIN, NODE_NONE, NodeId
from kvarts.raft.messages import Entry, Message, Snapshot
from kvarts.raft.node import RaftNode
from kvarts.replication.events import (
    Applied,
    Batch,
    CloseRequested,
    CommandRequested,
    ConfigRequested,
    Event,
    Events,
    Flushed,
    GroupId,
    GroupOpened,
    Handle,
    PeerLost,
    ReadRequested,
    Received,
    Restored,
    SnapshotSent,
    StopRequested,
    Synced,
    Ticket,
    TransferRequested,
    WriteRequested,
)
from kvarts.replication.muscle import NodeLog
from kvarts.replication.options import ReplicatorOptions
from kvarts.replication.replica import Replica, ReplicaStatus
from kvarts.replication.turn import CommandRefused, Gate, ReadRefused, Turn, WriteRefused

GATE_OPEN_MS = 2**62
"""A gate without an end: the only voter's."""


class Replicator:
    """Decides for all groups of a node. Pure: the same events in the same order give the same turns.

    `groups` are those that the node holds when it starts. Others come and go by GroupOpened and CloseRequested.
    """

    def __init__(
        self,
        options: ReplicatorOptions,
        log: NodeLog,
        groups: Iterable[GroupOpened],
        rng_of: Callable[[GroupId], Random],
        *,
        now_ms: int,
    ) -> None:
        options.validate()
        self._options = options
        self._log = log
        self._rng_of = rng_of
        self.node: NodeId = options.raft.node
        self.replicas: dict[GroupId, Replica] = {}
        for opened in sorted(groups, key=lambda each: each.group):
            self._open(opened)
        self._ticket = Ticket(0)
        self._waiting: deque[tuple[Ticket, GroupId, Message]] = deque()
        """Words to ourselves, to be taken when the log is durable up to their ticket."""
        self._ticked_ms = now_ms
        self._gates: dict[GroupId, Gate] = {}
        """Until when reads need no round, as the muscle was told."""
        self._notices_ms: dict[GroupId, int] = {}
        """When followers are to hear of a commit at the latest."""
        self._stopping = False

    def turn(self, events: Events) -> Turn:
        """Take what happened and return what to do."""
        turn = Turn()
        taken = [handle for replica in self.replicas.values() for handle in replica.gathered]
        # The clock first: a read that waited out a pause with us must not be served under the lease from before.
        self._tick(events.now_ms)
        self._give_notice(events.now_ms)
        # Completed work next: an apply that was reached before a snapshot came belongs to the membership before it.
        for event in sorted(events.events, key=_order):
            taken += _handles_of_event(event)
            self._take(event, turn)
        self._propose(events, turn)
        if self._stopping:
            leads = [replica.hand_over() for replica in self.replicas.values()]
            turn.stopped = not any(leads)
        self._collect(turn)
        self._owe_notice(events.now_ms)
        self._set_gates(turn)
        kept = set(_handles_of_writes(turn))
        for replica in self.replicas.values():
            kept.update(replica.gathered)
        turn.release = [handle for handle in taken if handle not in kept]
        return turn

    def _take(self, event: Event, turn: Turn) -> None:
        match event:
            case Synced(ticket):
                self._synced(ticket)
            case GroupOpened():
                self._open(event)
            case StopRequested():
                self._stopping = True
            case PeerLost(node):
                for each in self.replicas.values():
                    each.raft.report_unreachable(node)
            case _:
                replica = self.replicas.get(event.group)
                if replica is None:
                    _refuse(event, turn)
                else:
                    self._take_for(replica, event, turn)

    def _take_for(self, replica: Replica, event: Event, turn: Turn) -> None:
        match event:
            case Received(_, message):
                replica.receive(message)
            case Applied(_, index, command):
                replica.applied(index, command, turn)
            case Restored(_, index, system):
                replica.restored(index, system, turn)
            case Flushed(_, index):
                replica.flushed(index, turn)
            case ReadRequested(_, context):
                replica.raft.read(context)
            case CommandRequested():
                replica.command(event, turn)
            case ConfigRequested(_, change):
                replica.change(change)
            case TransferRequested(_, target):
                replica.raft.transfer_to(target)
            case SnapshotSent(_, node, delivered):
                replica.raft.report_snapshot(node, delivered=delivered)
            case CloseRequested(group):
                self._close(group, turn)

    def _open(self, opened: GroupOpened) -> None:
        group, options = opened.group, self._options
        invariant(group not in self.replicas, "a group was opened twice", group)
        store = self._log.group(group)
        raft = RaftNode(options.raft, store, self._rng_of(group), applied=opened.applied)
        self.replicas[group] = Replica(group, raft, store, opened.system, options)

    def _close(self, group: GroupId, turn: Turn) -> None:
        self.replicas.pop(group).close(turn)
        self._waiting = deque(each for each in self._waiting if each[1] != group)
        self._gates.pop(group, None)
        self._notices_ms.pop(group, None)
        turn.closed.append(group)

    def _synced(self, ticket: Ticket) -> None:
        while self._waiting and self._waiting[0][0] <= ticket:
            _, group, message = self._waiting.popleft()
            self.replicas[group].receive(message)

    def _propose(self, events: Events, turn: Turn) -> None:
        for event in events.events:
            if isinstance(event, WriteRequested):
                replica = self.replicas.get(event.group)
                if replica is None:
                    turn.writes_refused.append(WriteRefused(event.group, event.handle, NODE_NONE))
                else:
                    replica.gather(event, events.now_ms)
        for replica in self.replicas.values():
            if replica.gathered:
                replica.propose_due(events.now_ms, turn)

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

    def _give_notice(self, now_ms: int) -> None:
        for group in [group for group, due_ms in self._notices_ms.items() if due_ms <= now_ms]:
            del self._notices_ms[group]
            self.replicas[group].raft.tell_commit()

    def _owe_notice(self, now_ms: int) -> None:
        for group, replica in self.replicas.items():
            if replica.raft.owes_commit():
                # What was committed before went out with the append of what is committed now.
                self._notices_ms[group] = now_ms + self._options.commit_notice_ms

    def _set_gates(self, turn: Turn) -> None:
        for group, replica in self.replicas.items():
            ticks = replica.raft.ticks_at_once
            # The tick began when `_ticked_ms` says, or later: counted from there, a lease is never too long.
            until_ms = GATE_OPEN_MS if ticks == TICKS_ALONE else self._ticked_ms + ticks * self._options.tick_ms
            if ticks:
                gate = Gate(group, until_ms, replica.raft.committed)
                if gate != self._gates.get(group):
                    self._gates[group] = gate
                    turn.gates.append(gate)
            elif self._gates.pop(group, None):
                turn.gates.append(Gate(group, 0, LOG_INDEX_MIN))

    def next_tick_ms(self) -> int:
        """Return when the next tick of Raft is due."""
        return self._ticked_ms + self._options.tick_ms

    def next_due_ms(self) -> int:
        """Return when the clock alone makes the next turn due."""
        gathered = [replica.propose_by_ms for replica in self.replicas.values() if replica.gathered]
        return min([self.next_tick_ms(), *self._notices_ms.values(), *gathered])

    def status(self) -> list[ReplicaStatus]:
        """Return every replica's state at this moment, by group."""
        return [replica.status() for _, replica in sorted(self.replicas.items())]

    def __repr__(self) -> str:
        return f"<Replicator n{self.node} {len(self.replicas)} groups>"


def _order(event: Event) -> int:
    return 0 if isinstance(event, Synced | Applied | Restored | Flushed) else 1


def _refuse(event: Event, turn: Turn) -> None:
    """Answer for a group that this node does not hold; messages for it are dropped."""
    match event:
        case CloseRequested(group):
            turn.closed.append(group)
        case ReadRequested(group, context):
            turn.reads_refused.append(ReadRefused(group, context, NODE_NONE))
        case CommandRequested(group, context, _):
            turn.commands_refused.append(CommandRefused(group, context, NODE_NONE))


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
