"""One message: terms first, then what the role makes of it. Source: Raft paper 5.1."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kvarts.raft import follower, leader
from kvarts.raft.core import Core
from kvarts.raft.election import on_vote_request, on_vote_response
from kvarts.raft.ids import NODE_NONE, TERM_NONE
from kvarts.raft.messages import Message, MessageKind, Role, entry_bytes, payload_bytes

Handler = Callable[[Core, Message], None]

FROM_LEADER: Mapping[MessageKind, Handler] = {
    MessageKind.APPEND: follower.on_leader_message,
    MessageKind.HEARTBEAT: follower.on_leader_message,
    MessageKind.SNAPSHOT: follower.on_leader_message,
}


def step(core: Core, message: Message) -> None:
    """Take one message. Raises ProposalDropped, and then nothing has changed."""
    term = message.term
    if term == core.term or term == TERM_NONE:  # noqa: PLR1714  # a set would cost more
        pass
    elif term < core.term:
        _answer_old_term(core, message)
        return
    elif not _enter_term(core, message):
        return
    handler = HANDLERS[core.role].get(message.kind)
    if handler is not None:
        handler(core, message)


def _enter_term(core: Core, message: Message) -> bool:
    """Deal with a message of a later term; return False if it must be ignored."""
    kind = message.kind
    asks_for_vote = kind in {MessageKind.VOTE, MessageKind.PRE_VOTE}
    if asks_for_vote and not message.forced and core.hears_leader():
        # A leader lives: whoever wants to replace it is cut off from it, or was removed. Source: thesis 4.2.3.
        return False
    granted_in_advance = kind is MessageKind.PRE_VOTE_RESPONSE and not message.reject
    if kind is MessageKind.PRE_VOTE or granted_in_advance:
        # Its term is one that nobody has entered yet.
        return True
    core.become_follower(message.term, message.sender if kind in FROM_LEADER else NODE_NONE)
    return True


def _answer_old_term(core: Core, message: Message) -> None:
    kind, options = message.kind, core.options
    if kind is MessageKind.PRE_VOTE:
        # Else a candidate with an old term and a good log would wait for an answer for ever.
        response = MessageKind.PRE_VOTE_RESPONSE
        core.send(Message(response, message.sender, core.node, core.term, reject=True))
    elif kind in {MessageKind.APPEND, MessageKind.HEARTBEAT} and (options.check_quorum or options.pre_vote):
        # A leader that was cut off must hear of our term: voters that ignore us would never tell it.
        core.send(Message(MessageKind.APPEND_RESPONSE, message.sender, core.node, core.term))
    elif kind is MessageKind.STORAGE_APPEND_RESPONSE and message.snapshot is not None:
        # A snapshot that is durable stays so, whatever the term. Entries may have been superseded since.
        _snapshot_is_stable(core, message)


def on_storage_append(core: Core, message: Message) -> None:
    """Our store made entries, a snapshot, or both durable."""
    if message.index:
        core.log.unstable.stable_to(message.index, message.log_term)
    if message.snapshot is not None:
        _snapshot_is_stable(core, message)


def _snapshot_is_stable(core: Core, message: Message) -> None:
    assert message.snapshot is not None
    index = message.snapshot.index
    core.log.unstable.stable_snapshot_to(index)
    if index > core.log.applied:
        core.log.applied_to(index, 0)
        leader.leave_joint_if_due(core)


def on_storage_apply(core: Core, message: Message) -> None:
    """Our state machine has applied entries."""
    entries = message.entries
    if not entries:
        return
    if core.uncommitted_bytes:
        core.uncommitted_bytes = max(0, core.uncommitted_bytes - payload_bytes(entries))
    # A snapshot may have gone past them meanwhile; what they took of the room to apply is free all the same.
    log, last = core.log, entries[-1][1]
    log.applied_to(last if last > log.applied else log.applied, entry_bytes(entries))
    if core.tracker.membership.auto_leave:
        leader.leave_joint_if_due(core)


_ANY_ROLE: Mapping[MessageKind, Handler] = {
    MessageKind.VOTE: on_vote_request,
    MessageKind.PRE_VOTE: on_vote_request,
    MessageKind.STORAGE_APPEND_RESPONSE: on_storage_append,
    MessageKind.STORAGE_APPLY_RESPONSE: on_storage_apply,
}

_CANDIDATE: Mapping[MessageKind, Handler] = {
    **_ANY_ROLE,
    **FROM_LEADER,
    MessageKind.PROPOSE: follower.drop_proposal,
    MessageKind.READ_INDEX: follower.drop_read,
}

HANDLERS: Mapping[Role, Mapping[MessageKind, Handler]] = {
    Role.FOLLOWER: {
        **_ANY_ROLE,
        **FROM_LEADER,
        MessageKind.PROPOSE: follower.forward_to_leader,
        MessageKind.READ_INDEX: follower.forward_to_leader,
        MessageKind.READ_INDEX_RESPONSE: follower.on_read_answer,
        MessageKind.TRANSFER: follower.forward_to_leader,
        MessageKind.TIMEOUT_NOW: follower.on_timeout_now,
    },
    Role.PRE_CANDIDATE: {**_CANDIDATE, MessageKind.PRE_VOTE_RESPONSE: on_vote_response},
    Role.CANDIDATE: {**_CANDIDATE, MessageKind.VOTE_RESPONSE: on_vote_response},
    Role.LEADER: {
        **_ANY_ROLE,
        MessageKind.APPEND_RESPONSE: leader.on_append_response,
        MessageKind.HEARTBEAT_RESPONSE: leader.on_heartbeat_response,
        MessageKind.PROPOSE: leader.on_propose,
        MessageKind.READ_INDEX: leader.on_read_index,
        MessageKind.TRANSFER: leader.on_transfer,
    },
}
