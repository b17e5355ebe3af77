"""What a leader knows of one follower's log, and how fast it may send to it."""

from __future__ import annotations

from enum import Enum

from kvarts.raft.ids import LOG_INDEX_MIN, LogIndex
from kvarts.raft.inflights import Inflights


class ProgressState(Enum):
    """How a follower is being fed."""

    PROBE = "probe"
    """Where its log meets ours is not known: one append per heartbeat."""
    REPLICATE = "replicate"
    """It keeps up: appends are sent ahead of their acknowledgement."""
    SNAPSHOT = "snapshot"
    """It needs entries we no longer have: nothing is sent until the snapshot has arrived."""


_REPLICATE = ProgressState.REPLICATE


class Progress:
    """A follower as its leader sees it.

    Invariant: match < next. Entries in (match, next) are in flight. `commit_sent` is the highest commit index sent to
    it; one above next - 1 would tell it nothing more.
    """

    __slots__ = ("commit_sent", "inflights", "match", "next", "paused", "recently_active", "snapshot_pending", "state")

    def __init__(self, next_index: LogIndex, inflights: Inflights, *, recently_active: bool = False) -> None:
        self.match = LOG_INDEX_MIN
        self.next = next_index
        self.state = ProgressState.PROBE
        self.inflights = inflights
        self.recently_active = recently_active
        self.paused = False
        self.commit_sent = LOG_INDEX_MIN
        self.snapshot_pending = LOG_INDEX_MIN

    @property
    def is_paused(self) -> bool:
        """True if no append may be sent now."""
        return self.paused or self.state is ProgressState.SNAPSHOT

    def become_probe(self) -> None:
        """Send one append at a time from the first entry it may lack."""
        after_snapshot = self.snapshot_pending + 1 if self.state is ProgressState.SNAPSHOT else 0
        self._enter(ProgressState.PROBE)
        self.next = LogIndex(max(self.match + 1, after_snapshot))
        self.commit_sent = LogIndex(min(self.commit_sent, self.next - 1))

    def become_replicate(self) -> None:
        """Send ahead, from the first entry it has not acknowledged."""
        self._enter(ProgressState.REPLICATE)
        self.next = LogIndex(self.match + 1)

    def become_snapshot(self, index: LogIndex) -> None:
        """Wait for the snapshot of `index` to arrive."""
        self._enter(ProgressState.SNAPSHOT)
        self.snapshot_pending = index
        self.next = LogIndex(index + 1)
        self.commit_sent = index

    def sent(self, count: int, size: int) -> None:
        """Note an append of `count` entries and `size` payload bytes."""
        if self.state is _REPLICATE:
            if count:
                self.next = following = LogIndex(self.next + count)
                self.inflights.add(LogIndex(following - 1), size)
            # Where the window is full an empty append is a probe, and one is enough.
            self.paused = self.inflights.is_full
        elif count:
            self.paused = True

    def commit_may_help(self, committed: LogIndex) -> bool:
        """Return whether sending `committed` could tell the follower of more than what was sent before."""
        return committed > self.commit_sent and self.commit_sent < self.next - 1

    def acknowledge(self, index: LogIndex) -> bool:
        """Note that it has everything up to `index` on stable storage. Return False for old news."""
        if index <= self.match:
            return False
        self.match = index
        if self.next <= index:
            self.next = LogIndex(index + 1)
        self.paused = False
        return True

    def refuse(self, rejected: LogIndex, hint: LogIndex) -> bool:
        """Note that it lacks the entry `rejected`; ours may meet its log at `hint`. False for old news."""
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.next = LogIndex(self.match + 1)
        else:
            if self.next - 1 != rejected:
                return False
            self.next = LogIndex(max(min(rejected, hint + 1), self.match + 1))
            self.paused = False
        self.commit_sent = LogIndex(min(self.commit_sent, self.next - 1))
        return True

    def __repr__(self) -> str:
        words = [f"<Progress {self.state.value} match={self.match} next={self.next}"]
        words += ["paused"] if self.is_paused else []
        words += [f"snapshot={self.snapshot_pending}"] if self.snapshot_pending else []
        words += [] if self.recently_active else ["inactive"]
        words += [f"inflight={len(self.inflights)}"] if len(self.inflights) else []
        return " ".join(words) + ">"

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.paused = False
        self.snapshot_pending = LOG_INDEX_MIN
        self.inflights.clear()
