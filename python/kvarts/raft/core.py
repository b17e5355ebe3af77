"""The state of one node in one group, and its steps from role to role; what a role does is told elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kvarts.raft.errors import invariant
from kvarts.raft.ids import LOG_INDEX_MIN, NODE_NONE, TERM_NONE, LogIndex, NodeId, Term
from kvarts.raft.log import RaftLog
from kvarts.raft.messages import (
    AFTER_APPEND,
    Entry,
    Heartbeat,
    Message,
    MessageKind,
    ReadState,
    Role,
    make_entry,
)
from kvarts.raft.messages import payload_bytes as payload_bytes_of
from kvarts.raft.options import RaftOptions
from kvarts.raft.reads import Reads
from kvarts.raft.storage import LogStore
from kvarts.raft.tracker import Tracker

STEPS_TERMLESS = frozenset({MessageKind.PROPOSE, MessageKind.READ_INDEX})
"""Requests that are passed on as if they had been made here: they belong to no term."""

_APPEND_RESPONSE = MessageKind.APPEND_RESPONSE

TURN_TICKS = 2
"""How long one who would stand next waits for the one before, where the leader was lost."""
AGAIN_TICKS = 1
"""How soon it asks again whether it could win: the promises of others may be over a little later than its own."""


class Random(Protocol):
    """The only randomness of the core: `random.Random(seed)` will do."""

    def randrange(self, stop: int, /) -> int:
        """Return a number from 0 to stop - 1."""


class Core:
    """Everything a node knows. Modules of this package change it; nobody else does.

    `messages` may leave at once; `after_append` when all entries and the hard state handed out with them are durable.
    """

    def __init__(self, options: RaftOptions, store: LogStore, rng: Random) -> None:
        options.validate()
        self.options = options
        self.node = options.node
        self.rng = rng
        self.log = RaftLog(store, options.apply_bytes_max)
        self.tracker = Tracker(
            inflight_count_max=options.inflight_count_max, inflight_bytes_max=options.inflight_bytes_max
        )
        self.term = TERM_NONE
        self.vote = NODE_NONE
        self.lead = NODE_NONE
        self.role = Role.FOLLOWER
        self.ticks = 0
        self.quiet_until = options.vote_quiet_ticks
        """Before this tick no vote is given: a leader may rely on it for its lease, whatever has been heard since."""
        self.promise_ticks = options.election_ticks if options.promise_ticks is None else options.promise_ticks
        self.lost = NODE_NONE
        self.lost_until = 0
        """Before this tick the leader `lost` may well be dead: the connection to it broke. 0: nothing of that kind."""
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_ticks_drawn = 0
        self.stable_awaited = LOG_INDEX_MIN
        """A leader's last entry when it last had everything on stable storage, or when it began to wait for this."""
        self.stable_awaited_ticks = 0
        """For how long it has waited since."""
        self.inherited = LOG_INDEX_MIN
        """The last entry of older terms in the log of a leader: it has not led before it."""
        self.transferee = NODE_NONE
        self.config_pending = LOG_INDEX_MIN
        """No new change of membership may be proposed before this entry is applied."""
        self.uncommitted_bytes = 0
        self.committed_term = TERM_NONE
        """Term of an entry that is committed: the latest that was asked for, see `committed_in_term`."""
        self.commit_owed = False
        """Something was committed, and followers were not told; see RaftOptions.eager_commit."""
        self.reads = Reads()
        self.read_states: list[ReadState] = []
        self.reads_dropped: list[object] = []
        self.messages: list[Message] = []
        self.heartbeats: list[Heartbeat] = []
        """Heartbeats on their way, after `messages`. Most say nothing else, so who keeps many nodes bundles them."""
        self.after_append: list[Message] = []

    @property
    def is_member(self) -> bool:
        """True if this node belongs to the group as far as it knows."""
        return self.node in self.tracker.progress

    @property
    def is_promotable(self) -> bool:
        """True if this node may stand for election: a voter whose log is not being replaced."""
        is_voter = self.node in self.tracker.membership.voters.voters
        return is_voter and self.log.unstable.snapshot is None

    @property
    def committed_in_term(self) -> bool:
        """True if an entry of this term is committed: only then is the commit index of a leader up to date."""
        # Once it is, it stays so for the term: what is committed after it is of no older term.
        if self.committed_term != self.term:
            self.committed_term = self.log.term_at(self.log.committed) or TERM_NONE
        return self.committed_term == self.term

    def hears_leader(self) -> bool:
        """Return whether this node must not help another to lead: it heard from a leader within the least timeout."""
        if self.ticks < self.quiet_until:
            return True
        return (
            self.options.check_quorum
            and self.lead != NODE_NONE
            and self.election_elapsed < self.options.election_ticks
            and not self.misses_leader()
        )

    def misses_leader(self) -> bool:
        """Return whether the connection to the leader broke of late, and no other leads since."""
        return self.ticks < self.lost_until and self.lead in {self.lost, NODE_NONE}

    def lose(self, leader: NodeId) -> None:
        """Take note that the connection to the leader broke. That proves nothing: promises stand."""
        self.lost, self.lost_until = leader, self.ticks + 2 * self.options.election_ticks
        self.draw_election_ticks()

    def forget_loss(self) -> None:
        """Another leads, or the connection broke long ago."""
        self.lost, self.lost_until = NODE_NONE, 0
        self.draw_election_ticks()

    def send(self, message: Message) -> None:
        """Queue a message: at once, or, if it promises something about stable storage, after the next append."""
        kind = message.kind
        invariant((message.term == TERM_NONE) == (kind in STEPS_TERMLESS), "message without its term", message)
        if kind in AFTER_APPEND:
            self.after_append.append(message)
        else:
            invariant(message.to != self.node, "a message to itself", message)
            self.messages.append(message)

    def append_own(self, proposals: Sequence[Entry]) -> bool:
        """Add proposals to the leader's log under its term, or return False and none if too much is uncommitted."""
        size = payload_bytes_of(proposals)
        limit = self.options.uncommitted_bytes_max
        # An empty entry is always taken, and one of any size if nothing else waits: else it could never be.
        if limit is not None and size and self.uncommitted_bytes and self.uncommitted_bytes + size > limit:
            return False
        self.uncommitted_bytes += size
        term, start = self.term, self.log.last_index() + 1
        entries = [
            make_entry((term, index, kind, payload, bytes_))  # type: ignore[arg-type]  # LogIndex() would cost a call
            for index, (_, _, kind, payload, bytes_) in enumerate(proposals, start)
        ]
        self.log.append(entries)
        # The leader's own acknowledgement counts like any other, once its log is durable. Source: Raft thesis 10.2.1.
        last = LogIndex(start + len(entries) - 1)
        self.after_append.append(Message(_APPEND_RESPONSE, self.node, self.node, term, TERM_NONE, last))
        return True

    def become_follower(self, term: Term, lead: NodeId) -> None:
        """Follow `lead`, if it is known."""
        self._reset(term)
        self.lead = lead
        self.role = Role.FOLLOWER

    def become_pre_candidate(self) -> None:
        """Ask whether an election could be won. Term and vote stay."""
        self.tracker.votes = {}
        self.lead = NODE_NONE
        self.role = Role.PRE_CANDIDATE

    def become_candidate(self) -> None:
        """Stand for election in the next term."""
        self._reset(Term(self.term + 1))
        self.vote = self.node
        self.role = Role.CANDIDATE

    def become_leader(self) -> None:
        """Lead, beginning with an entry of this term: older ones commit only with it. Source: paper 5.4.2, 8."""
        invariant(self.role is Role.CANDIDATE, "leader without an election", self.role)
        self._reset(self.term)
        self.lead = self.node
        self.role = Role.LEADER
        own = self.tracker.progress[self.node]
        own.become_replicate()
        own.recently_active = True
        # Changes of membership among older entries may not be applied yet; none is proposed before they are.
        self.config_pending = self.inherited = self.log.last_index()
        invariant(self.append_own([Entry(TERM_NONE, LOG_INDEX_MIN)]), "the first entry of a term is empty")

    def _reset(self, term: Term) -> None:
        if term != self.term:
            self.term = term
            self.vote = NODE_NONE
        self.lead = NODE_NONE
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.stable_awaited, self.stable_awaited_ticks = LOG_INDEX_MIN, 0
        self.draw_election_ticks()
        self.transferee = NODE_NONE
        self.config_pending = LOG_INDEX_MIN
        self.uncommitted_bytes = 0
        self.reads_dropped += [request.context for request in self.reads.abandoned() if request.asker == self.node]
        self.reads = Reads(self.reads.round)
        self.tracker.reset(self.log.last_index())
        own = self.tracker.progress.get(self.node)
        if own is not None:
            own.match = self.log.last_index()

    def draw_election_ticks(self) -> None:
        """Choose the next election timeout, so that nodes seldom stand at once. Source: Raft paper 5.2.

        Where the connection to the leader broke, all voters know it at about the same time: they take turns, next in
        the ring first, as soon as promises are over.
        """
        if self.misses_leader():
            others = (each for each in self.tracker.membership.voters.voters if each != self.lost)
            own = self.node < self.lost, self.node
            turn = sum((each < self.lost, each) < own for each in others)
            self.election_ticks_drawn = self.promise_ticks + TURN_TICKS * turn
            return
        least = self.options.election_ticks
        self.election_ticks_drawn = least + self.rng.randrange(least)
