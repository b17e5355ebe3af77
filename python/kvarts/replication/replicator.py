"""All replicas of a node: one turn decides for every group, and waits for one sync."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from kvarts.raft.core import Random
from kvarts.raft.errors import invariant
from kvarts.raft.heartbeat import TICKS_ALONE
from kvarts.raft.ids import LOG_INDEX_MIN, NODE_NONE, LogIndex, NodeId
from kvarts.raft.messages import Entry, Message, MessageKind, Snapshot
from kvarts.raft.node import RaftNode
from kvarts.raft.options import RaftOptions
from kvarts.replication.events import (
    Applied,
    Batch,
    CloseRequested,
    CommandRequested,
    ConfigRequested,
    Event,
    Events,
    Flushed,
    FlushRequested,
    GroupId,
    GroupOpened,
    Handle,
    Heartbeats,
    PeerLost,
    ReadRequested,
    Received,
    Restored,
    SnapshotSent,
    StandRequested,
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
        self._new_raft = replace(options.raft, vote_quiet_ticks=0)
        """Of groups that come later: they have promised nothing to anybody, in this life or before."""
        self._log = log
        self._rng_of = rng_of
        self.node: NodeId = options.raft.node
        self.replicas: dict[GroupId, Replica] = {}
        self._stirred: set[GroupId] = set()
        """Groups whose Raft node something has reached since the last turn looked at what they want."""
        self.stirred: Sequence[GroupId] = ()
        """Groups that the latest turn looked at: nothing has changed in any other."""
        self._renewed: set[GroupId] = set()
        """Groups whose lease may have been extended without anything else."""
        self._gathering: set[GroupId] = set()
        """Groups with writes that wait for the entry before theirs."""
        for opened in sorted(groups, key=lambda each: each.group):
            self._open(opened, options.raft)
        self._ticket = Ticket(0)
        self._waiting: deque[tuple[Ticket, GroupId, Message]] = deque()
        """Words to ourselves, to be taken when the log is durable up to their ticket."""
        self._ticked_ms = now_ms
        self._gates: dict[GroupId, tuple[int, LogIndex]] = {}
        """Until when reads need no round, as the muscle was told."""
        self._notices_ms: dict[GroupId, int] = {}
        """When followers are to hear of a commit at the latest."""
        self._stopping = False
        self.muted: frozenset[GroupId] = frozenset()
        """Groups that this node may be about to lose: it hears nothing for them, so it acknowledges nothing."""

    def turn(self, events: Events) -> Turn:
        """Take what happened and return what to do."""
        turn = Turn()
        taken = self._gathered()
        # The clock first: a read that waited out a pause with us must not be served under the lease from before.
        self._tick(events.now_ms, turn)
        if self._notices_ms:
            self._give_notice(events.now_ms, turn)
        # Completed work next: an apply that was reached before a snapshot came belongs to the membership before it.
        for event in _completions_first(events.events):
            if type(event) in _BRINGS_HANDLES:
                taken += _handles_of_event(event)
            self._take(event, turn)
        self._propose(events, turn)
        if self._stopping:
            leads = [replica.hand_over() for replica in self.replicas.values()]
            turn.stopped = not any(leads)
        self.stirred = sorted(self._stirred)
        self._stirred.clear()
        self._collect(turn)
        self._owe_notice(events.now_ms)
        self._set_gates(turn)
        if taken:
            kept = {*self._gathered(), *_handles_of_writes(turn)}
            turn.release = [handle for handle in taken if handle not in kept]
        return turn

    def _gathered(self) -> list[Handle]:
        return [handle for group in sorted(self._gathering) for handle in self.replicas[group].gathered]

    def _take(self, event: Event, turn: Turn) -> None:
        take = _TAKEN_BY_REPLICA.get(type(event))
        if take is None:
            self._take_own(event, turn)
            return
        replica = self.replicas.get(event.group)  # type: ignore[union-attr]  # those with a replica have a group
        if replica is None:
            _refuse(event, turn)
        elif isinstance(event, Received) and event.group in self.muted:
            return
        else:
            take(replica, event, turn)

    def _take_own(self, event: Event, turn: Turn) -> None:
        """Take what concerns the node, or the coming and going of a group; writes are proposed after all else."""
        match event:
            case Synced(ticket):
                self._synced(ticket)
            case Heartbeats():
                self._hear(event, turn)
            case GroupOpened():
                self._open(event, self._new_raft)
            case StopRequested():
                self._stopping = True
            case PeerLost(node):
                for each in self.replicas.values():
                    each.raft.report_unreachable(node)
                    each.raft.report_lost(node)
            case CloseRequested(group) if group in self.replicas:
                self._close(group, turn)
            case CloseRequested(group):
                turn.closed.append(group)

    def _open(self, opened: GroupOpened, raft_options: RaftOptions) -> None:
        group, options = opened.group, self._options
        invariant(group not in self.replicas, "a group was opened twice", group)
        store = self._log.group(group)
        stir = partial(self._stirred.add, group)
        raft = RaftNode(raft_options, store, self._rng_of(group), applied=opened.applied, stir=stir)
        stir()
        self.replicas[group] = Replica(group, raft, store, opened.system, options)

    def _close(self, group: GroupId, turn: Turn) -> None:
        self.replicas.pop(group).close(turn)
        self._waiting = deque(each for each in self._waiting if each[1] != group)
        self._gates.pop(group, None)
        self._gathering.discard(group)
        self._stirred.discard(group)
        self._renewed.discard(group)
        self._notices_ms.pop(group, None)
        turn.closed.append(group)

    def _synced(self, ticket: Ticket) -> None:
        while self._waiting and self._waiting[0][0] <= ticket:
            _, group, message = self._waiting.popleft()
            self.replicas[group].receive(message)

    def _propose(self, events: Events, turn: Turn) -> None:
        for event in events.events:
            if type(event) is WriteRequested:
                replica = self.replicas.get(event.group)
                if replica is None:
                    turn.writes_refused.append(WriteRefused(event.group, event.handle, NODE_NONE))
                else:
                    replica.gather(event, events.now_ms)
                    self._gathering.add(event.group)
        if not self._gathering:
            return
        linger_ms = self._options.linger_ms
        linger_ms = min(linger_ms * len(self._gathering), max(linger_ms, self._options.linger_ms_max))
        for group in sorted(self._gathering):
            replica = self.replicas[group]
            replica.propose_due(events.now_ms, linger_ms, turn)
            if not replica.gathered:
                self._gathering.remove(group)
                if self._notices_ms and replica.raft.has_uncommitted:
                    # What was committed before goes with the append.
                    self._notices_ms.pop(group, None)

    def _heeding(self, group: GroupId) -> Replica | None:
        """Return the replica, unless it must hear nothing of other nodes."""
        return None if group in self.muted else self.replicas.get(group)

    def _hear(self, event: Heartbeats, turn: Turn) -> None:
        """Take heartbeats and answers. Nearly all change nothing but when who was heard: they are no messages here."""
        sender = event.sender
        answers = turn.beats_to(sender, idle=event.idle).answers if event.heartbeats else []
        for group, term, commit, number in event.heartbeats:
            replica = self._heeding(group)
            if replica is None:
                continue
            if replica.raft.hear(sender, term, commit):
                answers.append((group, term, number))
            else:
                kind = MessageKind.HEARTBEAT
                replica.receive(Message(kind, self.node, sender, term, commit=commit, round=number))
        for group, term, number in event.answers:
            replica = self._heeding(group)
            if replica is None:
                continue
            if replica.raft.heard(sender, term, number):
                self._renewed.add(group)
            else:
                replica.receive(Message(MessageKind.HEARTBEAT_RESPONSE, self.node, sender, term, round=number))

    def _beat(self, group: GroupId, raft: RaftNode, turn: Turn, *, idle: bool) -> None:
        for to, term, commit, number in raft.take_heartbeats():
            turn.beats_to(to, idle=idle).heartbeats.append((group, term, commit, number))

    def _tick(self, now_ms: int, turn: Turn) -> None:
        ticks = (now_ms - self._ticked_ms) // self._options.tick_ms
        if ticks <= 0:
            return
        paused = ticks > self._options.ticks_max
        # After a pause one tick passes: most who would stand for election at once first hear what waits at the door.
        self._ticked_ms = now_ms if paused else self._ticked_ms + ticks * self._options.tick_ms
        for group, replica in self.replicas.items():
            raft = replica.raft
            if paused:
                raft.pause_detected()
            for _ in range(1 if paused else ticks):
                raft.tick()
            self._beat(group, raft, turn, idle=True)

    def _collect(self, turn: Turn) -> None:
        local = [(group, each) for group in self.stirred for each in self.replicas[group].collect(turn)]
        if not local and not turn.held and not turn.must_sync:
            return
        self._ticket = turn.ticket = Ticket(self._ticket + 1)
        self._waiting += [(self._ticket, group, message) for group, message in local]

    def _give_notice(self, now_ms: int, turn: Turn) -> None:
        if min(self._notices_ms.values()) > now_ms:
            return
        # With the first that is due go all that soon would be: a turn for each, here and there, costs more.
        soon_ms = now_ms + self._options.commit_notice_ms // 2
        for group in [group for group, due_ms in self._notices_ms.items() if due_ms <= soon_ms]:
            if group in self._gathering:
                # Its append is due soon, and takes the word along.
                self._notices_ms[group] = now_ms + self._options.commit_notice_ms
                continue
            del self._notices_ms[group]
            raft = self.replicas[group].raft
            raft.tell_commit()
            self._beat(group, raft, turn, idle=False)

    def _owe_notice(self, now_ms: int) -> None:
        for group in self.stirred:
            if self.replicas[group].raft.owes_commit():
                # What was committed before went out with the append of what is committed now.
                self._notices_ms[group] = now_ms + self._options.commit_notice_ms

    def _set_gates(self, turn: Turn) -> None:
        groups: Iterable[GroupId] = self.stirred
        if self._renewed:
            groups = sorted(self._renewed.union(self.stirred))
            self._renewed.clear()
        replicas, gates, ticked_ms, tick_ms = self.replicas, self._gates, self._ticked_ms, self._options.tick_ms
        for group in groups:
            raft = replicas[group].raft
            ticks = raft.ticks_at_once
            if not ticks:
                if gates.pop(group, None):
                    turn.gates.append(Gate(group, 0, LOG_INDEX_MIN))
                continue
            # The tick began when `_ticked_ms` says, or later: counted from there, a lease is never too long.
            until_ms = GATE_OPEN_MS if ticks == TICKS_ALONE else ticked_ms + ticks * tick_ms
            now = until_ms, raft.committed
            if gates.get(group) != now:
                gates[group] = now
                turn.gates.append(Gate(group, *now))

    def next_tick_ms(self) -> int:
        """Return when the next tick of Raft is due."""
        return self._ticked_ms + self._options.tick_ms

    def next_due_ms(self) -> int:
        """Return when the clock alone makes the next turn due."""
        due_ms = self.next_tick_ms()
        for group in self._gathering:
            due_ms = min(due_ms, self.replicas[group].propose_by_ms)
        return min(due_ms, *self._notices_ms.values()) if self._notices_ms else due_ms

    def status(self) -> list[ReplicaStatus]:
        """Return every replica's state at this moment, by group."""
        return [replica.status() for _, replica in sorted(self.replicas.items())]

    def __repr__(self) -> str:
        return f"<Replicator n{self.node} {len(self.replicas)} groups>"


_COMPLETIONS = frozenset({Synced, Applied, Restored, Flushed})
_BRINGS_HANDLES = frozenset({Received, WriteRequested})

_TAKEN_BY_REPLICA: Mapping[type, Callable[[Replica, Any, Turn], None]] = {
    Received: lambda replica, event, _: replica.receive(event.message),
    Applied: lambda replica, event, turn: replica.applied(event.index, event.command, turn),
    Restored: lambda replica, event, turn: replica.restored(event.index, event.system, turn),
    Flushed: lambda replica, event, turn: replica.flushed(event.index, turn),
    ReadRequested: lambda replica, event, _: replica.raft.read(event.context),
    CommandRequested: lambda replica, event, turn: replica.command(event, turn),
    ConfigRequested: lambda replica, event, _: replica.change(event.change),
    TransferRequested: lambda replica, event, _: replica.raft.transfer_to(event.target),
    FlushRequested: lambda _, event, turn: turn.flushes.append(event.group),
    StandRequested: lambda replica, _, __: replica.raft.campaign(),
    SnapshotSent: lambda replica, event, _: replica.raft.report_snapshot(event.node, delivered=event.delivered),
}
"""What a group's replica makes of an event. By type: to try one pattern after the other costs more than most events."""


def _completions_first(events: Sequence[Event]) -> Sequence[Event]:
    completions = [event for event in events if type(event) in _COMPLETIONS]
    if not completions or len(completions) == len(events):
        return events
    return [*completions, *[event for event in events if type(event) not in _COMPLETIONS]]


def _refuse(event: Event, turn: Turn) -> None:
    """Answer for a group that this node does not hold; messages for it are dropped."""
    match event:
        case ReadRequested(group, context):
            turn.reads_refused.append(ReadRefused(group, context, NODE_NONE))
        case CommandRequested(group, context, _):
            turn.commands_refused.append(CommandRefused(group, context, NODE_NONE))


def _handles_of_event(event: Event) -> Sequence[Handle]:
    if isinstance(event, Received):
        message = event.message
        return _handles_of(message.entries, message.snapshot) if message.entries or message.snapshot else ()
    return (event.handle,) if isinstance(event, WriteRequested) else ()


def _handles_of_writes(turn: Turn) -> list[Handle]:
    return [handle for write in turn.writes for handle in _handles_of(write.entries, write.snapshot)]


def _handles_of(entries: Iterable[Entry], snapshot: Snapshot | None) -> list[Handle]:
    handles: list[Handle] = []
    for entry in entries:
        if isinstance(entry.payload, Batch):
            handles += entry.payload.handles
    if snapshot is not None and isinstance(snapshot.data, int):
        handles.append(Handle(snapshot.data))
    return handles
