"""The tail of the log that is not yet known to be stable, and a snapshot on its way to the store."""

from __future__ import annotations

from collections.abc import Sequence

from kvarts.raft.ids import LogIndex, Term
from kvarts.raft.messages import Entry, Snapshot


class Unstable:
    """Entries from `offset` on. Those below `handed_out` are being written; what is written may still be superseded.

    Invariant: offset <= handed_out <= offset + len(entries). Entries leave only when an acknowledgement names the very
    entry that is here, so a late one for an entry that was superseded removes nothing.
    """

    __slots__ = ("entries", "handed_out", "offset", "snapshot", "snapshot_handed_out")

    def __init__(self, offset: LogIndex) -> None:
        self.offset = offset
        self.handed_out = offset
        self.entries: list[Entry] = []
        self.snapshot: Snapshot | None = None
        self.snapshot_handed_out = False

    def first_index(self) -> LogIndex | None:
        """Return the first index of the log if a snapshot here decides it."""
        return LogIndex(self.snapshot.index + 1) if self.snapshot else None

    def last_index(self) -> LogIndex | None:
        """Return the last index of the log if it is decided here."""
        if self.entries:
            return self.entries[-1].index
        return self.snapshot.index if self.snapshot else None

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
        del self.entries[: at + 1]
        self.offset = LogIndex(index + 1)
        self.handed_out = LogIndex(max(self.handed_out, self.offset))

    def stable_snapshot_to(self, index: LogIndex) -> None:
        """Let go of the snapshot of `index`."""
        if self.snapshot is not None and self.snapshot.index == index:
            self.snapshot = None
            self.snapshot_handed_out = False

    def restore(self, snapshot: Snapshot) -> None:
        """Replace everything by a snapshot."""
        self.offset = self.handed_out = LogIndex(snapshot.index + 1)
        self.entries = []
        self.snapshot = snapshot
        self.snapshot_handed_out = False

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries; what stood at their indexes or after them is superseded and will be written again."""
        start = entries[0].index
        if start <= self.offset:
            self.entries = list(entries)
            self.offset = self.handed_out = start
            return
        del self.entries[start - self.offset :]
        self.entries += entries
        self.handed_out = LogIndex(min(self.handed_out, start))
