"""Elections: standing for one, asking first whether it could be won, and voting. Source: Raft paper 5.2, 5.4.1."""

from __future__ import annotations

from kvarts.raft.core import Core
from kvarts.raft.ids import NODE_NONE, Term
from kvarts.raft.messages import Message, MessageKind, Role
from kvarts.raft.quorum import VoteResult
from kvarts.raft.replication import broadcast_append


def stand(core: Core, *, forced: bool = False) -> None:
    """Stand for election, unless this node may not. `forced`: the leader asked for it, so nobody is asked before."""
    if core.role is Role.LEADER or not core.is_promotable:
        return
    # A change of membership that is committed but not applied may have made this node no voter.
    if core.log.has_unapplied_change():
        return
    if core.options.pre_vote and not forced:
        core.become_pre_candidate()
        _ask_for_votes(core, MessageKind.PRE_VOTE, Term(core.term + 1))
    else:
        core.become_candidate()
        _ask_for_votes(core, MessageKind.VOTE, core.term, forced=forced)


def _ask_for_votes(core: Core, kind: MessageKind, term: Term, *, forced: bool = False) -> None:
    last, last_term = core.log.last_index(), core.log.last_term()
    for voter in sorted(core.tracker.membership.voters.voters):
        if voter == core.node:
            # The own vote counts once it is durable.
            core.send(Message(_RESPONSE_TO[kind], core.node, core.node, term))
        else:
            core.send(Message(kind, voter, core.node, term, last_term, last, forced=forced))


_RESPONSE_TO = {
    MessageKind.VOTE: MessageKind.VOTE_RESPONSE,
    MessageKind.PRE_VOTE: MessageKind.PRE_VOTE_RESPONSE,
}


def on_vote_request(core: Core, message: Message) -> None:
    """Vote for a candidate whose log is at least as complete as ours, once a term; learners vote too.

    A learner that is asked is a voter by a membership that it has not learnt of yet: were it silent, that membership
    might have no quorum. Nothing is said while a leader may hold a lease on our word: a higher term that we have heard
    of since, or a crash, makes us forget the leader, but not the word.
    """
    if core.ticks < core.quiet_until and not message.forced:
        return
    if not core.options.empty_votes and not core.tracker.membership.members:
        # With its vote somebody could lead who was long replaced.
        return
    pre = message.kind is MessageKind.PRE_VOTE
    free = core.vote == NODE_NONE and core.lead == NODE_NONE
    may_vote = core.vote == message.sender or free or (pre and message.term > core.term)
    granted = may_vote and core.log.is_up_to_date(message.index, message.log_term)
    # A granted pre-vote answers in the term asked about, which is not ours yet.
    term = message.term if granted else core.term
    core.send(Message(_RESPONSE_TO[message.kind], message.sender, core.node, term, reject=not granted))
    if granted and not pre:
        core.election_elapsed = 0
        core.vote = message.sender


def on_vote_response(core: Core, message: Message) -> None:
    """Count a vote of the election that this node stands in.

    It is not won before the own vote is durable: a leader that forgot its term in a crash could lead it again.
    """
    core.tracker.record_vote(message.sender, not message.reject)
    result = core.tracker.vote_result()
    if result is VoteResult.WON and core.node not in core.tracker.votes:
        # Our own vote waits for our disk: while that stalls we could lead, but do nothing as a leader.
        return
    if result is VoteResult.LOST:
        # A higher term would have come with the refusal.
        core.become_follower(core.term, NODE_NONE)
    elif result is VoteResult.WON and core.role is Role.PRE_CANDIDATE:
        core.become_candidate()
        _ask_for_votes(core, MessageKind.VOTE, core.term)
    elif result is VoteResult.WON:
        core.become_leader()
        broadcast_append(core)
