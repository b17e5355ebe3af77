"""Options of a replicator."""

from __future__ import annotations

from dataclasses import dataclass

from kvarts.raft.options import RaftOptions


@dataclass(frozen=True, kw_only=True)
class ReplicatorOptions:
    """Options of all replicas of a node."""

    raft: RaftOptions
    tick_ms: int = 100
    """One tick of Raft. Ten of them without a heartbeat make an election."""
    ticks_max: int = 2
    """More ticks than this between two turns are a pause: the time was not measured, leases are void."""
    commit_notice_ms: int = 5
    """How long after a commit followers hear of it where no append tells them sooner; without `eager_commit`."""
    gather_ms: int = 8
    """How long writes wait at most for the entry before theirs to commit: those that come meanwhile go with them."""
    linger_ms: int = 1
    """How long writes that waited for an entry go on waiting: whoever it answers may write again and join them.

    So long for each group with writes that wait, up to `linger_ms_max`: with many groups the next write is often for
    another."""
    linger_ms_max: int = 3
    """What that comes to at most, with more groups than one."""
    entry_bytes_max: int = 1 << 20
    """Batches of writes that become one entry, unless one alone is larger."""
    keep_entries: int = 1000
    """Entries kept behind what the state machine has flushed, for followers that are a little late."""

    def validate(self) -> None:
        """Raise ValueError for options that contradict each other."""
        self.raft.validate()
        if not self.raft.async_storage:
            raise ValueError("a replicator needs async_storage")
        if self.raft.forward_proposals:
            raise ValueError("a replicator refuses what it does not lead: forward_proposals must be off")
        if min(self.tick_ms, self.ticks_max, self.commit_notice_ms, self.entry_bytes_max) < 1:
            raise ValueError("tick_ms, ticks_max, commit_notice_ms and entry_bytes_max must be positive")
        if min(self.keep_entries, self.gather_ms, self.linger_ms, self.linger_ms_max) < 0:
            raise ValueError("keep_entries, gather_ms, linger_ms and linger_ms_max must not be negative")
