"""One group's part of a node's log, as its records say: entries supersede, a snapshot replaces, compaction forgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kvarts.raft.errors import Compacted, invariant
from kvarts.raft.ids import LogIndex, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, HardState, Snapshot, limit_bytes
from kvarts.replication.events import GroupId
from kvarts.statemachine.user_keys import UserKeys


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state machine on disk: everything up to an entry."""

    index: LogIndex
    term: Term
    membership: Membership
    machine: UserKeys
    system: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """One framed piece of the node's log. `content` decides what it is."""

    group: GroupId
    content: HardState | Entry | Checkpoint | LogIndex


class GroupLog:
    """What a reader of the records sees. Implements kvarts.raft's LogStore."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.hard_state = HardState()
        self.checkpoint = checkpoint
        """The latest that is durable."""
        self._base = (checkpoint.index, checkpoint.term)
        self._entries: list[Entry] = []

    def play(self, content: HardState | Entry | Checkpoint | LogIndex) -> None:
        """Take one record."""
        if isinstance(content, HardState):
            self.hard_state = content
        elif isinstance(content, Entry):
            self._append(content)
        elif isinstance(content, Checkpoint):
            # A snapshot of a leader; the log before it is void.
            self._base, self._entries = (content.index, content.term), []
        else:
            self._compact(content)

    def _append(self, entry: Entry) -> None:
        at = entry.index - self._base[0] - 1
        invariant(0 <= at <= len(self._entries), "a hole in the log", entry, self._base)
        del self._entries[at:]
        self._entries.append(entry)

    def _compact(self, index: LogIndex) -> None:
        at = index - self._base[0]
        if 0 < at <= len(self._entries):
            self._base = index, self._entries[at - 1].term
            del self._entries[:at]

    def entry(self, index: LogIndex) -> Entry | None:
        """Return an entry that is kept."""
        at = index - self._base[0] - 1
        return self._entries[at] if 0 <= at < len(self._entries) else None

    def kept(self) -> Sequence[Entry]:
        """Return all entries."""
        return self._entries

    def covers(self, index: LogIndex, term: Term) -> bool:
        """Return whether this log has the entry, or had it before it was compacted."""
        return index < self._base[0] or self.term_at(index) == term

    def initial_state(self) -> tuple[HardState, Membership]:
        """Return hard state and membership at the checkpoint, which may be ahead of the commit index."""
        hard = self.hard_state
        invariant(hard.commit <= self.last_index(), "a commit index without its entries", hard, self.last_index())
        commit = LogIndex(max(hard.commit, self.checkpoint.index))
        return HardState(hard.term, hard.vote, commit), self.checkpoint.membership

    def first_index(self) -> LogIndex:
        """Return the index of the first entry that is kept."""
        return LogIndex(self._base[0] + 1)

    def last_index(self) -> LogIndex:
        """Return the index of the last entry."""
        return LogIndex(self._base[0] + len(self._entries))

    def term_at(self, index: LogIndex) -> Term | None:
        """Return the term of an entry, or of the one before the first."""
        if index == self._base[0]:
            return self._base[1]
        entry = self.entry(index)
        return None if entry is None else entry.term

    def entries(self, start: LogIndex, stop: LogIndex, bytes_max: int | None) -> Sequence[Entry]:
        """Return entries of [start, stop) within `bytes_max`, at least one. Raises Compacted."""
        base = self._base[0] + 1
        if start < base:
            raise Compacted(start)
        invariant(stop <= self.last_index() + 1, "read beyond the log", stop, self.last_index())
        return limit_bytes(self._entries[start - base : stop - base], bytes_max)

    def snapshot(self) -> Snapshot | None:
        """Return the latest durable checkpoint, without its rows."""
        point = self.checkpoint
        return Snapshot(point.index, point.term, point.membership)
