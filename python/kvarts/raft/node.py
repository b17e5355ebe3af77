"""One node of one group: the face of this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kvarts.raft import follower, leader
from kvarts.raft.confchange import ConfigChange
from kvarts.raft.core import AGAIN_TICKS, Core, Random
from kvarts.raft.election import stand
from kvarts.raft.errors import UnknownPeer, invariant
from kvarts.raft.heartbeat import broadcast_heartbeat, lease_ends, lease_holds, ticks_at_once
from kvarts.raft.ids import LOG_INDEX_MIN, NODE_NONE, TERM_NONE, LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import RESPONSES, Entry, EntryKind, Heartbeat, Message, MessageKind, Role, make_entry
from kvarts.raft.options import RaftOptions, ReadMode
from kvarts.raft.progress import ProgressState
from kvarts.raft.ready import Outbox, Ready
from kvarts.raft.reconfigure import reconfigure
from kvarts.raft.replication import tell_commit
from kvarts.raft.step import step
from kvarts.raft.storage import LogStore

_LEADER = Role.LEADER


@dataclass(frozen=True, slots=True)
class Status:
    """A node at one moment."""

    node: NodeId
    role: Role
    term: Term
    vote: NodeId
    lead: NodeId
    last: LogIndex
    committed: LogIndex
    applied: LogIndex
    membership: Membership
    transferee: NodeId
    lease: bool


def _nothing() -> None:
    pass


class RaftNode:
    """Raft without a clock, a socket or a disk: messages, ticks and proposals in, a Ready out.

    After any call `has_ready` may be true; then `ready` says what to write, send and apply. One thread at a time.
    """

    def __init__(
        self,
        options: RaftOptions,
        store: LogStore,
        rng: Random,
        *,
        applied: LogIndex = LOG_INDEX_MIN,
        stir: Callable[[], object] = _nothing,
    ) -> None:
        """Start from what `store` holds; `applied` is how far the state machine has got, at least to its snapshot.

        The membership of the store must be the one at `applied`. `stir` is called whenever anything may change: who
        keeps many nodes then asks only those that were stirred for what is ready.
        """
        self._stir = stir
        self._core = core = Core(options, store, rng)
        hard, membership = store.initial_state()
        core.tracker.switch(membership, core.log.last_index())
        if hard.commit:
            invariant(core.log.committed <= hard.commit <= core.log.last_index(), "commit outside the log", hard)
            core.log.committed = hard.commit
        if options.check_config_changes:
            core.log.commit_to(core.log.last_change_but_one())
        core.term, core.vote = hard.term, hard.vote
        if applied > core.log.applied:
            core.log.applied_to(applied, 0)
        core.become_follower(core.term, NODE_NONE)
        self._outbox = Outbox(core)

    def step(self, message: Message) -> None:
        """Take a message of another node, or of our own store or state machine.

        Raises ProposalDropped and UnknownPeer; then nothing has changed.
        """
        self._stir()
        core = self._core
        if message.kind in RESPONSES and message.sender not in core.tracker.progress:
            raise UnknownPeer(message.sender)
        step(core, message)

    def tick(self) -> None:
        """Let one tick pass. Where all that comes of it is heartbeats, nobody is stirred: see `take_heartbeats`."""
        core = self._core
        core.ticks += 1
        if core.role is Role.LEADER:
            transferee = core.transferee
            leader.tick(core)
            told = core.messages or core.read_states
            if told or core.role is not Role.LEADER or core.transferee != transferee or lease_ends(core):
                self._stir()
            return
        core.election_elapsed += 1
        if core.lost_until and core.ticks >= core.lost_until:
            core.forget_loss()
        if core.election_elapsed >= core.election_ticks_drawn and core.is_promotable:
            self._stir()
            core.election_elapsed = core.election_ticks_drawn - AGAIN_TICKS if core.misses_leader() else 0
            stand(core)

    def take_heartbeats(self) -> Sequence[Heartbeat]:
        """Return heartbeats that are to be sent, as the next Ready would, and forget them."""
        heartbeats = self._core.heartbeats
        if heartbeats:
            self._core.heartbeats = []
        return heartbeats

    def hear(self, sender: NodeId, term: Term, commit: LogIndex) -> bool:
        """Take the heartbeat of a leader that this node follows already; True: `term` and its round are the answer.

        False, and nothing was done, where it means more: then it is to be stepped as a message.
        """
        core = self._core
        if term != core.term or core.lead != sender or core.role is not Role.FOLLOWER:
            return False
        follower.follow(core, sender)
        if commit > core.log.committed:
            self._stir()
            follower.take_commit(core, commit)
        return True

    def heard(self, sender: NodeId, term: Term, round_number: int) -> bool:
        """Take a member's answer to this leader's heartbeat; it may have extended the lease. False: as in `hear`."""
        core = self._core
        progress = core.tracker.progress.get(sender)
        if term != core.term or core.role is not Role.LEADER or progress is None:
            return False
        leader.take_answer(core, sender, progress, round_number)
        if core.messages or core.read_states:
            self._stir()
        return True

    def propose(self, payload: object, size: int | None = None, kind: EntryKind = EntryKind.NORMAL) -> None:
        """Propose one payload; `size` in bytes is needed unless it is bytes. Raises ProposalDropped."""
        if size is None:
            assert isinstance(payload, bytes)
            size = len(payload)
        self._propose([make_entry((TERM_NONE, LOG_INDEX_MIN, kind, payload, size))])

    def propose_many(self, payloads: Sequence[tuple[object, int]]) -> None:
        """Propose (payload, size) pairs, one entry each, all or none. Raises ProposalDropped."""
        kind = EntryKind.NORMAL
        self._propose([make_entry((TERM_NONE, LOG_INDEX_MIN, kind, payload, size)) for payload, size in payloads])

    def propose_config(self, change: ConfigChange, size: int = 0) -> None:
        """Propose a change of membership. One that may not be made now becomes an empty entry."""
        self._propose([Entry(TERM_NONE, LOG_INDEX_MIN, EntryKind.CONFIG, change, size)])

    def apply_config(self, change: ConfigChange) -> Membership:
        """Take a committed change, when the state machine has reached it. Raises ConfigChangeRefused."""
        self._stir()
        return reconfigure(self._core, change)

    def read(self, context: object) -> None:
        """Ask for a linearizable read: `context` comes back in `read_states` with the index to apply, or is dropped."""
        self._stir()
        core = self._core
        step(core, Message(MessageKind.READ_INDEX, core.node, core.node, context=context))

    def campaign(self) -> None:
        """Stand for election now. Ignored where others may rely on the lease that we gave the leader."""
        self._stir()
        core = self._core
        if core.options.read_mode is ReadMode.LEASE and core.hears_leader():
            return
        stand(core)

    def transfer_to(self, target: NodeId) -> None:
        """Ask the leader to hand over to `target`."""
        self._stir()
        core = self._core
        step(core, Message(MessageKind.TRANSFER, core.node, target, core.term))

    def successor(self) -> NodeId:
        """Return the voter that could take over from this leader soonest, or NODE_NONE if none was heard from."""
        core = self._core
        voters = core.tracker.membership.voters.voters
        lag = {node: -p.match for node, p in core.tracker.others(core.node) if node in voters and p.recently_active}
        return min(lag, key=lag.__getitem__, default=NODE_NONE) if core.role is Role.LEADER else NODE_NONE

    @property
    def role(self) -> Role:
        """What this node is at the moment."""
        return self._core.role

    @property
    def term(self) -> Term:
        """The term that it is in."""
        return self._core.term

    @property
    def leader(self) -> NodeId:
        """Whom to ask: the leader as far as this node knows, or who is to lead soon, or NODE_NONE."""
        return self._core.transferee or self._core.lead

    @property
    def has_caught_up(self) -> bool:
        """True while this node leads and has applied all that was committed before it did. Source: paper 8."""
        core = self._core
        return core.role is _LEADER and core.log.applied >= core.inherited

    @property
    def has_uncommitted(self) -> bool:
        """True while this node leads and entries of its log are not committed."""
        core = self._core
        return core.role is _LEADER and core.log.last_index() > core.log.committed

    @property
    def committed(self) -> LogIndex:
        """The commit index."""
        return self._core.log.committed

    @property
    def ticks_at_once(self) -> int:
        """For how many ticks from now on what is committed may be read without a round; TICKS_ALONE: while it leads."""
        return ticks_at_once(self._core)

    def owes_commit(self) -> bool:
        """Return whether this leader committed something since the last call and told nobody; see `eager_commit`."""
        owed, self._core.commit_owed = self._core.commit_owed, False
        return owed

    def tell_commit(self) -> None:
        """Tell of the commit index whoever could use it and has not heard of it by an append since."""
        core = self._core
        tell_commit(core)
        if core.messages or core.read_states:
            self._stir()

    def heard_from(self, node: NodeId) -> bool:
        """Return whether this leader has heard from `node` within the last election timeout."""
        progress = self._core.tracker.progress.get(node)
        return self._core.role is Role.LEADER and progress is not None and progress.recently_active

    @property
    def has_learners(self) -> bool:
        """True while somebody learns."""
        return bool(self._core.tracker.membership.learners)

    def behind(self, node: NodeId) -> int:
        """Return how many entries this leader has that `node` is not known to hold."""
        progress = self._core.tracker.progress.get(node)
        return self._core.log.last_index() - (LOG_INDEX_MIN if progress is None else progress.match)

    def forget_leader(self) -> None:
        """Be ready to vote again, before the timeout: the caller knows that the leader is gone."""
        self._stir()
        core = self._core
        # Under leases our word to the leader counts until its time is over, whatever anybody knows.
        if core.role is Role.FOLLOWER and core.options.read_mode is not ReadMode.LEASE:
            core.lead = NODE_NONE

    def pause_detected(self) -> None:
        """Forget the lease: the clock behind our ticks may have stood still or jumped."""
        self._stir()
        self._core.reads.forget_lease()

    def report_unreachable(self, node: NodeId) -> None:
        """An append to `node` was probably lost: go back to probing it."""
        self._stir()
        progress = self._core.tracker.progress.get(node)
        if self._core.role is Role.LEADER and progress is not None and progress.state is ProgressState.REPLICATE:
            progress.become_probe()

    def report_lost(self, node: NodeId) -> None:
        """The connection to `node` broke, so its process may have ended: if it led, another is to, soon.

        Not sooner than what was promised to it allows. Where it lives, its next words keep others from standing.
        """
        core = self._core
        if core.role is Role.FOLLOWER and core.lead == node:
            self._stir()
            core.lose(node)

    def report_snapshot(self, node: NodeId, *, delivered: bool) -> None:
        """The snapshot for `node` has arrived, or will not. Heard of neither, we would wait for ever."""
        self._stir()
        progress = self._core.tracker.progress.get(node)
        if self._core.role is not Role.LEADER or progress is None or progress.state is not ProgressState.SNAPSHOT:
            return
        if not delivered:
            progress.snapshot_pending = LOG_INDEX_MIN
        progress.become_probe()
        # Its acknowledgement, or the next heartbeat's answer, goes on from here.
        progress.paused = True

    def has_ready(self) -> bool:
        """Return whether there is anything to write, send or apply."""
        return self._core.reads.round_wanted or self._outbox.has_news()

    def ready(self) -> Ready:
        """Return what to write, send and apply since the last call."""
        if self._core.reads.round_wanted:
            broadcast_heartbeat(self._core)
        return self._outbox.take()

    def advance(self) -> None:
        """The last Ready was carried out; only without asynchronous storage."""
        self._stir()
        for message in self._outbox.done():
            step(self._core, message)

    def status(self) -> Status:
        """Return the node's state at this moment."""
        core, log = self._core, self._core.log
        return Status(
            node=core.node,
            role=core.role,
            term=core.term,
            vote=core.vote,
            lead=core.lead,
            last=log.last_index(),
            committed=log.committed,
            applied=log.applied,
            membership=core.tracker.membership,
            transferee=core.transferee,
            lease=lease_holds(core),
        )

    def __repr__(self) -> str:
        s = self.status()
        role = s.role.name.lower().replace("_", "-")
        return f"<RaftNode n{s.node} {role} term={s.term} last={s.last} committed={s.committed} applied={s.applied}>"

    def _propose(self, proposals: Sequence[Entry]) -> None:
        self._stir()
        core = self._core
        if core.role is _LEADER:
            leader.propose(core, proposals)
        else:
            step(core, Message(MessageKind.PROPOSE, core.node, core.node, entries=proposals))
