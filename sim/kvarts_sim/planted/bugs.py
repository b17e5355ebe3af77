"""The planted bugs. Nothing of them is in the product: they replace functions for one run, or are subclasses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from kvarts.node.shards import Shards
from kvarts.raft import (
    election,
    follower,
    heartbeat,
    leader,
    log,
    quorum,
    reconfigure,
    replication,
    step,
    tracker,
    transfer,
    unstable,
)
from kvarts.raft.core import Core
from kvarts.raft.ids import LOG_INDEX_MAX, LOG_INDEX_MIN, NODE_NONE, LogIndex, NodeId, Term
from kvarts.raft.messages import Entry, Message, MessageKind, Role, Snapshot
from kvarts.raft.node import RaftNode
from kvarts.raft.progress import Progress
from kvarts.raft.reads import ReadRequest
from kvarts.replication.replica import Replica
from kvarts.replication.replicator import Replicator
from kvarts.statemachine.user_keys import UserKeys
from kvarts_sim.cluster.muscle import SimMuscle
from kvarts_sim.planted.moves import close_at_once
from kvarts_sim.planted.muscles import (
    AcksEarly,
    AcksSnapshotEarly,
    CountsReadsAnew,
    ForgetsTerm,
    ForgetsVote,
    KeepsBothHalves,
    SavesOldMembership,
    WritesCommitFirst,
)
from kvarts_sim.planted.turns import (
    apply_again,
    gates_stay_open,
    gates_without_index,
    own_word_at_once,
    pass_no_barrier,
)

Patch = tuple[object, str, Any]


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug: what to replace, and where it was met."""

    name: str
    met: str
    patches: tuple[Patch, ...] = ()
    muscle: type[SimMuscle] = SimMuscle
    scenario: str = "storm"

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Be in force inside the block."""
        with ExitStack() as stack:
            for target, name, replacement in self.patches:
                stack.enter_context(patch.object(target, name, replacement))
            yield


def _commit_any_term(core: Core) -> bool:
    index = core.tracker.committed()
    if index <= core.log.committed:
        return False
    core.log.commit_to(index)
    return True


def _request_without_noop(core: Core, request: ReadRequest) -> None:
    core.reads.add(request, core.log.committed)


def _request_without_round(core: Core, request: ReadRequest) -> None:
    heartbeat.answer_read(core, request, core.log.committed)


def _stale_words_count(core: Core, message: Message) -> None:
    handler = step.HANDLERS[core.role].get(message.kind)
    if handler is not None and message.kind is MessageKind.APPEND_RESPONSE:
        handler(core, message)


def _stable_to_any_term(self: unstable.Unstable, index: LogIndex, _term: Term) -> None:
    at = index - self.offset
    if 0 <= at < len(self.entries):
        del self.entries[: at + 1]
        self.offset = LogIndex(index + 1)
        self.handed_out = LogIndex(max(self.handed_out, self.offset))


def _old_store_word_counts(core: Core, message: Message) -> None:
    if message.kind is MessageKind.STORAGE_APPEND_RESPONSE:
        step.on_storage_append(core, message)
    else:
        _OLD_TERM(core, message)


_OLD_TERM = step._answer_old_term


def _always_up_to_date(_log: log.RaftLog, _last: LogIndex, _term: Term) -> bool:
    return True


def _cut_all(_log: log.RaftLog, _entries: Sequence[Entry]) -> int:
    return 0


def _append_anywhere(self: log.RaftLog, index: LogIndex, _term: Term, entries: Sequence[Entry]) -> LogIndex | None:
    if index > self.last_index() or (self.term_at(index) is None):
        return None
    self.append([entry for entry in entries if self.term_at(entry.index) != entry.term])
    return LogIndex(index + len(entries))


def _incoming_decides(self: quorum.JointConfig, acked: Any) -> LogIndex:
    return self.incoming.committed(acked)


def _incoming_votes(self: quorum.JointConfig, votes: Any) -> quorum.VoteResult:
    return self.incoming.vote_result(votes)


def _half_is_enough(self: quorum.MajorityConfig, acked: Any) -> LogIndex:
    if not self.voters:
        return LOG_INDEX_MAX
    descending = sorted((acked.get(voter, LOG_INDEX_MIN) for voter in self.voters), reverse=True)
    return LogIndex(descending[(len(descending) - 1) // 2])


def _keep_match(self: tracker.Tracker, _last: LogIndex) -> None:
    self.votes = {}
    for progress in self.progress.values():
        progress.become_probe()


def _restore_without_membership(core: Core, snapshot: Snapshot) -> bool:
    if snapshot.index <= core.log.committed or core.node not in snapshot.membership.members:
        return False
    stays = bool(core.tracker.membership.members)
    if core.log.term_at(snapshot.index) == snapshot.term:
        core.log.commit_to(snapshot.index)
        return False
    core.log.restore(snapshot)
    if not stays:
        core.tracker.switch(snapshot.membership, core.log.last_index())
    return True


def _heartbeat_commits_all(core: Core, commit: LogIndex) -> None:
    core.log.commit_to(LogIndex(min(commit, core.log.last_index())))


def _broadcast_whole_commit(core: Core) -> None:
    number = core.reads.begin_round(core.node, core.ticks, keep_tick=True)
    for node, _ in core.tracker.others(core.node):
        core.heartbeats.append((node, core.term, core.log.committed, number))
    heartbeat.confirm_rounds(core)


def _transfer_keeps_lease(core: Core, target: NodeId) -> None:
    core.send(Message(MessageKind.TIMEOUT_NOW, target, core.node, core.term))


def _lease_for_ever(core: Core) -> bool:
    return core.reads.confirmed_tick is not None


def _nothing(*_: object) -> None:
    """In the place of something that mattered."""


def _confirm_from_now(core: Core) -> None:
    before = core.reads.confirmed_tick
    _CONFIRM(core)
    if core.reads.confirmed_tick != before:
        core.reads.confirmed_tick = core.ticks


_CONFIRM = heartbeat.confirm_rounds


def _never(_: Core) -> bool:
    return False


def _changes_at_any_time(core: Core, proposals: Sequence[Entry]) -> Sequence[Entry]:
    return proposals


def _any_answer_counts(core: Core, node: NodeId, progress: Progress, _round: int) -> None:
    _TAKE_ANSWER(core, node, progress, core.reads.round)


_TAKE_ANSWER = leader.take_answer


def _vote_twice(core: Core, message: Message) -> None:
    core.vote, core.lead = NODE_NONE, NODE_NONE
    _ON_VOTE(core, message)


_ON_VOTE = election.on_vote_request


def _lead_before_own_vote(core: Core, message: Message) -> None:
    if core.tracker.votes.get(core.node) is None and not message.reject:
        granted = {**core.tracker.votes, message.sender: True}
        if core.tracker.membership.voters.vote_result(granted) is quorum.VoteResult.WON:
            core.tracker.record_vote(core.node, granted=True)
    election.on_vote_response(core, message)


def _no_promise(core: Core, leader: NodeId) -> None:
    quiet_until = core.quiet_until
    _FOLLOW(core, leader)
    core.quiet_until = quiet_until


_FOLLOW = follower.follow


def _hear_any_term(self: RaftNode, sender: NodeId, _term: Term, _commit: LogIndex) -> bool:
    core = self._core
    if core.role is Role.FOLLOWER:
        core.election_elapsed = 0
        core.quiet_until = max(core.quiet_until, core.ticks + core.options.election_ticks)
    return sender in core.tracker.progress


def _no_promise_in_entered_term(core: Core, message: Message) -> None:
    quiet_until, core.quiet_until = core.quiet_until, 0
    _ON_VOTE(core, message)
    core.quiet_until = quiet_until


def _no_change_but_one(_: log.RaftLog) -> LogIndex:
    return LOG_INDEX_MIN


def _no_unapplied_change(_: log.RaftLog) -> bool:
    return False


def _lead_with_changes(core: Core) -> None:
    _BECOME_LEADER(core)
    core.config_pending = LOG_INDEX_MIN


_BECOME_LEADER = Core.become_leader


def _commit_whole_word(core: Core, message: Message) -> None:
    last = core.log.try_append(message.index, message.log_term, message.entries)
    if last is None or message.index < core.log.committed:
        _ON_APPEND(core, message)
        return
    core.log.commit_to(message.commit)
    kind = MessageKind.APPEND_RESPONSE
    core.send(Message(kind, message.sender, core.node, core.term, index=last))


_ON_APPEND = follower._on_append


def _refusal_is_match(core: Core, message: Message) -> None:
    _count(core, message, message.index)


def _hint_is_match(core: Core, message: Message) -> None:
    _count(core, message, message.hint)


def _count(core: Core, message: Message, index: LogIndex) -> None:
    progress = core.tracker.progress.get(message.sender)
    if message.reject and progress is not None:
        progress.acknowledge(index)
    leader.on_append_response(core, message)


def _handlers_with(kinds: frozenset[MessageKind], handler: Any) -> Any:
    return {role: {**known, **dict.fromkeys(kinds & known.keys(), handler)} for role, known in step.HANDLERS.items()}


_VOTE = frozenset({MessageKind.VOTE})
_APPEND_RESPONSE = frozenset({MessageKind.APPEND_RESPONSE})

BUGS = (
    Bug("vote not persisted", "PySyncObj#202", muscle=ForgetsVote),
    Bug("term not persisted", "PySyncObj#202", muscle=ForgetsTerm),
    Bug("ack before the sync", "paper, figure 2", muscle=AcksEarly),
    Bug("snapshot acked before the sync", "paper 7", muscle=AcksSnapshotEarly),
    Bug("own ack before the sync", "thesis 10.2.1", ((Replicator, "_collect", own_word_at_once),)),
    Bug(
        "older term committed by counting",
        "paper, figure 8",
        ((leader, "advance_commit", _commit_any_term), (reconfigure, "advance_commit", _commit_any_term)),
    ),
    Bug(
        "read before the first commit of the term",
        "thesis 6.4",
        ((heartbeat, "request_read", _request_without_noop), (leader, "request_read", _request_without_noop)),
    ),
    Bug(
        "read without a round",
        "thesis 6.4",
        ((leader, "request_read", _request_without_round),),
        scenario="leases",
    ),
    Bug(
        "any heartbeat's answer confirms",
        "thesis 6.4",
        ((leader, "take_answer", _any_answer_counts),),
        scenario="echoes",
    ),
    Bug(
        "acks of older terms count",
        "openraft alpha.28",
        ((step, "_answer_old_term", _stale_words_count),),
        scenario="coups",
    ),
    Bug(
        "stale write counts after truncation",
        "etcd/raft async storage",
        (
            (unstable.Unstable, "stable_to", _stable_to_any_term),
            (step, "_answer_old_term", _old_store_word_counts),
        ),
        scenario="coups",
    ),
    Bug(
        "two votes in a term",
        "databend#16175",
        ((step, "HANDLERS", _handlers_with(_VOTE, _vote_twice)),),
    ),
    Bug(
        "leads before its own vote is durable",
        "found while building this",
        ((step, "HANDLERS", _handlers_with(frozenset({MessageKind.VOTE_RESPONSE}), _lead_before_own_vote)),),
        scenario="coups",
    ),
    Bug("vote for a shorter log", "paper 5.4.1", ((log.RaftLog, "is_up_to_date", _always_up_to_date),)),
    Bug("late append cuts newer entries", "paper 5.3", ((log.RaftLog, "_known_count", _cut_all),)),
    Bug(
        "append without its predecessor",
        "openraft#1795",
        ((log.RaftLog, "try_append", _append_anywhere),),
        scenario="coups",
    ),
    Bug(
        "joint commit by the new half",
        "paper 6",
        ((quorum.JointConfig, "committed", _incoming_decides),),
        scenario="changes",
    ),
    Bug(
        "joint election by the new half",
        "paper 6",
        ((quorum.JointConfig, "vote_result", _incoming_votes),),
        scenario="changes",
    ),
    Bug("half is a quorum", "openraft#1802", ((quorum.MajorityConfig, "committed", _half_is_enough),)),
    Bug("match survives an election", "paper, figure 2", ((tracker.Tracker, "reset", _keep_match),), scenario="coups"),
    Bug("stale membership after a snapshot", "openraft#1808", ((follower, "_restore", _restore_without_membership),)),
    Bug("stale membership in checkpoints", "openraft#1808", muscle=SavesOldMembership),
    Bug(
        "heartbeat commits what may differ",
        "tikv#7353",
        (
            (heartbeat, "broadcast_heartbeat", _broadcast_whole_commit),
            (leader, "broadcast_heartbeat", _broadcast_whole_commit),
            (replication, "broadcast_heartbeat", _broadcast_whole_commit),
            (follower, "take_commit", _heartbeat_commits_all),
        ),
        scenario="coups",
    ),
    Bug(
        "two changes at once",
        "thesis 4.1",
        ((leader, "_without_untimely_changes", _changes_at_any_time),),
        scenario="changes",
    ),
    Bug("read numbers reused", "found while building this", muscle=CountsReadsAnew, scenario="echoes"),
    Bug("retries run twice", "etcd#18424", ((UserKeys, "_apply_once", apply_again),)),
    Bug("commit index before its entries", "found by this simulator", muscle=WritesCommitFirst, scenario="coups"),
    Bug("no flush after a change", "found by this simulator", ((Replica, "_pass_barrier", pass_no_barrier),)),
    Bug(
        "transfer keeps the lease",
        "openraft#1747",
        ((leader, "send_timeout_now", _transfer_keeps_lease), (transfer, "send_timeout_now", _transfer_keeps_lease)),
        scenario="leases",
    ),
    Bug(
        "bundled heartbeat of another term is answered",
        "review of this core",
        ((RaftNode, "hear", _hear_any_term),),
        scenario="leases",
    ),
    Bug("lease without an end", "etcd#20418", ((heartbeat, "lease_holds", _lease_for_ever),), scenario="leases"),
    Bug("lease survives a pause", "etcd#20418", ((RaftNode, "pause_detected", _nothing),), scenario="leases"),
    Bug(
        "lease from the answer on",
        "thesis 6.4.1",
        (
            (heartbeat, "confirm_rounds", _confirm_from_now),
            (leader, "confirm_rounds", _confirm_from_now),
            (reconfigure, "confirm_rounds", _confirm_from_now),
        ),
        scenario="echoes",
    ),
    Bug(
        "gate without an index",
        "found while building this",
        ((Replicator, "_set_gates", gates_without_index),),
        scenario="leases",
    ),
    Bug(
        "gate stays open for a transfer",
        "openraft#1747",
        ((Replicator, "_set_gates", gates_stay_open),),
        scenario="leases",
    ),
    Bug(
        "leader keeps leading while its disk stalls",
        "hashicorp/raft#503",
        ((leader, "_store_stands_still", _never),),
        scenario="storm",
    ),
    Bug(
        "promise ends with a higher term",
        "review of this core",
        ((follower, "follow", _no_promise),),
        scenario="refusals",
    ),
    Bug(
        "no promise in a term already entered",
        "review of this core",
        ((step, "HANDLERS", _handlers_with(_VOTE, _no_promise_in_entered_term)),),
        scenario="refusals",
    ),
    Bug(
        "torn write hides a committed change",
        "review of this core",
        ((log.RaftLog, "last_change_but_one", _no_change_but_one),),
        scenario="changes",
    ),
    Bug(
        "stands with a change not applied",
        "review of this core",
        ((log.RaftLog, "has_unapplied_change", _no_unapplied_change),),
        scenario="changes",
    ),
    Bug(
        "new leader changes at once",
        "review of this core",
        ((Core, "become_leader", _lead_with_changes),),
        scenario="changes",
    ),
    Bug("append commits beyond its entries", "paper, figure 2", ((follower, "_on_append", _commit_whole_word),)),
    Bug(
        "refusal counts as match",
        "review of this core",
        ((step, "HANDLERS", _handlers_with(_APPEND_RESPONSE, _refusal_is_match)),),
        scenario="coups",
    ),
    Bug(
        "hint counts as match",
        "review of this core",
        ((step, "HANDLERS", _handlers_with(_APPEND_RESPONSE, _hint_is_match)),),
        scenario="coups",
    ),
    Bug(
        "group closed by the rows at hand",
        "review of this node",
        ((Shards, "_close", close_at_once),),
        scenario="moves",
    ),
    Bug("both halves of a split take writes", "review of this node", muscle=KeepsBothHalves, scenario="halves"),
)
