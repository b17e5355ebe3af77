"""The muscle of a simulated node: carries out turns without blocking, and tells what came of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from kvarts.base.types import Revision
from kvarts.raft.ids import LOG_INDEX_MIN, TERM_NONE, LogIndex, NodeId
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, EntryKind, Message, MessageKind
from kvarts.replication.events import (
    Applied,
    Batch,
    Event,
    Events,
    Flushed,
    GroupId,
    GroupOpened,
    Handle,
    Heartbeats,
    ReadRequested,
    Received,
    Restored,
    SnapshotSent,
    Synced,
    Ticket,
    WriteRequested,
)
from kvarts.replication.turn import Apply, Beats, Effects, Gate, Outgoing, Turn, Write
from kvarts.statemachine.commands import AnyCommand, Command, Outcome, Result
from kvarts.statemachine.ranges import range_in
from kvarts.statemachine.user_keys import Row, UserKeys
from kvarts_sim.cluster.agenda import MS, Agenda
from kvarts_sim.cluster.disk import Disk
from kvarts_sim.cluster.group_log import Checkpoint, Record
from kvarts_sim.cluster.watcher import Watcher

Reply = Callable[[str, object], None]
"""How a request ends: "done" with a Result or a Row, or "refused" with the leader's id."""


@dataclass(slots=True)
class Part:
    """The state machine of one group in memory."""

    machine: UserKeys
    index: LogIndex
    membership: Membership
    system: dict[bytes, bytes]


def digest_of(part: Part) -> object:
    """Return all rows that count when replicas are compared, as one value."""
    machine = part.machine
    live = {key: machine.stored[key] for key in machine.rows}
    return (
        sorted(live.items(), key=lambda row: row[0]),
        sorted(machine.tokens.items()),
        sorted(part.system.items()),
        machine.now_ms,
    )


def part_of(point: Checkpoint) -> Part:
    """Return what a checkpoint is in memory."""
    return Part(point.machine.copy(), point.index, point.membership, dict(point.system))


@dataclass(frozen=True, slots=True)
class Bytes:
    """What a handle stands for: commands with who waits for them, or a snapshot."""

    commands: tuple[AnyCommand, ...] = ()
    replies: tuple[Reply, ...] = ()
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class Packet:
    """Messages of one turn to one node; payloads are the commands themselves, snapshots whole."""

    sender: NodeId
    messages: tuple[tuple[GroupId, Message], ...]
    beats: tuple[Beats, ...] = ()


class SimMuscle:
    """Lives as long as its process. `transmit(packet, to)` returns whether the packet has a chance to arrive."""

    def __init__(  # noqa: PLR0917
        self,
        node: NodeId,
        agenda: Agenda,
        disk: Disk,
        watcher: Watcher,
        transmit: Callable[[Packet, NodeId], bool],
        wake: Callable[[], None],
        first_number: int = 0,
    ) -> None:
        self.node = node
        self.agenda = agenda
        self.disk = disk
        self._watcher = watcher
        self._transmit = transmit
        self._wake = wake
        self.alive = True
        self.clock_us: Callable[[], int] = lambda: agenda.now_us
        self._events: list[Event] = []
        self._handles: dict[Handle, Bytes] = {}
        # Numbers of reads are never used again, not even after a restart: an old confirmation may still be on its way.
        self._next = first_number
        disk.settle_staged()
        self.parts = {group: part_of(log.checkpoint) for group, log in disk.live.items()}
        self._copied: set[GroupId] = set()
        """Groups that stand still while a copy of them is made."""
        self._applies: dict[GroupId, deque[Apply]] = {group: deque() for group in self.parts}
        self._waiting: dict[tuple[GroupId, LogIndex], tuple[int, tuple[Reply, ...]]] = {}
        self._reads: dict[int, tuple[GroupId, bytes, Reply]] = {}
        self._ready_reads: list[tuple[GroupId, LogIndex, int]] = []
        self._gates: dict[GroupId, Gate] = {}
        self._syncing = False
        self._dirty = False
        self._held: deque[tuple[Ticket, bool, tuple[Outgoing, ...], tuple[Write, ...]]] = deque()

    def poll(self, until_ms: int) -> Events:
        """Return what happened; virtual time does not pass."""
        events, self._events = self._events, []
        return Events(self.clock_us() // MS, events)

    def perform(self, turn: Turn) -> None:
        """Carry out a turn. Raises DiskFull, and then the process must stop."""
        for gate in turn.gates:
            self._gates[gate.group] = gate
        for write in turn.writes:
            self._append(write)
        for compaction in turn.compactions:
            self.disk.write(Record(compaction.group, compaction.index))
        for effects in turn.effects:
            self._take_effects(effects)
        for group in turn.flushes:
            self.flush(group)
        self._send(turn.sends, turn.beats.values())
        if turn.ticket is not None:
            self._held.append((turn.ticket, turn.must_sync, tuple(turn.held), tuple(turn.writes)))
            self._dirty |= turn.must_sync
            self._release_held()
        self._start_sync()
        for apply in turn.applies:
            self._applies[apply.group].append(apply)
            self._later(self.disk.health.apply_us, lambda group=apply.group: self._work(group))  # type: ignore[misc]
        self._answer(turn)
        for handle in turn.release:
            self._handles.pop(handle, None)

    @property
    def handles_held(self) -> int:
        """How many handles wait; between turns only those of events not yet polled."""
        return len(self._handles)

    def push(self, event: Event) -> None:
        """Add an event for the next turn."""
        if self.alive:
            self._events.append(event)
            self._wake()

    def push_idle(self, event: Event) -> None:
        """Add an event that waits for the next turn, at the latest that of the next tick."""
        if self.alive:
            self._events.append(event)

    def receive(self, packet: Packet) -> None:
        """Take a packet from the network: bytes stay here, handles go on."""
        for beats in packet.beats:
            push = self.push_idle if beats.idle else self.push
            push(Heartbeats(packet.sender, beats.idle, beats.heartbeats, beats.answers))
        for group, message in packet.messages:
            if not message.entries and message.snapshot is None:
                self.push(Received(group, message))
                continue
            entries = tuple(self._with_handle(entry) for entry in message.entries)
            snapshot = message.snapshot
            if snapshot is not None:
                assert isinstance(snapshot.data, Checkpoint)
                snapshot = replace(snapshot, data=self._keep(Bytes(checkpoint=snapshot.data)))
            self.push(Received(group, replace(message, entries=entries, snapshot=snapshot)))

    def write(self, group: GroupId, command: AnyCommand, reply: Reply) -> None:
        """Take a client's write."""
        handle = self._keep(Bytes((command,), (reply,)))
        self.push(WriteRequested(group, handle, 64))

    def read(self, group: GroupId, key: bytes, reply: Reply) -> None:
        """Take a client's linearizable read."""
        self._next += 1
        # Every other read asks all the same, so that both ways are walked.
        if self.gate_is_open(group) and self._next % 2:
            self._watcher.read_at_once(self.node, group, self._gates[group].index)
            self._reads[self._next] = group, key, reply
            self._ready_reads.append((group, self._gates[group].index, self._next))
            self._serve_reads()
            return
        self._reads[self._next] = group, key, reply
        self._watcher.asked(self.node, group, self._next)
        self.push(ReadRequested(group, self._next))

    def gate_is_open(self, group: GroupId) -> bool:
        """Return whether a read of this moment needs no round. Where the loop is paused, the clock is not."""
        gate = self._gates.get(group)
        return self.alive and gate is not None and self.clock_us() // MS < gate.until_ms

    def _keep(self, content: Bytes) -> Handle:
        self._next += 1
        handle = Handle(self._next)
        self._handles[handle] = content
        return handle

    def _with_handle(self, entry: Entry) -> Entry:
        if entry.kind is EntryKind.CONFIG or not isinstance(entry.payload, tuple):
            return entry
        return entry._replace(payload=Batch((self._keep(Bytes(entry.payload)),)))

    def _append(self, write: Write) -> None:
        group, log = write.group, self.disk.live[write.group]
        if write.snapshot is not None:
            assert isinstance(write.snapshot.data, int)
            point = self._handles.pop(Handle(write.snapshot.data)).checkpoint
            assert point is not None
            self.disk.write(Record(group, point))
        for entry in write.entries:
            if isinstance(entry.payload, Batch):
                parts = [self._handles.pop(handle) for handle in entry.payload.handles]
                replies = tuple(reply for part in parts for reply in part.replies)
                if replies:
                    self._waiting[group, entry.index] = entry.term, replies
                entry = entry._replace(payload=tuple(each for part in parts for each in part.commands))  # noqa: PLW2901
            self._watcher.wrote(self.node, group, entry, log.entry(LogIndex(entry.index - 1)))
            self.disk.write(Record(group, entry))
        if write.hard_state is not None:
            self.disk.write(Record(group, write.hard_state))

    def _send(self, outgoing: Sequence[Outgoing], beats: Iterable[Beats] = ()) -> None:
        packets: dict[NodeId, list[tuple[GroupId, Message]]] = {}
        for each in outgoing:
            self._watcher.leaves(self.node, each.group, each.message, self.disk)
            whole = self._with_bytes(each.group, each.message)
            if whole is not None:
                packets.setdefault(whole.to, []).append((each.group, whole))
        rhythm: dict[NodeId, list[Beats]] = {}
        for bundle in beats:
            rhythm.setdefault(bundle.to, []).append(bundle)
        for to in [*packets, *(to for to in rhythm if to not in packets)]:
            messages = packets.get(to, [])
            sent = self._transmit(Packet(self.node, tuple(messages), tuple(rhythm.get(to, ()))), to)
            for group, message in messages:
                if message.kind is MessageKind.SNAPSHOT:
                    word = SnapshotSent(group, to, sent)
                    self._later(20 * MS, lambda word=word: self.push(word))  # type: ignore[misc]

    def _with_bytes(self, group: GroupId, message: Message) -> Message | None:
        """Put in what the log holds; None if an entry was superseded in the turn that sends it."""
        if not message.entries and message.snapshot is None:
            return message
        log = self.disk.live[group]
        if message.snapshot is not None:
            point = log.checkpoint
            whole = replace(message.snapshot, index=point.index, term=point.term, membership=point.membership)
            return replace(message, snapshot=replace(whole, data=point))
        entries = []
        for entry in message.entries:
            kept = log.entry(entry.index)
            if kept is None or kept.term != entry.term:
                return None
            entries.append(kept)
        return replace(message, entries=tuple(entries))

    def _later(self, delay_us: int, action: Callable[[], None]) -> None:
        self.agenda.after(delay_us, lambda: action() if self.alive else None)

    def _start_sync(self) -> None:
        if self._dirty and not self._syncing:
            self._syncing, self._dirty = True, False
            count = len(self._held)
            self.disk.sync(lambda: self._synced(count))

    def _synced(self, count: int) -> None:
        if not self.alive:
            return
        self._syncing = False
        for _ in range(count):
            self._let_go()
        self._release_held()
        self._start_sync()

    def _release_held(self) -> None:
        """What waits for no sync leaves as soon as nothing before it does."""
        while self._held and not self._syncing and not self._held[0][1]:
            self._let_go()

    def _let_go(self) -> None:
        ticket, _, held, writes = self._held.popleft()
        for write in writes:
            if write.snapshot is not None:
                self._install(write.group)
        self._send(held)
        self.push(Synced(ticket))

    def _install(self, group: GroupId) -> None:
        point, part = self.disk.durable[group].checkpoint, self.parts[group]
        if point.index > part.index:
            self.parts[group] = part_of(point)
            self.push(Restored(group, point.index, point.system))
            self.push(Flushed(group, point.index))

    def _work(self, group: GroupId) -> None:
        """Apply the next piece, unless a barrier waits for its effects."""
        queue, part = self._applies[group], self.parts[group]
        while queue and group not in self._copied:
            apply = queue[0]
            last = apply.last if not apply.barrier else LogIndex(apply.last - 1)
            while part.index < last:
                self._apply_entry(group, part, LogIndex(part.index + 1))
            queue.popleft()
            entry = self.disk.live[group].entry(apply.last)
            command = entry.payload if entry is not None and entry.kind is EntryKind.PYTHON else None
            self.push(Applied(group, apply.last, command))  # type: ignore[arg-type]  # bytes, by its kind
            if apply.barrier and part.index < apply.last:
                break
        self._serve_reads()

    def _apply_entry(self, group: GroupId, part: Part, index: LogIndex) -> None:
        entry = self.disk.live[group].entry(index)
        assert entry is not None
        results: list[Result] = []
        if isinstance(entry.payload, tuple):
            # One revision per command; an entry holds fewer than a thousand.
            first = index * 1000
            results = [part.machine.apply(each, Revision(first + at)) for at, each in enumerate(entry.payload)]
            self._watcher.took(group, index, _done(entry.payload, results))
        part.index = index
        self._watcher.applied(self.node, group, entry, part.membership)
        term, replies = self._waiting.pop((group, index), (0, ()))
        for at, reply in enumerate(replies):
            if term == entry.term:
                self._watcher.served(group, index)
                reply("done", results[at])
            else:
                reply("refused", 0)

    def _take_effects(self, effects: Effects) -> None:
        part = self.parts[effects.group]
        if effects.founding is not None and effects.index == part.index + 1:
            self._copied.add(effects.group)
            self._later(self.disk.health.apply_us, lambda: self._stage(effects))
            return
        self._take_own_effects(effects)

    def _stage(self, effects: Effects) -> None:
        """Copy the group as it is before the entry, for its child; the entry takes effect after that."""
        part, founding = self.parts[effects.group], effects.founding
        assert founding is not None
        if effects.index == part.index + 1 and founding.group not in self.disk.live:
            system = {key: value for key, value in founding.writes if value is not None}
            copied = part.machine.copy()
            copied.own = range_in(system)
            point = Checkpoint(LogIndex(1), TERM_NONE, effects.membership, copied, system)
            self.disk.staged[GroupId(founding.group), effects.group, effects.index] = point
        self._later(self.disk.health.apply_us, lambda: self._split(effects))

    def _split(self, effects: Effects) -> None:
        self._copied.discard(effects.group)
        taken = effects.index == self.parts[effects.group].index + 1
        self._take_own_effects(effects)
        self._later(self.disk.health.apply_us, lambda: self._found(effects, taken=taken))
        self._work(effects.group)

    def _found(self, effects: Effects, *, taken: bool) -> None:
        """The copy becomes a group, once the parent's checkpoint holds that it has split."""
        founding = effects.founding
        assert founding is not None
        if taken:
            self.flush(effects.group)
        child = GroupId(founding.group)
        self.disk.settle_staged()
        if child in self.disk.live and child not in self.parts:
            self._opened(child)

    def open_empty(self, group: GroupId) -> None:
        """Make a group that waits to be told by a leader, unless it is there."""
        if group not in self.disk.live:
            self.disk.adopt(group, Checkpoint(LOG_INDEX_MIN, TERM_NONE, Membership(), UserKeys()))
            self._opened(group)

    def _opened(self, group: GroupId) -> None:
        self.parts[group] = part = part_of(self.disk.live[group].checkpoint)
        self._applies[group] = deque()
        self.push(GroupOpened(group, part.index, part.system))

    def _take_own_effects(self, effects: Effects) -> None:
        part = self.parts[effects.group]
        entry = self.disk.live[effects.group].entry(effects.index)
        if effects.index != part.index + 1 or entry is None:
            # A snapshot takes the place of this entry in the log, in this very turn perhaps, and soon of the part.
            return
        part.index, part.membership = effects.index, effects.membership
        part.system.update((key, value) for key, value in effects.writes if value is not None)
        for key in [key for key, value in effects.writes if value is None]:
            part.system.pop(key, None)
        part.machine.own = range_in(part.system)
        self._watcher.applied(self.node, effects.group, entry, part.membership)
        if effects.check:
            self._watcher.digested(self.node, effects.group, effects.index, digest_of(part))
        self._later(10, lambda: self._work(effects.group))

    def _answer(self, turn: Turn) -> None:
        for refused in turn.writes_refused:
            for reply in self._handles[refused.handle].replies:
                reply("refused", refused.leader)
        for lost in turn.reads_refused:
            if lost.context in self._reads:
                self._reads.pop(lost.context)[2]("refused", lost.leader)
        for ready in turn.reads:
            self._watcher.read(self.node, ready.group, ready.context, ready.index)
            self._ready_reads.append((ready.group, ready.index, ready.context))
        self._serve_reads()

    def _serve_reads(self) -> None:
        waiting = []
        for group, index, context in self._ready_reads:
            part = self.parts[group]
            if part.index < index:
                waiting.append((group, index, context))
            elif context in self._reads:
                _, key, reply = self._reads.pop(context)
                if not part.machine.owns(key):
                    reply("moved", 0)
                    continue
                row: Row | None = part.machine.get(key)
                self._watcher.served(group, part.index)
                reply("done", row)
        self._ready_reads = waiting

    def flush(self, group: GroupId) -> None:
        """Put the state machine on disk as it is; compaction may follow."""
        part, log = self.parts[group], self.disk.live[group]
        term = log.term_at(part.index)
        # What is applied is durable in the log, so a checkpoint never gets ahead of it.
        if part.index > log.checkpoint.index and term is not None:
            self.disk.save(group, Checkpoint(part.index, term, part.membership, part.machine.copy(), dict(part.system)))
            self.push(Flushed(group, part.index))


def _done(commands: tuple[AnyCommand, ...], results: list[Result]) -> list[Command]:
    pairs = zip(commands, results, strict=True)
    return [each for each, result in pairs if isinstance(each, Command) and result.outcome is Outcome.DONE]
