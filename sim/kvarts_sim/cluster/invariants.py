"""What must hold after every step, whatever happens. Each rule has a name, which a broken one rings with."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kvarts.raft.ids import LOG_INDEX_MIN, TERM_NONE, LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, Message, MessageKind, Role
from kvarts.raft.node import RaftNode, Status
from kvarts.replication.events import GroupId
from kvarts.statemachine.commands import Command, DeleteRange
from kvarts_sim.cluster.disk import Disk

STANDS_STILL_US = 200_000
"""A process that takes no turn for so long was paused."""


class Broken(AssertionError):  # noqa: N818
    """A rule was broken."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule


@dataclass(slots=True)
class Ledger:
    """What is known of one group since the beginning of time."""

    leaders: dict[Term, NodeId] = field(default_factory=dict)
    entries: dict[tuple[LogIndex, Term], tuple[object, Term | None]] = field(default_factory=dict)
    """Payload of each entry ever written, and the term of the one before it if the log had it."""
    committed: dict[LogIndex, Term] = field(default_factory=dict)
    committed_in: list[tuple[Term, LogIndex]] = field(default_factory=list)
    """(term of the node that knew first, index), both rising."""
    last: LogIndex = LOG_INDEX_MIN
    votes: dict[tuple[int, Term], NodeId] = field(default_factory=dict)
    memberships: dict[LogIndex, Membership] = field(default_factory=dict)
    digests: dict[LogIndex, object] = field(default_factory=dict)
    """What the rows were as of entries that asked for it."""
    asked: dict[tuple[int, int], LogIndex] = field(default_factory=dict)
    served: LogIndex = LOG_INDEX_MIN
    """The newest state that a client was told of."""
    took: LogIndex = LOG_INDEX_MIN
    """The last entry whose commands took place anywhere."""
    reign: Term = TERM_NONE
    """The highest term in which a leader has committed an entry of its own."""


def demand(holds: bool, rule: str, what: object) -> None:
    """Raise Broken unless `holds`."""
    if not holds:
        raise Broken(rule, str(what))


class Invariants:
    """Looks at every write, message, apply, read and turn. Costs little: each fact is checked once, when it is new."""

    def __init__(
        self,
        groups: Iterable[GroupId],
        disks: dict[int, Disk],
        now: Callable[[], int],
        gives_way_us: int | None,
        ready: Callable[[GroupId], Iterable[tuple[int, Status, bool]]] = lambda _: (),
    ) -> None:
        """`ready` tells of the nodes that would serve a read at this very moment, and whether their muscle would alone.

        The others would take a turn, without looking at the clock again.
        """
        self.ledgers = {group: Ledger() for group in groups}
        self._disks = disks
        self._now = now
        self._gives_way_us = gives_way_us
        self._ready = ready
        self._parents: dict[GroupId, GroupId] = {}
        self._owners: dict[tuple[GroupId, bytes], GroupId] = {}
        """Who has changed a key last; keys of groups that were never one have nothing to do with each other."""
        self._led_since: dict[tuple[int, GroupId], tuple[Term, int, int]] = {}
        """Of a leader: its term, since when it has led without standing still, and its latest turn."""
        self._seen: dict[tuple[int, GroupId], tuple[RaftNode, Status]] = {}

    def wrote(self, node: int, group: GroupId, entry: Entry, log_before: Entry | None) -> None:
        """Log matching: the same index and term means the same payload and the same predecessor. Paper 5.3."""
        key = entry.index, entry.term
        before = None if log_before is None else log_before.term
        payload, known_before = self.ledgers[group].entries.setdefault(key, (entry.payload, before))
        demand(payload == entry.payload, "log matching", f"n{node} s{group} wrote another {entry.term}/{entry.index}")
        same = before is None or known_before is None or before == known_before
        demand(
            same, "log matching", f"n{node} s{group} {entry.term}/{entry.index} follows {before}, not {known_before}"
        )

    def leaves(self, node: int, group: GroupId, message: Message, disk: Disk) -> None:
        """Votes and acknowledgements: one vote a term, and nothing is promised that is not durable. Paper, figure 2."""
        if message.reject or message.to == node:
            return
        log = disk.durable.get(group)
        if log is None:
            # Held back until now; since then the group was taken away from this node.
            return
        if message.kind is MessageKind.VOTE_RESPONSE:
            voted = self.ledgers[group].votes.setdefault((node, message.term), message.to)
            demand(voted == message.to, "one vote a term", f"n{node} s{group} votes for n{message.to} after n{voted}")
            hard = log.hard_state
            kept = hard.term > message.term or (hard.term == message.term and hard.vote == message.to)
            demand(kept, "vote durable", f"n{node} s{group} votes in {message.term}, disk has {hard}")
        elif message.kind is MessageKind.APPEND_RESPONSE and message.index:
            has = log.last_index() >= message.index
            demand(has, "ack durable", f"n{node} s{group} acks {message.index}, disk has {log.last_index()}")
            demand(log.hard_state.term >= message.term, "term durable", f"n{node} s{group} acks in {message.term}")

    def applied(self, node: int, group: GroupId, entry: Entry, membership: Membership) -> None:
        """State-machine safety: every node applies the same entry at an index (paper 5.4.3), and what its log has safe.

        The latter is why a checkpoint may be taken of whatever is applied.
        """
        ledger = self.ledgers[group]
        term = ledger.committed.get(entry.index)
        demand(term == entry.term, "state-machine safety", f"n{node} s{group} applies {entry}, committed was {term}")
        payload, _ = ledger.entries[entry.index, entry.term]
        demand(payload == entry.payload, "state-machine safety", f"n{node} s{group} applies {entry}, not {payload}")
        durable = self._disks[node].durable[group].covers(entry.index, entry.term)
        demand(durable, "apply durable", f"n{node} s{group} applies {entry.term}/{entry.index}, not on its disk")
        known = ledger.memberships.setdefault(entry.index, membership)
        demand(known == membership, "same membership", f"n{node} s{group}@{entry.index} {membership}, not {known}")

    def closes(self, node: int, group: GroupId) -> None:
        """Nobody who votes loses its replica: what it has acknowledged and promised would be forgotten."""
        memberships = self.ledgers[group].memberships
        latest = memberships[max(memberships)] if memberships else None
        votes = latest is not None and node in latest.voters.voters
        demand(not votes, "voters keep replicas", f"n{node} closes s{group}, a voter of {latest}")

    def expect(self, child: GroupId, parent: GroupId) -> None:
        """A group is to be split off another."""
        self.ledgers[child] = Ledger()
        self._parents[child] = parent

    def took(self, group: GroupId, index: LogIndex, commands: Iterable[Command]) -> None:
        """One owner: once a group has changed a key, none that it was split off does, nor one beside it."""
        if index <= self.ledgers[group].took:
            return
        self.ledgers[group].took = index
        line = [group]
        while line[-1] in self._parents:
            line.append(self._parents[line[-1]])
        for operation in (each for command in commands for each in command.operations):
            if isinstance(operation, DeleteRange):
                continue
            before = self._owners.get((line[-1], operation.key), group)
            demand(before in line, "one owner", f"s{group} changes {operation.key!r} after s{before}")
            self._owners[line[-1], operation.key] = group

    def digested(self, node: int, group: GroupId, index: LogIndex, digest: object) -> None:
        """Same rows: digests of one entry are equal on all nodes, so that nobody is fenced who is right."""
        known = self.ledgers[group].digests.setdefault(index, digest)
        demand(known == digest, "same rows", f"n{node} s{group}@{index} digests {digest}, not {known}")

    def asked(self, node: int, group: GroupId, context: int) -> None:
        """Remember what was committed when a read was asked for."""
        self.ledgers[group].asked[node, context] = self.ledgers[group].last

    def read(self, node: int, group: GroupId, context: int, index: LogIndex) -> None:
        """Read freshness: a read sees everything that was committed before it was asked for. Thesis 6.4."""
        asked = self.ledgers[group].asked.pop((node, context), LOG_INDEX_MIN)
        demand(index >= asked, "read freshness", f"n{node} s{group} reads at {index}, committed was {asked}")

    def served(self, group: GroupId, index: LogIndex) -> None:
        """Remember what clients were told of."""
        self.ledgers[group].served = max(self.ledgers[group].served, index)

    def read_at_once(self, node: int, group: GroupId, index: LogIndex) -> None:
        """Read freshness without a round: nobody was told of anything newer. Thesis 6.4.1."""
        known = self.ledgers[group].served
        demand(index >= known, "read freshness", f"n{node} s{group} serves {index} at once, {known} was told before")

    def after_turn(self, node: int, group: GroupId, raft: RaftNode, status: Status) -> None:
        """Everything that shows in a node's status."""
        if status.role is Role.LEADER:
            self._leads(node, group, status)
        known = self._seen.get((node, group))
        if known is not None and known[0] is raft:
            old = known[1]
            if old.term == status.term and old.committed == status.committed and old.role is status.role:
                return
            demand(status.term >= old.term, "terms rise", f"n{node} s{group} {old.term} to {status.term}")
            demand(status.committed >= old.committed, "commits rise", f"n{node} s{group} {old} to {status}")
        else:
            old = None
            hard = self._disks[node].durable[group].hard_state
            demand(status.term >= hard.term, "terms rise", f"n{node} s{group} woke in {status.term}, disk has {hard}")
        self._seen[node, group] = raft, status
        if status.role is Role.LEADER and (old is None or old.role is not Role.LEADER or old.term != status.term):
            self._elected(node, group, raft, status)
        start = status.committed if old is None else old.committed
        self._committed(node, group, status, LogIndex(start))

    def _leads(self, node: int, group: GroupId, status: Status) -> None:
        """Lease exclusivity, and a leader whose disk stands still gives way."""
        now = self._now()
        self._lease(node, group, status)
        term, since, latest = self._led_since.get((node, group), (TERM_NONE, now, now))
        if term != status.term or now - latest > STANDS_STILL_US:
            since = now
        self._led_since[node, group] = status.term, since, now
        waits = self._disks[node].entry_waits_since(group)
        if waits is not None and self._gives_way_us is not None:
            slow = now - max(waits, since) > self._gives_way_us
            demand(not slow, "stalled leader gives way", f"n{node} s{group} leads, its disk waits since {waits} us")

    def _lease(self, node: int, group: GroupId, status: Status, *, at_once: bool = False) -> None:
        """Lease exclusivity: nobody holds a lease once a leader of a later term has committed. Source: thesis 6.4.1.

        A lease counts only in turns, and each turn reads the clock first. So it is asked after every turn, and at the
        moment of the commit of all who would take a turn without a tick.
        """
        reign = self.ledgers[group].reign
        alone = not (status.lease or at_once) or status.term >= reign
        demand(alone, "lease exclusivity", f"n{node} s{group} holds a lease of {status.term}, {reign} has committed")

    def _elected(self, node: int, group: GroupId, raft: RaftNode, status: Status) -> None:
        """Election safety (paper 5.2), also against an earlier life of the same node, and leader completeness (5.4)."""
        ledger = self.ledgers[group]
        other = ledger.leaders.get(status.term)
        demand(other is None, "election safety", f"n{node} leads s{group} in term {status.term} after n{other}")
        ledger.leaders[status.term] = NodeId(node)
        at = bisect_left(ledger.committed_in, (status.term, LOG_INDEX_MIN))
        if at:
            index = ledger.committed_in[at - 1][1]
            has = self._disks[node].live[group].covers(index, ledger.committed[index])
            demand(has, "leader completeness", f"n{node} leads s{group} in {status.term} without entry {index}")

    def _committed(self, node: int, group: GroupId, status: Status, start: LogIndex) -> None:
        """Committed entries never change, a quorum has them on disk; leaders count only their own term's (5.4.2)."""
        ledger, log = self.ledgers[group], self._disks[node].live[group]
        for number in range(max(start, log.first_index() - 1) + 1, status.committed + 1):
            index = LogIndex(number)
            term = log.term_at(index)
            demand(term is not None, "log matching", f"n{node} s{group} committed {index} which it lacks")
            assert term is not None
            known = ledger.committed.setdefault(index, term)
            demand(known == term, "committed for ever", f"n{node} s{group} committed {term}/{index}, was {known}")
        own_commit = status.role is Role.LEADER and ledger.committed.get(status.committed) == status.term
        if own_commit and status.term > ledger.reign:
            ledger.reign = status.term
            for other, its_status, at_once in self._ready(group):
                self._lease(other, group, its_status, at_once=at_once)
        if status.committed <= ledger.last:
            return
        ledger.last = status.committed
        last = ledger.committed.get(status.committed)
        if last is None:
            return
        own = status.role is not Role.LEADER or last == status.term
        demand(own, "own term commits", f"n{node} s{group} leads {status.term} and commits {last}/{status.committed}")
        if not ledger.committed_in or ledger.committed_in[-1][0] <= status.term:
            ledger.committed_in.append((status.term, status.committed))
        logs = {n: disk.durable.get(group) for n, disk in self._disks.items()}
        having = {n for n, log in logs.items() if log is not None and log.covers(status.committed, last)}
        voters = status.membership.voters
        # Counted here and not by the core's arithmetic, which is among what is judged.
        for half in (voters.incoming.voters, voters.outgoing.voters):
            safe = not half or 2 * len(having & half) > len(half)
            what = f"n{node} s{group} committed {status.committed}, on disk at {sorted(having)} of {sorted(half)}"
            demand(safe, "quorum durability", what)
