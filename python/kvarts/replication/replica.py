"""One node's copy of one group: a Raft node, the queue of what it applies, and when its log is compacted."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from kvarts.raft.confchange import ConfigChange
from kvarts.raft.errors import Busy, ConfigChangeRefused, ProposalDropped, UnknownPeer, invariant
from kvarts.raft.ids import LOG_INDEX_MIN, LOG_STORE, NODE_NONE, STATE_MACHINE, LogIndex, NodeId, Term
from kvarts.raft.messages import Entry, EntryKind, Message, Role
from kvarts.raft.node import RaftNode
from kvarts.raft.ready import Ready
from kvarts.raft.storage import LogStore
from kvarts.replication.events import Batch, CommandRequested, GroupId, Handle, WriteRequested
from kvarts.replication.options import ReplicatorOptions
from kvarts.replication.turn import (
    Apply,
    CommandDone,
    CommandRefused,
    Compaction,
    Effects,
    Outgoing,
    ReadReady,
    ReadRefused,
    Turn,
    Why,
    Write,
    WriteRefused,
)
from kvarts.statemachine.python_commands import Decision, UnreadableCommand
from kvarts.statemachine.system_keys import SystemKeys

MEMBERS_CHANGE = "members-change"
BARRIERS = frozenset({EntryKind.CONFIG, EntryKind.PYTHON})


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A replica at one moment, for metrics and people."""

    group: GroupId
    role: Role
    term: Term
    leader: NodeId
    last: LogIndex
    committed: LogIndex
    applied: LogIndex
    waiting: int
    """Entries that are committed and not yet applied."""


class Replica:
    """Invariant: of the entries to apply, those before the first barrier have been handed out, and it, no more."""

    def __init__(
        self,
        group: GroupId,
        raft: RaftNode,
        store: LogStore,
        system: Mapping[bytes, bytes],
        options: ReplicatorOptions,
    ) -> None:
        self.group = group
        self.raft = raft
        self.system = SystemKeys(system)
        self._store = store
        self._options = options
        self.gathered: dict[Handle, int] = {}
        """Writes that wait for the entry before theirs, with their sizes; at `propose_by_ms` they wait no longer."""
        self.propose_by_ms = 0
        self._under_way = False
        """An entry of clients' writes is, as far as earlier turns knew."""
        self._lingers = False
        """It has come, and what was gathered waits for those whom it answered: together they are one entry, not two."""
        self._to_apply: deque[Message] = deque()
        """Applies that the core asked for and that are not acknowledged; the first may be half done."""
        self._handed_out = LOG_INDEX_MIN
        self._barrier: Entry | None = None
        """The change of membership or Python command that was handed out and not yet reached."""
        self._asked: dict[LogIndex, tuple[Term, int]] = {}
        """Python commands proposed here and not yet reached: their entries' terms, and the contexts of their askers."""
        self._restored = LOG_INDEX_MIN
        """Index of the latest snapshot taken from a leader: changes up to it are in its membership."""
        self._compacted = LogIndex(store.first_index() - 1)

    @property
    def leader(self) -> NodeId:
        """Whom to ask: the leader as far as this node knows, or who is to lead soon, or NODE_NONE."""
        return self.raft.leader

    @property
    def flushed_index(self) -> LogIndex:
        """Up to where the state machine survives without the log."""
        kept = self._store.snapshot()
        return LOG_INDEX_MIN if kept is None else kept.index

    def status(self) -> ReplicaStatus:
        """Return the replica's state at this moment."""
        s = self.raft.status()
        waiting = s.committed - s.applied
        return ReplicaStatus(self.group, s.role, s.term, s.lead, s.last, s.committed, s.applied, waiting)

    def receive(self, message: Message) -> None:
        """Take a message of another node. What cannot be used is dropped: the sender repeats it."""
        try:
            self.raft.step(message)
        except (ProposalDropped, UnknownPeer):
            return

    def gather(self, request: WriteRequested, now_ms: int) -> None:
        """Let writes wait for the entry that is on its way."""
        if not self.gathered:
            self.propose_by_ms = now_ms + self._options.gather_ms
        self.gathered[request.handle] = request.size

    def propose_due(self, now_ms: int, linger_ms: int, turn: Turn) -> None:
        """Propose what was gathered, or refuse it, unless it may wait and an entry is on its way, or has just come.

        An entry costs the same with one write as with a hundred. `linger_ms`: how long to wait once it has come.
        """
        if now_ms < self.propose_by_ms:
            if self.raft.has_uncommitted:
                return
            if self._under_way:
                # Its commit is news of this turn.
                self._under_way, self._lingers = False, True
                self.propose_by_ms = min(self.propose_by_ms, now_ms + linger_ms)
            if self._lingers and now_ms < self.propose_by_ms:
                return
        self._lingers = False
        gathered, self.gathered = self.gathered, {}
        handles: list[Handle] = []
        size = 0
        for handle, more in gathered.items():
            if handles and size + more > self._options.entry_bytes_max:
                self._propose(handles, size, turn)
                handles, size = [], 0
            handles.append(handle)
            size += more
        self._propose(handles, size, turn)

    def _propose(self, handles: list[Handle], size: int, turn: Turn) -> None:
        batch = Batch(tuple(handles))
        try:
            self.raft.propose(batch, size)
            self._under_way = True
        except ProposalDropped as dropped:
            leader, why = self.leader, _why(dropped)
            turn.writes_refused += [WriteRefused(self.group, handle, leader, why) for handle in batch.handles]

    def command(self, request: CommandRequested, turn: Turn) -> None:
        """Propose a Python command, or refuse it."""
        try:
            # One that cannot be read would stop every member that reaches it.
            self.system.decide(request.command)
            self.raft.propose(request.command, kind=EntryKind.PYTHON)
        except (ProposalDropped, UnreadableCommand) as error:
            turn.commands_refused.append(CommandRefused(self.group, request.context, self.leader, _why(error)))
            return
        status = self.raft.status()
        self._asked[status.last] = status.term, request.context

    def change(self, change: ConfigChange) -> None:
        """Propose another membership, if this node may."""
        with suppress(ProposalDropped):
            self.raft.propose_config(change)

    def hand_over(self) -> bool:
        """Let the fittest other voter lead; return whether this node leads what another could."""
        status = self.raft.status()
        leads = status.role is Role.LEADER and bool(status.membership.voters.voters - {status.node})
        if leads and status.transferee == NODE_NONE:
            target = self.raft.successor()
            if target != NODE_NONE:
                self.raft.transfer_to(target)
        return leads

    def close(self, turn: Turn) -> None:
        """Nothing more will come of this replica."""
        turn.writes_refused += [WriteRefused(self.group, handle, NODE_NONE) for handle in self.gathered]
        self._end_asked(self.raft.status().last, Why.UNKNOWN, turn)

    def restored(self, index: LogIndex, system: Mapping[bytes, bytes], turn: Turn) -> None:
        """A snapshot of a leader is in the place of the state machine."""
        self.system = SystemKeys(system)
        self._end_asked(index, Why.UNKNOWN, turn)

    def applied(self, index: LogIndex, command: bytes | None, turn: Turn) -> None:
        """The state machine has reached `index`."""
        barrier = self._barrier
        if barrier is not None and index == barrier.index:
            self._barrier = None
            if barrier.kind is EntryKind.PYTHON and barrier.index > self._restored:
                invariant(command == barrier.payload, "the muscle reached another command", command, barrier)
            self._pass_barrier(barrier, turn)
        if self._asked and index > self._restored:
            self._end_asked(index, Why.SUPERSEDED, turn)
        while self._to_apply and self._to_apply[0].entries[-1][1] <= index:
            for response in self._to_apply.popleft().responses:
                self.raft.step(response)
        if self._to_apply:
            self._hand_out(turn)

    def flushed(self, index: LogIndex, turn: Turn) -> None:
        """Let go of the log that neither a crash nor a follower a little behind needs."""
        target = LogIndex(min(index, index - self._options.keep_entries))
        if target > max(self._compacted, self._store.first_index() - 1):
            self._compacted = target
            turn.compactions.append(Compaction(self.group, target))

    def collect(self, turn: Turn) -> list[Message]:
        """Put into the turn what the core wants; return the words to ourselves that wait for the log."""
        local: list[Message] = []
        raft = self.raft
        while raft.has_ready():
            # A second round comes only from messages of the first, and brings no second write before it.
            local += self._take(raft.ready(), turn)
        if self._to_apply:
            self._hand_out(turn)
        if self._under_way:
            self._under_way = raft.has_uncommitted
        return local

    def _take(self, ready: Ready, turn: Turn) -> list[Message]:
        local: list[Message] = []
        if ready.snapshot is not None:
            self._restored = ready.snapshot.index
        turn.must_sync |= ready.must_sync
        if ready.read_states:
            turn.reads += [ReadReady(self.group, _context(state.context), state.index) for state in ready.read_states]
        if ready.reads_dropped:
            leader = self.leader
            turn.reads_refused += [ReadRefused(self.group, _context(each), leader) for each in ready.reads_dropped]
        for message in ready.messages:
            if message.to == LOG_STORE:
                turn.writes.append(Write(self.group, ready.hard_state, message.snapshot, message.entries))
                for response in message.responses:
                    if response.to == message.sender:
                        local.append(response)
                    else:
                        turn.held.append(Outgoing(self.group, response))
            elif message.to == STATE_MACHINE:
                self._to_apply.append(message)
            else:
                turn.sends.append(Outgoing(self.group, message))
        return local

    def _hand_out(self, turn: Turn) -> None:
        """Hand out what may be applied, up to the next barrier."""
        if self._barrier is not None:
            return
        for message in self._to_apply:
            entries = message.entries
            if entries[-1].index <= self._handed_out:
                continue
            if entries[0].index <= self._handed_out:
                entries = [entry for entry in entries if entry.index > self._handed_out]
            barrier = _first_barrier(entries)
            self._handed_out = entries[-1].index if barrier is None else barrier.index
            turn.applies.append(Apply(self.group, entries[0].index, self._handed_out, barrier is not None))
            if barrier is not None:
                self._barrier = barrier
                return

    def _pass_barrier(self, barrier: Entry, turn: Turn) -> None:
        if barrier.index <= self._restored:
            return
        decision = Decision()
        if barrier.kind is EntryKind.CONFIG:
            # A change that is refused is refused by every member alike: nothing happens.
            with suppress(ConfigChangeRefused):
                self.raft.apply_config(barrier.change)
            # A member ignores a snapshot that does not know it: one from before this change would be sent in vain.
            turn.flushes.append(self.group)
        else:
            decision = self._carry_out(barrier, turn)
        membership = self.raft.status().membership
        effects = Effects(self.group, barrier.index, membership, decision.writes, decision.founding, decision.check)
        turn.effects.append(effects)

    def _carry_out(self, barrier: Entry, turn: Turn) -> Decision:
        assert isinstance(barrier.payload, bytes)
        if self.raft.status().membership.is_joint and self.system.decide(barrier.payload).founding is not None:
            # Every replica sees it alike: which members the new group is to have is not settled.
            decision = Decision(refusal=MEMBERS_CHANGE)
        else:
            decision = self.system.apply(barrier.payload)
        term, context = self._asked.get(barrier.index, (None, 0))
        if term == barrier.term:
            del self._asked[barrier.index]
            turn.commands_done.append(CommandDone(self.group, context, decision))
        return decision

    def _end_asked(self, last: LogIndex, why: Why, turn: Turn) -> None:
        """Give up what was asked for at indexes up to `last`."""
        for index in [each for each in self._asked if each <= last]:
            _, context = self._asked.pop(index)
            turn.commands_refused.append(CommandRefused(self.group, context, self.leader, why))

    def __repr__(self) -> str:
        return f"<Replica s{self.group} {self.raft!r}>"


def _first_barrier(entries: Sequence[Entry]) -> Entry | None:
    for entry in entries:
        # The kind; plain entries are false, and nearly all there is.
        if entry[2] and entry.kind in BARRIERS:
            return entry
    return None


def _why(error: ProposalDropped | UnreadableCommand) -> Why:
    if isinstance(error, UnreadableCommand):
        return Why.UNREADABLE
    return Why.BUSY if isinstance(error, Busy) else Why.NOT_LEADER


def _context(context: object) -> int:
    invariant(isinstance(context, int), "a read that nobody here asked for", context)
    assert isinstance(context, int)
    return context
