"""The tail of the log that is not yet known to be stable, and a snapshot on its way to the store."""

from __future__ import annotations

from collections.abc import Sequence

from kvarts.raft.ids import LogIndex, Term
from kvarts.raft.messages import Entry, Snapshot

TAIL_MAX = 64
"""Entries remembered after they are stable, at most; one that is applied is forgotten."""


class Unstable:
    """Entries from `offset` on. Those below `handed_out` are being written; what is written may still be superseded.

    Invariant: offset <= handed_out <= offset + len(entries). Entries leave only when an acknowledgement names the very
    entry that is here, so a late one for an entry that was superseded removes nothing.

    Of what is stable the latest is remembered, as a node asks for it next: `tail` are entries that end before
    `offset`, and `base_term` is the term of the entry before it. Either may be missing; then the store is asked.
    """

    __slots__ = ("base_term", "entries", "handed_out", "offset", "snapshot", "snapshot_handed_out", "tail")

    def __init__(self, offset: LogIndex) -> None:
        self.offset = offset
        self.handed_out = offset
        self.entries: list[Entry] = []
        self.snapshot: Snapshot | None = None
        self.snapshot_handed_out = False
        self.base_term: Term | None = None
        self.tail: list[Entry] = []

    def first_index(self) -> LogIndex | None:
        """Return the first index of the log if a snapshot here decides it."""
        return LogIndex(self.snapshot.index + 1) if self.snapshot else None

    def term_at(self, index: LogIndex) -> Term | None:
        """Return the term of an entry that is here."""
        at = index - self.offset
        if 0 <= at < len(self.entries):
            return self.entries[at].term
        return self.snapshot.term if self.snapshot and self.snapshot.index == index else None

    def next_entries(self) -> Sequence[Entry]:
        """Return the entries not yet handed to the store."""
        return self.entries[self.handed_out - self.offset :]

    def next_snapshot(self) -> Snapshot | None:
        """Return the snapshot if it was not yet handed to the store."""
        return None if self.snapshot_handed_out else self.snapshot

    def hand_out(self) -> None:
        """Note that all of it was handed to the store."""
        self.handed_out = LogIndex(self.offset + len(self.entries))
        self.snapshot_handed_out = self.snapshot is not None

    def stable_to(self, index: LogIndex, term: Term) -> None:
        """Let go of entries up to `index`, if that entry is here and of that term; else the word is old."""
        at = index - self.offset
        if not 0 <= at < len(self.entries) or self.entries[at].term != term:
            return
        self.tail += self.entries[: at + 1]
        if len(self.tail) > TAIL_MAX:
            self.tail = []
        del self.entries[: at + 1]
        self.base_term = term
        self.offset = offset = LogIndex(index + 1)
        self.handed_out = max(self.handed_out, offset)

    def tail_of(self, start: LogIndex, stop: LogIndex) -> Sequence[Entry]:
        """Return the stable entries of [start, stop), not empty, if all are remembered and plain; else none."""
        tail = self.tail
        if not tail or start < tail[0][1] or stop > self.offset:
            return ()
        first = tail[0][1]
        found = tail[start - first : stop - first]
        # A change of membership, or a command, is taken as the store gives it back.
        return () if any([entry[2] for entry in found]) else found  # noqa: C419  # twice as fast as a generator

    def forget_tail(self, index: LogIndex) -> None:
        """Forget remembered entries up to `index`."""
        if self.tail:
            del self.tail[: max(0, index + 1 - self.tail[0][1])]

    def stable_snapshot_to(self, index: LogIndex) -> None:
        """Let go of the snapshot of `index`."""
        if self.snapshot is not None and self.snapshot.index == index:
            self.snapshot = None
            self.snapshot_handed_out = False

    def restore(self, snapshot: Snapshot) -> None:
        """Replace everything by a snapshot."""
        self.offset = self.handed_out = LogIndex(snapshot.index + 1)
        self.entries = []
        self.tail = []
        self.base_term = snapshot.term
        self.snapshot = snapshot
        self.snapshot_handed_out = False

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries; what stood at their indexes or after them is superseded and will be written again."""
        start = entries[0].index
        if start <= self.offset:
            if start < self.offset:
                self.tail, self.base_term = [], None
            self.entries = list(entries)
            self.offset = self.handed_out = start
            return
        del self.entries[start - self.offset :]
        self.entries += entries
        self.handed_out = min(self.handed_out, start)
