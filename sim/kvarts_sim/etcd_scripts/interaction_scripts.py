"""The interaction scripts: their commands on a cluster without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from kvarts.raft.confchange import ConfigChange, Transition
from kvarts.raft.errors import InvariantBroken, RaftError
from kvarts.raft.ids import LogIndex, NodeId
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Message, MessageKind, Role
from kvarts.raft.options import RaftOptions, ReadMode
from kvarts_sim.etcd_scripts.cluster import Cluster, Member, error_line, titled
from kvarts_sim.etcd_scripts.confchange_scripts import parse_changes
from kvarts_sim.etcd_scripts.datadriven import Case, ScriptError
from kvarts_sim.etcd_scripts.render import (
    KIND_WORDS,
    OLD_STYLE,
    ROLE_WORDS,
    describe_all_progress,
    entry_line,
    message_lines,
)

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal", "none")
MESSAGE_KINDS = {word: kind for kind, word in KIND_WORDS.items()}


class CommandRefused(Exception):  # noqa: N818  # it is what the script is told
    """The command makes no sense; this is what it prints."""


class InteractionScript:
    """Runs interaction commands on one cluster. Lines that the implementation logs are not printed."""

    def __init__(self) -> None:
        self._cluster = Cluster()
        self._quiet = False

    def run(self, case: Case) -> str:
        """Return what the command prints."""
        lines: list[str] = []
        failed: list[str] = []
        try:
            lines.extend(COMMANDS.get(case.command, _unknown)(self, case))
        except RaftError as error:
            failed = [error_line(error)]
        except CommandRefused as refused:
            failed = [str(refused)]
        except (LookupError, ValueError, InvariantBroken) as error:
            raise ScriptError(f"line {case.line}: {case.raw}: {error}") from error
        level = case.value("log-level")
        quiet = self._quiet if level is None else level.lower() == "none"
        return "\n".join(failed if quiet else lines + failed) or "ok"

    def _log_level(self, case: Case) -> Iterator[str]:
        (level,) = case.words
        if level.lower() not in LOG_LEVELS:
            raise CommandRefused(f"log levels must be either of [{' '.join(LOG_LEVELS).upper()}]")
        self._quiet = level.lower() == "none"
        yield from ()

    def _add_nodes(self, case: Case) -> Iterator[str]:
        (count,) = case.words
        voters, learners = (tuple(map(int, case.values(key) or ())) for key in ("voters", "learners"))
        index = LogIndex(int(case.value("index") or 0))
        data = (case.value("content") or "").encode()
        if (voters or learners or index or data) and index <= 1:
            raise CommandRefused("index must be specified as > 1 due to bootstrap")
        for _ in range(int(count)):
            options = node_options(case, NodeId(len(self._cluster.members) + 1))
            self._cluster.add(options, Membership.of(*voters, learners=learners), index, data)
        yield from ()

    def _campaign(self, case: Case) -> Iterator[str]:
        self._one(case).node.campaign()
        yield from ()

    def _compact(self, case: Case) -> Iterator[str]:
        node, index = map(int, case.words)
        self._cluster.member(NodeId(node)).store.compact(LogIndex(index))
        yield from self._log_lines(NodeId(node))

    def _deliver(self, case: Case) -> Iterator[str]:
        word = case.value("type")
        if word and word not in MESSAGE_KINDS:
            raise ScriptError(f"line {case.line}: unknown message type {word}")
        kind = MESSAGE_KINDS[word] if word else None
        delivered = False
        for node, drop in _recipients(case):
            for line in self._cluster.deliver(node, kind, drop=drop):
                delivered = True
                yield line
        if not delivered:
            yield "no messages"

    def _process_ready(self, case: Case) -> Iterator[str]:
        return self._each(case, "handling Ready", self._cluster.process_ready)

    def _process_append(self, case: Case) -> Iterator[str]:
        return self._each(case, "processing append thread", self._cluster.process_append)

    def _process_apply(self, case: Case) -> Iterator[str]:
        return self._each(case, "processing apply thread", self._cluster.process_apply)

    def _raft_log(self, case: Case) -> Iterator[str]:
        (node,) = _nodes(case.words)
        return self._log_lines(node)

    def _raft_state(self, _case: Case) -> Iterator[str]:
        for node, member in self._cluster.members.items():
            status = member.node.status()
            voter = "(Voter)" if node in status.membership.voters.voters else "(Non-Voter)"
            yield f"{node}: {ROLE_WORDS[status.role]} {voter} Term:{status.term} Lead:{status.lead}"

    def _set_election_timeout(self, case: Case) -> Iterator[str]:
        self._one(case).core.election_ticks_drawn = int(case.value("timeout") or 0)
        yield from ()

    def _stabilize(self, case: Case) -> Iterator[str]:
        return self._cluster.stabilize(_nodes(case.words) or list(self._cluster.members))

    def _status(self, case: Case) -> Iterator[str]:
        member = self._one(case)
        if member.core.role is Role.LEADER:
            yield describe_all_progress(member.core.tracker)

    def _tick_election(self, case: Case) -> Iterator[str]:
        yield from self._tick(case, self._one(case).options.election_ticks)

    def _tick_heartbeat(self, case: Case) -> Iterator[str]:
        yield from self._tick(case, self._one(case).options.heartbeat_ticks)

    def _transfer(self, case: Case) -> Iterator[str]:
        source, target = (NodeId(int(case.value(key) or 0)) for key in ("from", "to"))
        self._cluster.member(source).node.transfer_to(target)
        yield from ()

    def _forget_leader(self, case: Case) -> Iterator[str]:
        self._one(case).node.forget_leader()
        yield from ()

    def _send_snapshot(self, case: Case) -> Iterator[str]:
        source, target = _nodes(case.words)
        member = self._cluster.member(source)
        term = member.node.status().term
        message = Message(MessageKind.SNAPSHOT, target, source, term, snapshot=member.history[-1])
        self._cluster.messages.append(message)
        return message_lines(message)

    def _propose(self, case: Case) -> Iterator[str]:
        (node, _), (payload, _) = case.arguments
        self._cluster.member(NodeId(int(node))).node.propose(payload.encode())
        yield from ()

    def _propose_config(self, case: Case) -> Iterator[str]:
        old_style = _is_on(case, "v1")
        changes = parse_changes(case.input)
        word = case.value("transition") or "auto"
        if word not in {each.value for each in Transition}:
            raise CommandRefused(f"unknown transition {word}")
        transition = Transition(word)
        if old_style and (len(changes) > 1 or transition is not Transition.AUTO):
            raise CommandRefused("v1 conf change can only have one operation and no transition")
        if old_style and not changes:
            raise ScriptError(f"line {case.line}: the old form changes one node")
        change = ConfigChange(changes, transition, OLD_STYLE if old_style else None)
        # A size near that of the encoded change; leaving is nothing, and is always taken.
        self._one(case).node.propose_config(change, size=0 if change.leaves_joint else 4 + 6 * len(changes))
        yield from ()

    def _report_unreachable(self, case: Case) -> Iterator[str]:
        nodes = _nodes(case.words)
        if len(nodes) != 2:
            raise CommandRefused("must specify exactly two node indexes: node on which to report, and reported node")
        self._cluster.member(nodes[0]).node.report_unreachable(nodes[1])
        yield from ()

    def _each(self, case: Case, doing: str, work: Callable[[NodeId], Iterator[str]]) -> Iterator[str]:
        nodes = _nodes(case.words)
        for node in nodes:
            yield from (titled(f"> {node} {doing}", work(node)) if len(nodes) > 1 else work(node))

    def _tick(self, case: Case, ticks: int) -> Iterator[str]:
        for _ in range(ticks):
            self._one(case).node.tick()
        yield from ()

    def _log_lines(self, node: NodeId) -> Iterator[str]:
        store = self._cluster.member(node).store
        first, last = store.first_index(), store.last_index()
        if last < first:
            yield f"log is empty: first index={first}, last index={last}"
            return
        yield from map(entry_line, store.entries(first, LogIndex(last + 1), None))

    def _one(self, case: Case) -> Member:
        return self._cluster.member(_nodes(case.words)[0])


Command = Callable[[InteractionScript, Case], Iterator[str]]
COMMANDS: Mapping[str, Command] = {
    "_breakpoint": lambda _script, _case: iter(()),
    "add-nodes": InteractionScript._add_nodes,
    "campaign": InteractionScript._campaign,
    "compact": InteractionScript._compact,
    "deliver-msgs": InteractionScript._deliver,
    "forget-leader": InteractionScript._forget_leader,
    "log-level": InteractionScript._log_level,
    "process-append-thread": InteractionScript._process_append,
    "process-apply-thread": InteractionScript._process_apply,
    "process-ready": InteractionScript._process_ready,
    "propose": InteractionScript._propose,
    "propose-conf-change": InteractionScript._propose_config,
    "raft-log": InteractionScript._raft_log,
    "raft-state": InteractionScript._raft_state,
    "report-unreachable": InteractionScript._report_unreachable,
    "send-snapshot": InteractionScript._send_snapshot,
    "set-randomized-election-timeout": InteractionScript._set_election_timeout,
    "stabilize": InteractionScript._stabilize,
    "status": InteractionScript._status,
    "tick-election": InteractionScript._tick_election,
    "tick-heartbeat": InteractionScript._tick_heartbeat,
    "transfer-leadership": InteractionScript._transfer,
}


def _nodes(words: Sequence[str]) -> list[NodeId]:
    return [NodeId(int(word)) for word in words]


def _unknown(_script: InteractionScript, _case: Case) -> Iterator[str]:
    raise CommandRefused("unknown command")


def _recipients(case: Case) -> Iterator[tuple[NodeId, bool]]:
    """Those to deliver to, and those whose messages are dropped, in the order in which they are named."""
    for key, values in case.arguments:
        if not values:
            yield NodeId(int(key)), False
        elif key == "drop":
            yield from ((NodeId(int(value)), True) for value in values)


TRUTH = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True)
TRUTH |= dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False)


def _is_on(case: Case, key: str) -> bool:
    word = case.value(key) or "false"
    if word not in TRUTH:
        raise ScriptError(f"line {case.line}: {key} is true or false, not {word}")
    return TRUTH[word]


READ_MODES = {None: ReadMode.SAFE, "safe": ReadMode.SAFE, "lease-based": ReadMode.LEASE}
NODE_OPTIONS = {
    "voters",
    "learners",
    "index",
    "content",
    "async-storage-writes",
    "checkquorum",
    "disable-conf-change-validation",
    "inflight",
    "max-committed-size-per-ready",
    "prevote",
    "read-only",
    "step-down-on-removal",
}


def node_options(case: Case, node: NodeId) -> RaftOptions:
    """Return the options that `add-nodes` names; what it does not name is as the scripts take for granted."""
    unknown = {key for key, values in case.arguments if values} - NODE_OPTIONS
    if unknown:
        raise ScriptError(f"line {case.line}: unknown options {sorted(unknown)}")
    read_only = case.value("read-only")
    if read_only not in READ_MODES:
        raise CommandRefused(f'invalid read-only option "{read_only}"')
    apply_bytes_max = case.value("max-committed-size-per-ready")
    return RaftOptions(
        node=node,
        election_ticks=3,
        heartbeat_ticks=1,
        pre_vote=_is_on(case, "prevote"),
        check_quorum=_is_on(case, "checkquorum"),
        async_storage=_is_on(case, "async-storage-writes"),
        append_bytes_max=None,
        inflight_count_max=int(case.value("inflight") or 2**31),
        inflight_bytes_max=None,
        uncommitted_bytes_max=None,
        apply_bytes_max=int(apply_bytes_max) if apply_bytes_max else None,
        read_mode=READ_MODES[read_only],
        lease_margin_ticks=1,
        step_down_on_removal=_is_on(case, "step-down-on-removal"),
        check_config_changes=not _is_on(case, "disable-conf-change-validation"),
    )
