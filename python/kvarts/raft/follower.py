"""What a node does for a leader: take entries, heartbeats and snapshots, and pass on what only a leader can do."""

from __future__ import annotations

from dataclasses import replace

from kvarts.raft.core import Core
from kvarts.raft.election import stand
from kvarts.raft.errors import ProposalDropped
from kvarts.raft.ids import NODE_NONE, TERM_NONE, LogIndex, NodeId
from kvarts.raft.messages import Message, MessageKind, ReadState, Role, Snapshot
from kvarts.raft.options import ReadMode

_APPEND, _HEARTBEAT, _APPEND_RESPONSE = MessageKind.APPEND, MessageKind.HEARTBEAT, MessageKind.APPEND_RESPONSE
_FOLLOWER, _LEASE = Role.FOLLOWER, ReadMode.LEASE
"""By these names in what every entry passes: to look up a member of an enumeration costs as much as three calls."""


def on_leader_message(core: Core, message: Message) -> None:
    """Take an append, heartbeat or snapshot: whoever sends one in our term is its leader."""
    follow(core, message.sender)
    if message.kind is _APPEND:
        _on_append(core, message)
    elif message.kind is _HEARTBEAT:
        _on_heartbeat(core, message)
    else:
        _on_snapshot(core, message)


def follow(core: Core, leader: NodeId) -> None:
    """Be the follower of our term's leader, who has just been heard: until an election timeout from now."""
    if core.lost_until and leader != core.lost:
        core.forget_loss()
    if core.role is _FOLLOWER:
        core.election_elapsed = 0
        core.lead = leader
    else:
        core.become_follower(core.term, leader)
    if core.options.read_mode is _LEASE:
        until = core.ticks + core.promise_ticks
        core.quiet_until = max(core.quiet_until, until)


def take_commit(core: Core, commit: LogIndex) -> None:
    """Take a heartbeat's commit index: our log was known to agree with the leader's up to there."""
    core.log.commit_to(commit)


def _on_append(core: Core, message: Message) -> None:
    log = core.log
    if message.index < log.committed:
        # An old message: what it brings was committed long ago, and its predecessor may be compacted.
        _acknowledge(core, message, log.committed)
        return
    last = log.try_append(message.index, message.log_term, message.entries)
    if last is not None:
        log.commit_to(message.commit if message.commit < last else last)
        _acknowledge(core, message, last)
        return
    hint = LogIndex(min(message.index, log.last_index()))
    hint, hint_term = log.meeting_point(hint, message.log_term)
    kind = MessageKind.APPEND_RESPONSE
    core.send(Message(kind, message.sender, core.node, core.term, hint_term, message.index, reject=True, hint=hint))


def _acknowledge(core: Core, message: Message, index: LogIndex) -> None:
    core.send(Message(_APPEND_RESPONSE, message.sender, core.node, core.term, TERM_NONE, index))


def _on_heartbeat(core: Core, message: Message) -> None:
    take_commit(core, message.commit)
    kind = MessageKind.HEARTBEAT_RESPONSE
    core.send(Message(kind, message.sender, core.node, core.term, round=message.round))


def _on_snapshot(core: Core, message: Message) -> None:
    assert message.snapshot is not None
    restored = _restore(core, message.snapshot)
    _acknowledge(core, message, core.log.last_index() if restored else core.log.committed)


def _restore(core: Core, snapshot: Snapshot) -> bool:
    """Replace log and membership by the snapshot; return False if it is not needed or not meant for us."""
    log = core.log
    if snapshot.index <= log.committed or core.node not in snapshot.membership.members:
        return False
    if log.term_at(snapshot.index) == snapshot.term:
        # We have these entries; only the word that they are committed is news.
        log.commit_to(snapshot.index)
        return False
    log.restore(snapshot)
    # Nothing of the old membership may survive: the snapshot's is the one of its index.
    core.tracker.progress = {}
    core.tracker.switch(snapshot.membership, log.last_index())
    own = core.tracker.progress[core.node]
    own.acknowledge(log.last_index())
    return True


def forward_to_leader(core: Core, message: Message) -> None:
    """Pass a proposal, a read or a wish for a transfer on to the leader."""
    if message.kind is MessageKind.PROPOSE and not core.options.forward_proposals:
        raise ProposalDropped("this node forwards no proposals")
    if core.lead == NODE_NONE:
        _drop_without_leader(core, message)
        return
    core.send(replace(message, to=core.lead))


def _drop_without_leader(core: Core, message: Message) -> None:
    if message.kind is MessageKind.PROPOSE:
        raise ProposalDropped("no leader is known")
    if message.kind is MessageKind.READ_INDEX and message.sender == core.node:
        core.reads_dropped.append(message.context)


def on_read_answer(core: Core, message: Message) -> None:
    """The leader confirmed a read that was asked for here."""
    core.read_states.append(ReadState(message.index, message.context))


def on_timeout_now(core: Core, _message: Message) -> None:
    """The leader wants us to lead: stand at once and without asking before."""
    stand(core, forced=True)


def drop_proposal(_core: Core, _message: Message) -> None:
    """During an election nobody takes proposals."""
    raise ProposalDropped("an election is under way")


def drop_read(core: Core, message: Message) -> None:
    """During an election nobody confirms reads."""
    if message.sender == core.node:
        core.reads_dropped.append(message.context)
