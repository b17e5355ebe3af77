"""What a leader does with answers, proposals and reads."""

from __future__ import annotations

from collections.abc import Sequence

from kvarts.raft.confchange import LEAVE_JOINT
from kvarts.raft.core import Core
from kvarts.raft.errors import Busy, ProposalDropped
from kvarts.raft.heartbeat import broadcast_heartbeat, confirm_rounds, release_parked_reads, request_read
from kvarts.raft.ids import LOG_INDEX_MIN, NODE_NONE, TERM_NONE, LogIndex, NodeId
from kvarts.raft.messages import Entry, EntryKind, Message, Role
from kvarts.raft.progress import Progress, ProgressState
from kvarts.raft.reads import ReadRequest
from kvarts.raft.replication import advance_commit, broadcast_append, send_append
from kvarts.raft.transfer import begin_transfer, give_up_transfer, send_timeout_now

NOTHING = Entry(TERM_NONE, LOG_INDEX_MIN)
_PROBE, _REPLICATE = ProgressState.PROBE, ProgressState.REPLICATE
"""By these names in what every entry passes: to look up a member of an enumeration costs as much as three calls."""


def on_append_response(core: Core, message: Message) -> None:
    """A follower, or our own store, tells how far its log is stable, or that it lacks what an append builds on."""
    progress = core.tracker.progress.get(message.sender)
    if progress is None:
        return
    progress.recently_active = True
    if message.reject:
        _on_refusal(core, message, progress)
        return
    index = message.index
    probed = progress.state is _PROBE and progress.match == index
    if progress.acknowledge(index) or probed:
        _on_progress(core, message.sender, progress, index)


def _on_refusal(core: Core, message: Message, progress: Progress) -> None:
    hint = message.hint
    if message.log_term > 0:
        # Entries of ours with a later term than the follower's at the hint cannot be in its log: skip them all at once.
        hint, _ = core.log.meeting_point(hint, message.log_term)
    if progress.refuse(message.index, hint):
        if progress.state is ProgressState.REPLICATE:
            progress.become_probe()
        send_append(core, message.sender, progress)


def _on_progress(core: Core, node: NodeId, progress: Progress, index: LogIndex) -> None:
    if progress.state is _REPLICATE:
        progress.inflights.free_to(index)
    elif progress.state is _PROBE or progress.match + 1 >= core.log.first_index():
        # A snapshot of any age will do, if our log goes on from there.
        progress.become_probe()
        progress.become_replicate()
    # Who tells of what is committed moves no quorum beyond it.
    if index > core.log.committed and advance_commit(core):
        release_parked_reads(core)
        if core.options.eager_commit:
            broadcast_append(core)
        else:
            core.commit_owed = True
    elif core.options.eager_commit and node != core.node and progress.commit_may_help(core.log.committed):
        send_append(core, node, progress)
    if node == core.node:
        return
    # The window may have room for several appends now.
    while progress.next <= core.log.last_index() and send_append(core, node, progress, if_empty=False):
        pass
    if node == core.transferee and progress.match == core.log.last_index():
        send_timeout_now(core, node)


def on_heartbeat_response(core: Core, message: Message) -> None:
    """A follower lives and still takes us for the leader."""
    progress = core.tracker.progress.get(message.sender)
    if progress is not None:
        take_answer(core, message.sender, progress, message.round)


def take_answer(core: Core, node: NodeId, progress: Progress, round_number: int) -> None:
    """A follower answers a round of heartbeats."""
    progress.recently_active = True
    progress.paused = False
    # Also one that has everything is sent an empty append while it is probed: the answer ends the probing.
    if progress.match < core.log.last_index() or progress.state is ProgressState.PROBE:
        send_append(core, node, progress)
    core.reads.answer(node, round_number)
    confirm_rounds(core)


def on_propose(core: Core, message: Message) -> None:
    """Append proposals and send them out. Raises ProposalDropped."""
    propose(core, message.entries)


def propose(core: Core, proposals: Sequence[Entry]) -> None:
    """Append proposals and send them out. Raises ProposalDropped."""
    if not core.is_member:
        raise ProposalDropped("this node was removed from the group")
    if core.transferee != NODE_NONE:
        raise ProposalDropped("the leadership is being transferred")
    pending = core.config_pending
    if any([proposal[2] for proposal in proposals]):  # noqa: C419  # twice as fast as a generator; only NORMAL is false
        proposals = _without_untimely_changes(core, proposals)
    if not core.append_own(proposals):
        core.config_pending = pending
        raise Busy("too much is uncommitted")
    broadcast_append(core)


def _without_untimely_changes(core: Core, proposals: Sequence[Entry]) -> Sequence[Entry]:
    """Replace each change of membership that may not be made now by an empty entry."""
    taken = list(proposals)
    joint = core.tracker.membership.is_joint
    for at, proposal in enumerate(taken):
        if proposal.kind is not EntryKind.CONFIG:
            continue
        change = proposal.change
        changes_nothing = not change.changes and not change.leaves_joint
        untimely = core.config_pending > core.log.applied or joint is not change.leaves_joint or changes_nothing
        if untimely and core.options.check_config_changes:
            taken[at] = NOTHING
        else:
            core.config_pending = LogIndex(core.log.last_index() + at + 1)
    return taken


def leave_joint_if_due(core: Core) -> None:
    """Propose to leave a joint membership that wants to be left, once it is applied.

    A transfer may drop the proposal; the next applied entry brings us here again, or the new leader there.
    """
    if not core.tracker.membership.auto_leave:
        return
    due = core.log.applied >= core.config_pending
    if due and core.role is Role.LEADER and core.transferee == NODE_NONE and core.is_member:
        propose(core, [NOTHING._replace(kind=EntryKind.CONFIG, payload=LEAVE_JOINT)])


def on_read_index(core: Core, message: Message) -> None:
    """A client here or at a follower wants a linearizable read."""
    request_read(core, ReadRequest(message.sender, message.context))


def on_transfer(core: Core, message: Message) -> None:
    """Someone wants `sender` to lead. Who may not lead does not end the transfer to another."""
    if message.sender not in core.tracker.membership.voters.voters:
        return
    if core.transferee not in {NODE_NONE, message.sender}:
        give_up_transfer(core)
    begin_transfer(core, message.sender)


def tick(core: Core) -> None:
    """One tick of a leader: give up a transfer, step down without a quorum or a disk, send heartbeats."""
    core.heartbeat_elapsed += 1
    core.election_elapsed += 1
    if core.options.check_quorum and _store_stands_still(core):
        core.become_follower(core.term, NODE_NONE)
        return
    if core.election_elapsed >= core.options.election_ticks:
        core.election_elapsed = 0
        if core.options.check_quorum and not _keeps_quorum(core):
            core.become_follower(core.term, NODE_NONE)
            return
        give_up_transfer(core)
    if core.heartbeat_elapsed >= core.options.heartbeat_ticks:
        core.heartbeat_elapsed = 0
        broadcast_heartbeat(core)


def _store_stands_still(core: Core) -> bool:
    """Count a tick; return whether an entry has waited for our own store for an election timeout.

    Followers commit without us, but we answer no client before we have applied, and apply only what is stable here.
    """
    own = core.tracker.progress.get(core.node)
    if own is None or own.match >= core.stable_awaited:
        core.stable_awaited, core.stable_awaited_ticks = core.log.last_index(), 0
        return False
    core.stable_awaited_ticks += 1
    return core.stable_awaited_ticks >= core.options.election_ticks


def _keeps_quorum(core: Core) -> bool:
    """Return whether a quorum was heard from since the last call. Source: Raft thesis 6.2."""
    own = core.tracker.progress.get(core.node)
    if own is not None:
        own.recently_active = True
    kept = core.tracker.quorum_active()
    for _, progress in core.tracker.others(core.node):
        progress.recently_active = False
    return kept
