"""A leader's heartbeats: they keep others from standing, carry the commit index, and confirm reads and leases."""

from __future__ import annotations

from kvarts.raft.core import Core
from kvarts.raft.ids import LogIndex
from kvarts.raft.messages import Message, MessageKind, ReadState, Role
from kvarts.raft.options import ReadMode
from kvarts.raft.reads import ReadRequest

TICKS_ALONE = 2**31
"""As long as the only voter leads."""
_LEADER, _LEASE = Role.LEADER, ReadMode.LEASE


def broadcast_heartbeat(core: Core) -> None:
    """Begin a round. The commit index is cut to what the receiver is known to have: it need not have more."""
    keep_tick = core.options.read_mode is ReadMode.LEASE
    number = core.reads.begin_round(core.node, core.ticks, keep_tick=keep_tick)
    committed = core.log.committed
    for node, progress in core.tracker.others(core.node):
        commit = LogIndex(min(progress.match, committed))
        core.heartbeats.append((node, core.term, commit, number))
        # It may lower what was sent: appends with a higher commit index may be lost, and are worth repeating.
        progress.commit_sent = commit
    confirm_rounds(core)


def confirm_rounds(core: Core) -> None:
    """Serve the reads, and extend the lease, of the rounds that a quorum has answered."""
    reads = core.reads
    if not reads.waiting and not reads.sent_ticks:
        return
    acked = {node: LogIndex(number) for node, number in reads.acked.items()}
    for index, request in reads.confirm(core.tracker.membership.voters.committed(acked)):
        answer_read(core, request, index)


def request_read(core: Core, request: ReadRequest) -> None:
    """Answer a read at once under a lease, or let it wait for a round; this turn's reads share one."""
    if not core.committed_in_term:
        core.reads.parked.append(request)
    elif core.options.read_mode is ReadMode.LEASE and lease_holds(core):
        answer_read(core, request, core.log.committed)
    else:
        core.reads.add(request, core.log.committed)


def release_parked_reads(core: Core) -> None:
    """Begin with the reads that waited for the first commit of the term."""
    if core.reads.parked and core.committed_in_term:
        parked, core.reads.parked = core.reads.parked, []
        for request in parked:
            request_read(core, request)


def answer_read(core: Core, request: ReadRequest, index: LogIndex) -> None:
    """Tell the asker up to where it must have applied."""
    if request.asker == core.node:
        core.read_states.append(ReadState(index, request.context))
        return
    kind = MessageKind.READ_INDEX_RESPONSE
    core.send(Message(kind, request.asker, core.node, core.term, index=index, context=request.context))


def lease_holds(core: Core) -> bool:
    """The one gate of reads without a round: leader, own commit, nobody told to take over, a round confirmed of late.

    The lease counts from when the round was sent. It is over before the earliest tick at which a voter that answered
    the round could stand for election or help another to.
    """
    reads, options = core.reads, core.options
    if core.role is not _LEADER or reads.lease_void or reads.confirmed_tick is None:
        return False
    if not core.committed_in_term:
        return False
    return core.ticks < reads.confirmed_tick + core.promise_ticks - options.lease_margin_ticks


def lease_ends(core: Core) -> bool:
    """Return whether this is the tick at which a lease is over that was held until now."""
    confirmed, options = core.reads.confirmed_tick, core.options
    return confirmed is not None and core.ticks == confirmed + core.promise_ticks - options.lease_margin_ticks


def ticks_at_once(core: Core) -> int:
    """Return for how many ticks from now on what is committed may be read without asking this core again.

    The only voter needs no round at all.
    """
    if core.role is not _LEADER:
        return 0
    if core.tracker.membership.voters.voters == {core.node}:
        return TICKS_ALONE if core.committed_in_term else 0
    if core.options.read_mode is not _LEASE or not lease_holds(core):
        return 0
    assert core.reads.confirmed_tick is not None
    return core.reads.confirmed_tick + core.promise_ticks - core.options.lease_margin_ticks - core.ticks
