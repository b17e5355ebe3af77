"""Options of one node in one group."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kvarts.raft.ids import NodeId

MIB = 1 << 20


class ReadMode(Enum):
    """How a leader learns that it may serve a linearizable read."""

    SAFE = "safe"
    """It asks a quorum, once for all reads of a turn. Source: Raft thesis 6.4."""
    LEASE = "lease"
    """It trusts that no other leader arose since a quorum answered its last heartbeat; if in doubt, it asks."""


@dataclass(frozen=True, kw_only=True)
class RaftOptions:
    """Options of one node in one group. Times are in ticks; the caller says how long a tick is."""

    node: NodeId
    election_ticks: int = 10
    """A follower that hears nothing for this many ticks, up to twice as many, stands for election."""
    heartbeat_ticks: int = 1
    pre_vote: bool = True
    """Ask whether an election could be won before disturbing the term. Source: Raft thesis 9.6."""
    check_quorum: bool = True
    """A leader that a quorum does not answer steps down; voters that hear a leader do not vote. Thesis 6.2, 4.2.3."""
    async_storage: bool = True
    """Appends and applies are messages and acknowledged by messages; otherwise `advance` acknowledges both."""
    append_bytes_max: int | None = MIB
    """Entries of one APPEND, at least one entry."""
    inflight_count_max: int = 256
    """Unacknowledged APPENDs per follower."""
    inflight_bytes_max: int | None = 16 * MIB
    """Their payload; at least twice `append_bytes_max` keeps the pipe full."""
    uncommitted_bytes_max: int | None = 64 * MIB
    """Payload of proposals that this leader has not yet applied; more are dropped. One is always taken."""
    apply_bytes_max: int | None = 16 * MIB
    """Committed entries handed out and not yet applied."""
    eager_commit: bool = True
    """Tell followers of a commit at once; otherwise with the next append or heartbeat, or by `tell_commit`."""
    read_mode: ReadMode = ReadMode.SAFE
    promise_ticks: int | None = None
    """With leases a voter that has heard the leader helps nobody else to lead for so long. None: `election_ticks`.

    Fewer make leases shorter, and another leads sooner where the connection to the leader broke."""
    lease_margin_ticks: int = 2
    """A lease ends this many ticks before the promise does, for clocks that drift and ticks that round."""
    vote_quiet_ticks: int = 0
    """After its start a node votes for nobody for this long. With leases: what it may have promised before."""
    empty_votes: bool = True
    """A replica that knows of no members votes. False where voters are only made of learners that have caught up: one
    that is empty may have been a voter before, and hold no longer what it acknowledged."""
    step_down_on_removal: bool = True
    """A leader that is no voter any more resigns once the change is committed. Source: Raft paper 6."""
    forward_proposals: bool = True
    """Followers send proposals on to the leader; otherwise they drop them."""
    check_config_changes: bool = True
    """Refuse a change of membership while another is under way; without it whoever applies must."""

    def validate(self) -> None:
        """Raise ValueError for options that contradict each other."""
        faults = {
            "node ids begin at 1": self.node < 1,
            "heartbeat_ticks must be at least 1": self.heartbeat_ticks < 1,
            "election_ticks must exceed heartbeat_ticks": self.election_ticks <= self.heartbeat_ticks,
            "inflight_count_max must be at least 1": self.inflight_count_max < 1,
            "apply_bytes_max must be at least 1": self.apply_bytes_max is not None and self.apply_bytes_max < 1,
            "promise_ticks must exceed lease_margin_ticks, and not election_ticks": self.promise_ticks is not None
            and not self.lease_margin_ticks < self.promise_ticks <= self.election_ticks,
            "leases need check_quorum": self.read_mode is ReadMode.LEASE and not self.check_quorum,
            "lease_margin_ticks must be positive": self.lease_margin_ticks < 1,
        }
        for fault, found in faults.items():
            if found:
                raise ValueError(fault)
