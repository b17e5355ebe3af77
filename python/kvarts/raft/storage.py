"""What the core reads from a log on stable storage, and a log in memory for tests and simulations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kvarts.raft.errors import Compacted, invariant
from kvarts.raft.ids import LogIndex, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, HardState, Snapshot, limit_bytes


class LogStore(Protocol):
    """The stable part of a log. Reads see everything whose append was acknowledged, and may see more."""

    def initial_state(self) -> tuple[HardState, Membership]:
        """Return what was written last, at the start of a node."""

    def first_index(self) -> LogIndex:
        """Return the index of the first entry that is kept; one more than the last if there is none."""

    def last_index(self) -> LogIndex:
        """Return the index of the last entry."""

    def term_at(self, index: LogIndex) -> Term | None:
        """Return the term of an entry, or of the one before the first; None for any other."""

    def entries(self, start: LogIndex, stop: LogIndex, bytes_max: int | None) -> Sequence[Entry]:
        """Return entries of [start, stop) within `bytes_max`, at least one. Raises Compacted."""

    def snapshot(self) -> Snapshot | None:
        """Return a snapshot that covers at least all that is compacted, or None if it is not ready yet."""


class MemoryStore:
    """A log in memory. What is written is stable at once."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self._snapshot = Snapshot(LogIndex(0), Term(0), Membership())
        # Entry before the first: what the log was compacted to.
        self._base = Entry(Term(0), LogIndex(0))
        self._entries: list[Entry] = []

    def initial_state(self) -> tuple[HardState, Membership]:
        """Return hard state and the membership of the snapshot."""
        return self.hard_state, self._snapshot.membership

    def first_index(self) -> LogIndex:
        """Return the index of the first entry that is kept."""
        return LogIndex(self._base.index + 1)

    def last_index(self) -> LogIndex:
        """Return the index of the last entry."""
        return LogIndex(self._base.index + len(self._entries))

    def term_at(self, index: LogIndex) -> Term | None:
        """Return the term of an entry that is kept, or of the one before them."""
        at = index - self._base.index
        if at == 0:
            return self._base.term
        return self._entries[at - 1].term if 0 < at <= len(self._entries) else None

    def entries(self, start: LogIndex, stop: LogIndex, bytes_max: int | None) -> Sequence[Entry]:
        """Return entries of [start, stop) within `bytes_max`, at least one. Raises Compacted."""
        first = self._base.index + 1
        if start < first:
            raise Compacted(start)
        invariant(stop <= self.last_index() + 1, "read beyond the log", stop, self.last_index())
        return limit_bytes(self._entries[start - first : stop - first], bytes_max)

    def snapshot(self) -> Snapshot | None:
        """Return the snapshot written last."""
        return self._snapshot

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries; what stood at their indexes or after them is superseded."""
        first = self._base.index + 1
        if entries and entries[0].index < first:
            entries = entries[first - entries[0].index :]
        if not entries:
            return
        keep = entries[0].index - first
        invariant(keep <= len(self._entries), "append leaves a gap", entries[0].index, self.last_index())
        del self._entries[keep:]
        self._entries += entries

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot of our own state; the log stays."""
        self._snapshot = snapshot

    def install_snapshot(self, snapshot: Snapshot) -> None:
        """Replace log and state by a leader's snapshot. An older one than ours is ignored."""
        if snapshot.index <= self._snapshot.index:
            return
        self._snapshot = snapshot
        self._base = Entry(snapshot.term, snapshot.index)
        self._entries = []

    def compact(self, index: LogIndex) -> None:
        """Forget entries up to and including `index`. Raises Compacted if they are gone."""
        if index <= self._base.index:
            raise Compacted(index)
        invariant(index <= self.last_index(), "compact beyond the log", index)
        at = index - self._base.index
        self._base = Entry(self._entries[at - 1].term, index)
        self._entries = self._entries[at:]
