"""The muscle's log as the replicator reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kvarts.node.bridge import entries_of, hard_state_of
from kvarts.node.codec import decode_membership
from kvarts.raft.errors import Compacted
from kvarts.raft.ids import LogIndex, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, HardState, Snapshot
from kvarts.replication.events import GroupId

BYTES_ANY = 2**63 - 1


class LogReads(Protocol):
    """What is read from the muscle: see `_native.Muscle`."""

    def hard_state(self, group: int) -> tuple[int, int, int] | None:
        """Return term, vote and commit as written last."""

    def first_index(self, group: int) -> int:
        """Return the index of the first entry kept."""

    def last_index(self, group: int) -> int:
        """Return the index of the last entry."""

    def term_at(self, group: int, index: int) -> int | None:
        """Return the term of an entry, or of the one before the first."""

    def entries(
        self, group: int, start: int, stop: int, bytes_max: int
    ) -> Sequence[tuple[int, int, int, bytes | None, int]]:
        """Return (term, index, kind, payload unless NORMAL, size) of entries within `bytes_max`, at least one."""

    def snapshot(self, group: int) -> tuple[int, int, bytes] | None:
        """Return index, term and membership of the state that survives without the log."""

    def position(self, group: int) -> tuple[int, int]:
        """Return index and term of the applied position."""

    def membership(self, group: int) -> bytes:
        """Return the membership stored with the applied position."""


class MuscleLog:
    """The node's log, one part per group."""

    def __init__(self, muscle: LogReads) -> None:
        self._muscle = muscle

    def group(self, group: GroupId) -> GroupLog:
        """Return one group's part."""
        return GroupLog(self._muscle, group)


class GroupLog:
    """One group's part of the log: a `kvarts.raft.storage.LogStore`."""

    def __init__(self, muscle: LogReads, group: GroupId) -> None:
        self._muscle = muscle
        self._group = group

    def initial_state(self) -> tuple[HardState, Membership]:
        """Return the hard state, and the membership at the applied position."""
        hard = hard_state_of(self._muscle.hard_state(self._group))
        # The commit index is written lazily; what was applied had been committed.
        applied = LogIndex(self._muscle.position(self._group)[0])
        hard = HardState(hard.term, hard.vote, max(hard.commit, applied))
        return hard, decode_membership(self._muscle.membership(self._group))

    def first_index(self) -> LogIndex:
        """Return the index of the first entry that is kept."""
        return LogIndex(self._muscle.first_index(self._group))

    def last_index(self) -> LogIndex:
        """Return the index of the last entry."""
        return LogIndex(self._muscle.last_index(self._group))

    def term_at(self, index: LogIndex) -> Term | None:
        """Return the term of an entry, or of the one before the first; None for any other."""
        term = self._muscle.term_at(self._group, index)
        return None if term is None else Term(term)

    def entries(self, start: LogIndex, stop: LogIndex, bytes_max: int | None) -> Sequence[Entry]:
        """Return entries of [start, stop) within `bytes_max`, at least one. Raises Compacted."""
        if start < self.first_index():
            raise Compacted(start)
        return entries_of(self._muscle.entries(self._group, start, stop, BYTES_ANY if bytes_max is None else bytes_max))

    def snapshot(self) -> Snapshot | None:
        """Return the latest state that survives a crash, or None if there is none yet."""
        found = self._muscle.snapshot(self._group)
        if found is None:
            return None
        index, term, membership = found
        return Snapshot(LogIndex(index), Term(term), decode_membership(membership))
