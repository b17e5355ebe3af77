"""Taking a change of membership that the state machine has reached. Source: Raft paper 6, thesis 4."""

from __future__ import annotations

from kvarts.raft.confchange import ConfigChange, apply_change
from kvarts.raft.core import Core
from kvarts.raft.heartbeat import confirm_rounds, release_parked_reads
from kvarts.raft.ids import NODE_NONE
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Role
from kvarts.raft.replication import advance_commit, broadcast_append, probe_all
from kvarts.raft.transfer import give_up_transfer


def reconfigure(core: Core, change: ConfigChange) -> Membership:
    """Take a committed change; return the membership it leads to. Raises ConfigChangeRefused."""
    membership = apply_change(core.tracker.membership, change)
    core.tracker.switch(membership, core.log.last_index())
    if core.role is Role.LEADER:
        _lead_changed_group(core, membership)
    return membership


def _lead_changed_group(core: Core, membership: Membership) -> None:
    if core.node not in membership.voters.voters:
        if core.options.step_down_on_removal:
            core.become_follower(core.term, NODE_NONE)
        return
    if advance_commit(core):
        # The new quorum had more in common than the old one.
        release_parked_reads(core)
        broadcast_append(core)
    else:
        probe_all(core)
    confirm_rounds(core)
    if core.transferee not in membership.voters.voters:
        give_up_transfer(core)
