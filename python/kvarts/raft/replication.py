"""How a leader feeds its followers and finds out what is committed."""

from __future__ import annotations

from kvarts.raft.core import Core
from kvarts.raft.errors import Compacted
from kvarts.raft.heartbeat import broadcast_heartbeat
from kvarts.raft.ids import LogIndex, NodeId
from kvarts.raft.messages import Message, MessageKind, Role, payload_bytes
from kvarts.raft.progress import Progress, ProgressState

_APPEND, _REPLICATE = MessageKind.APPEND, ProgressState.REPLICATE
"""By these names in what every entry passes: to look up a member of an enumeration costs as much as three calls."""


def broadcast_append(core: Core) -> None:
    """Send everyone what it lacks, or else the commit index."""
    for node, progress in core.tracker.others(core.node):
        send_append(core, node, progress)


def tell_commit(core: Core) -> None:
    """Tell those to whom the commit index is news: by heartbeats where all hold what it covers, else by appends.

    A heartbeat costs a follower less, and carries no more than the follower is known to have.
    """
    if core.role is not Role.LEADER:
        return
    committed = core.log.committed
    waiting = [(node, each) for node, each in core.tracker.others(core.node) if each.commit_may_help(committed)]
    if not waiting:
        return
    if all(progress.match >= committed for _, progress in waiting):
        broadcast_heartbeat(core)
        return
    for node, progress in waiting:
        send_append(core, node, progress)


def probe_all(core: Core) -> None:
    """Send to those who lack something."""
    for node, progress in core.tracker.others(core.node):
        send_append(core, node, progress, if_empty=False)


def send_append(core: Core, to: NodeId, progress: Progress, *, if_empty: bool = True) -> bool:
    """Send one append if the follower's window allows; return whether something was sent.

    Through a full window goes an append without entries: if all that filled it was lost, the answer to this one tells.
    """
    if progress.paused or progress.is_paused:
        return False
    log = core.log
    if not if_empty and progress.next > log.last_index():
        return False
    base = LogIndex(progress.next - 1)
    base_term = log.term_at(base)
    if base_term is None:
        return send_snapshot(core, to, progress)
    window_full = progress.state is _REPLICATE and progress.inflights.is_full
    try:
        entries = () if window_full else log.entries_from(progress.next, core.options.append_bytes_max)
    except Compacted:
        return send_snapshot(core, to, progress)
    if not entries and not if_empty:
        return False
    committed = log.committed
    core.messages.append(
        Message(_APPEND, to, core.node, core.term, base_term, base, committed, entries),
    )
    progress.sent(len(entries), payload_bytes(entries))
    progress.commit_sent = committed
    return True


def send_snapshot(core: Core, to: NodeId, progress: Progress) -> bool:
    """Send a snapshot to a follower that needs entries we no longer have; not to one that may be gone."""
    if not progress.recently_active:
        return False
    snapshot = core.log.unstable.snapshot or core.log.store.snapshot()
    if snapshot is None:
        return False
    progress.become_snapshot(snapshot.index)
    core.send(Message(MessageKind.SNAPSHOT, to, core.node, core.term, snapshot=snapshot))
    return True


def advance_commit(core: Core) -> bool:
    """Commit what a quorum has, if the last of it is of this term; return whether that is news. Source: paper 5.4.2."""
    index = core.tracker.committed()
    log = core.log
    if index <= log.committed or log.term_at(index) != core.term:
        return False
    log.commit_to(index)
    return True
