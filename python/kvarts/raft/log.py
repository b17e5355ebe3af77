"""The log of one node: the stable part in its store, the unstable tail, and how far it is committed and applied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kvarts.raft.errors import Compacted, invariant
from kvarts.raft.ids import LOG_INDEX_MIN, TERM_NONE, LogIndex, Term
from kvarts.raft.messages import Entry, EntryKind, Snapshot, entry_bytes, limit_bytes
from kvarts.raft.storage import LogStore
from kvarts.raft.unstable import Unstable

SCAN_BYTES_MAX = 1 << 20


class RaftLog:
    """Invariant: applied <= applying <= committed <= last index. Entries in (applied, applying] are being applied."""

    __slots__ = (
        "_apply_bytes_max",
        "_apply_paused",
        "_applying_bytes",
        "applied",
        "applying",
        "committed",
        "store",
        "unstable",
    )

    def __init__(self, store: LogStore, apply_bytes_max: int | None = None) -> None:
        self.store = store
        self.unstable = Unstable(LogIndex(store.last_index() + 1))
        self.committed = self.applying = self.applied = LogIndex(store.first_index() - 1)
        self._apply_bytes_max = apply_bytes_max
        self._applying_bytes = 0
        self._apply_paused = False

    def first_index(self) -> LogIndex:
        """Return the index of the first entry that is kept."""
        first = self.unstable.first_index()
        return self.store.first_index() if first is None else first

    def last_index(self) -> LogIndex:
        """Return the index of the last entry, stable or not."""
        unstable = self.unstable
        return unstable.offset + len(unstable.entries) - 1  # type: ignore[return-value]  # LogIndex() would cost a call

    def last_term(self) -> Term:
        """Return the term of the last entry."""
        last = self.last_index()
        term = self.term_at(last)
        invariant(term is not None, "the last entry has no term", last)
        return term or TERM_NONE

    def term_at(self, index: LogIndex) -> Term | None:
        """Return the term of an entry, or of the one before the first; None if it is compacted or not there."""
        unstable = self.unstable
        if index >= unstable.offset or (unstable.snapshot is not None and index <= unstable.snapshot.index):
            return unstable.term_at(index)
        if index == unstable.offset - 1 and unstable.base_term is not None:
            return unstable.base_term
        return self.store.term_at(index)

    def slice(self, start: LogIndex, stop: LogIndex, bytes_max: int | None) -> Sequence[Entry]:
        """Return entries of [start, stop) within `bytes_max`, at least one. Raises Compacted."""
        if start >= stop:
            return ()
        snapshot = self.unstable.snapshot
        if snapshot is not None and start <= snapshot.index:
            raise Compacted(start)
        # Where no snapshot here decides, the store knows what it has compacted.
        unstable, offset = self.unstable.entries, self.unstable.offset
        if start >= offset:
            return limit_bytes(unstable[start - offset : stop - offset], bytes_max)
        cut = LogIndex(min(stop, offset))
        stable = limit_bytes(self.unstable.tail_of(start, cut), bytes_max) or self.store.entries(start, cut, bytes_max)
        if stop <= offset or len(stable) < cut - start:
            return stable
        return limit_bytes([*stable, *unstable[: stop - offset]], bytes_max)

    def entries_from(self, start: LogIndex, bytes_max: int | None) -> Sequence[Entry]:
        """Return entries from `start` on within `bytes_max`, at least one if there is one. Raises Compacted."""
        unstable = self.unstable
        if start >= unstable.offset:
            return limit_bytes(unstable.entries[start - unstable.offset :], bytes_max)
        return self.slice(start, LogIndex(self.last_index() + 1), bytes_max)

    def is_up_to_date(self, last: LogIndex, last_term: Term) -> bool:
        """Return whether a log that ends so is at least as complete as ours. Source: Raft paper 5.4.1."""
        our_term = self.last_term()
        return last_term > our_term or (last_term == our_term and last >= self.last_index())

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries, superseding what stood at their indexes; committed entries never are."""
        if not entries:
            return
        invariant(
            entries[0].index > self.committed, "a committed entry would be superseded", entries[0], self.committed
        )
        self.unstable.append(entries)

    def try_append(self, index: LogIndex, term: Term, entries: Sequence[Entry]) -> LogIndex | None:
        """Add a leader's entries that follow (index, term); return the last one's index, or None if ours differs there.

        Entries that are here already stay as they are: an old message must not cut off newer ones. Source: paper 5.3.
        """
        if self.term_at(index) != term:
            return None
        if entries:
            self.append(entries[self._known_count(entries) :])
        return index + len(entries)  # type: ignore[return-value]  # LogIndex() would cost a call

    def _known_count(self, entries: Sequence[Entry]) -> int:
        if entries[0].index > self.last_index():
            return 0
        for count, entry in enumerate(entries):
            if self.term_at(entry.index) != entry.term:
                return count
        return len(entries)

    def meeting_point(self, index: LogIndex, term: Term) -> tuple[LogIndex, Term]:
        """Return the last entry at or before `index` whose term is at most `term`: no later one can be in both logs."""
        while index > LOG_INDEX_MIN:
            ours = self.term_at(index)
            if ours is None:
                return index, TERM_NONE
            if ours <= term:
                return index, ours
            index = LogIndex(index - 1)
        return LOG_INDEX_MIN, TERM_NONE

    def commit_to(self, index: LogIndex) -> None:
        """Note that entries up to `index` are committed; an old word changes nothing."""
        if index > self.committed:
            last = self.last_index()
            invariant(index <= last, "committed what is not here: was the log lost?", index, last)
            self.committed = index

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the log by a snapshot."""
        self.committed = snapshot.index
        self.unstable.restore(snapshot)

    def next_committed(self, *, allow_unstable: bool) -> Sequence[Entry]:
        """Return committed entries to apply next, within what may be applied at once."""
        if self.applying >= self.committed or self._apply_paused or self.unstable.snapshot is not None:
            return ()
        stop = self._appliable_to(allow_unstable=allow_unstable) + 1
        room = None if self._apply_bytes_max is None else self._apply_bytes_max - self._applying_bytes
        return self.slice(LogIndex(self.applying + 1), LogIndex(stop), room)

    def has_next_committed(self, *, allow_unstable: bool) -> bool:
        """Return whether `next_committed` would return something."""
        if self.applying >= self.committed:
            return False
        if self._apply_paused or self.unstable.snapshot is not None:
            return False
        return self.applying < self._appliable_to(allow_unstable=allow_unstable)

    def hand_out_to_apply(self, entries: Sequence[Entry], *, allow_unstable: bool) -> None:
        """Note that `entries`, as next_committed returned them, are being applied."""
        self.applying = entries[-1].index
        self.unstable.forget_tail(self.applying)
        if self._apply_bytes_max is None:
            return
        self._applying_bytes += entry_bytes(entries)
        # Less was handed out than there is: the next entry would have been too much.
        cut_short = self.applying < self._appliable_to(allow_unstable=allow_unstable)
        self._apply_paused = cut_short or self._applying_bytes >= self._apply_bytes_max

    def applied_to(self, index: LogIndex, size: int) -> None:
        """Note that entries up to `index` are applied; `size` of what was handed out is done."""
        invariant(self.applied <= index <= self.committed, "applied out of order", self.applied, index, self.committed)
        self.applied = index
        self.applying = max(self.applying, index)
        left = self._applying_bytes - size
        self._applying_bytes = left if left > 0 else 0
        self._apply_paused = self._apply_bytes_max is not None and self._applying_bytes >= self._apply_bytes_max

    def has_unapplied_change(self) -> bool:
        """Return whether a committed entry that is not yet applied changes the membership."""
        # What is compacted was applied, even if the word of it is still on its way.
        start = LogIndex(max(self.applied + 1, self.first_index()))
        stop = LogIndex(self.committed + 1)
        return any(entry.kind is EntryKind.CONFIG for entry in self._scan(start, stop))

    def last_change_but_one(self) -> LogIndex:
        """Return the index of the last change of membership beyond the commit index that another one follows, or 0.

        It is committed, whatever a crash has left of the commit index: a leader takes no second change before it has
        applied the first. A node that did not know this would stand by a membership two changes old, whose majorities
        need not overlap with the latest.
        """
        start, stop = LogIndex(self.committed + 1), LogIndex(self.last_index() + 1)
        changes = [entry.index for entry in self._scan(start, stop) if entry.kind is EntryKind.CONFIG]
        return changes[-2] if len(changes) > 1 else LOG_INDEX_MIN

    def _scan(self, start: LogIndex, stop: LogIndex) -> Iterator[Entry]:
        while start < stop:
            page = self.slice(start, stop, SCAN_BYTES_MAX)
            yield from page
            start = LogIndex(start + len(page))

    def _appliable_to(self, *, allow_unstable: bool) -> LogIndex:
        committed, offset = self.committed, self.unstable.offset
        return committed if allow_unstable or committed < offset else LogIndex(offset - 1)
