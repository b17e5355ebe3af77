"""One node's copy of one group: a Raft node, the queue of what it applies, and when its log is compacted."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from kvarts.raft.confchange import ConfigChange
from kvarts.raft.errors import ConfigChangeRefused, ProposalDropped, UnknownPeer, invariant
from kvarts.raft.ids import LOG_INDEX_MIN, LOG_STORE, STATE_MACHINE, LogIndex, NodeId
from kvarts.raft.messages import Entry, EntryKind, Message
from kvarts.raft.node import RaftNode
from kvarts.raft.ready import Ready
from kvarts.raft.storage import LogStore
from kvarts.replication.events import Batch, GroupId, WriteRequested
from kvarts.replication.turn import (
    Apply,
    Compaction,
    Effects,
    Outgoing,
    ReadReady,
    ReadRefused,
    Turn,
    Write,
    WriteRefused,
)


class Replica:
    """Invariant: of the entries to apply, those before the first barrier have been handed out, and it, no more."""

    def __init__(self, group: GroupId, raft: RaftNode, store: LogStore, *, keep_entries: int) -> None:
        self.group = group
        self.raft = raft
        self._store = store
        self._keep_entries = keep_entries
        self._to_apply: deque[Message] = deque()
        """Applies that the core asked for and that are not acknowledged; the first may be half done."""
        self._handed_out = LOG_INDEX_MIN
        self._barrier: Entry | None = None
        """The change of membership that was handed out and not yet reached."""
        self._restored = LOG_INDEX_MIN
        """Index of the latest snapshot taken from a leader: changes up to it are in its membership."""
        self._compacted = LogIndex(store.first_index() - 1)

    @property
    def leader(self) -> NodeId:
        """The leader as far as this node knows, or NODE_NONE."""
        return self.raft.status().lead

    def receive(self, message: Message) -> None:
        """Take a message of another node. What cannot be used is dropped: the sender repeats it."""
        with suppress(ProposalDropped, UnknownPeer):
            self.raft.step(message)

    def write(self, requests: list[WriteRequested], turn: Turn) -> None:
        """Propose all batches of this turn as one entry, or refuse them."""
        batch = Batch(tuple(request.handle for request in requests))
        try:
            self.raft.propose(batch, sum(request.size for request in requests))
        except ProposalDropped:
            leader = self.leader
            turn.writes_refused += [WriteRefused(self.group, handle, leader) for handle in batch.handles]

    def change(self, change: ConfigChange) -> None:
        """Propose another membership, if this node may."""
        with suppress(ProposalDropped):
            self.raft.propose_config(change)

    def applied(self, index: LogIndex, turn: Turn) -> None:
        """The state machine has reached `index`."""
        barrier = self._barrier
        if barrier is not None and index == barrier.index:
            self._barrier = None
            self._pass_barrier(barrier, turn)
        while self._to_apply and self._to_apply[0].entries[-1].index <= index:
            for response in self._to_apply.popleft().responses:
                self.raft.step(response)
        self._hand_out(turn)

    def flushed(self, index: LogIndex, turn: Turn) -> None:
        """Let go of the log that neither a crash nor a follower a little behind needs."""
        target = LogIndex(min(index, index - self._keep_entries))
        if target > max(self._compacted, self._store.first_index() - 1):
            self._compacted = target
            turn.compactions.append(Compaction(self.group, target))

    def collect(self, turn: Turn) -> list[Message]:
        """Put into the turn what the core wants; return the words to ourselves that wait for the log."""
        local: list[Message] = []
        while self.raft.has_ready():
            ready = self.raft.ready()
            # A second round comes only from messages of the first, and brings no second write before it.
            local += self._take(ready, turn)
        self._hand_out(turn)
        return local

    def _take(self, ready: Ready, turn: Turn) -> list[Message]:
        local: list[Message] = []
        if ready.snapshot is not None:
            self._restored = ready.snapshot.index
        turn.must_sync |= ready.must_sync
        turn.reads += [ReadReady(self.group, _context(state.context), state.index) for state in ready.read_states]
        if ready.reads_dropped:
            leader = self.leader
            turn.reads_refused += [ReadRefused(self.group, _context(each), leader) for each in ready.reads_dropped]
        for message in ready.messages:
            if message.to == LOG_STORE:
                turn.writes.append(Write(self.group, ready.hard_state, message.snapshot, message.entries))
                held = [each for each in message.responses if each.to != message.sender]
                turn.held += [Outgoing(self.group, each) for each in held]
                local += [each for each in message.responses if each.to == message.sender]
            elif message.to == STATE_MACHINE:
                self._to_apply.append(message)
            else:
                turn.sends.append(Outgoing(self.group, message))
        return local

    def _hand_out(self, turn: Turn) -> None:
        """Hand out what may be applied, up to the next change of membership."""
        if self._barrier is not None:
            return
        for message in self._to_apply:
            entries = [entry for entry in message.entries if entry.index > self._handed_out]
            if not entries:
                continue
            barrier = next((entry for entry in entries if entry.kind is EntryKind.CONFIG), None)
            self._handed_out = entries[-1].index if barrier is None else barrier.index
            turn.applies.append(Apply(self.group, entries[0].index, self._handed_out, barrier is not None))
            if barrier is not None:
                self._barrier = barrier
                return

    def _pass_barrier(self, barrier: Entry, turn: Turn) -> None:
        if barrier.index <= self._restored:
            return
        # A change that is refused is refused by every member alike: nothing happens.
        with suppress(ConfigChangeRefused):
            self.raft.apply_config(barrier.change)
        turn.effects.append(Effects(self.group, barrier.index, self.raft.status().membership))
        # A member ignores a snapshot that does not know it: one from before this change would be sent in vain.
        turn.flushes.append(self.group)

    def __repr__(self) -> str:
        return f"<Replica s{self.group} {self.raft!r}>"


def _context(context: object) -> int:
    invariant(isinstance(context, int), "a read that nobody here asked for", context)
    assert isinstance(context, int)
    return context
