"""The desk where operators and clients ask: status, keyspaces, membership, transfers, care of what is on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from kvarts.base.errors import InvalidArgument, KvartsError, NotLeader, Unavailable
from kvarts.node import checks, copies, growth, joins, members, placing, spaces, splits, verbs
from kvarts.node.asker import Asker, Keeper, Verb
from kvarts.node.bootstrap import RandomBytes
from kvarts.node.conductor import Conductor
from kvarts.node.shards import FEATURES, Shards, parse_features
from kvarts.raft.ids import NodeId
from kvarts.replication.events import Event, GroupId
from kvarts.replication.replicator import Replicator
from kvarts.replication.turn import Turn

CALL_MS_MAX = 60_000
"""A call that is not done after this long is refused; what it began may still come about."""


class Counter(Keeper, Protocol):
    """Where answers go: the muscle."""

    def answer(self, call_id: int, answer: str) -> None:
        """Answer a call."""

    def refuse(self, call_id: int, error: Mapping[str, Any]) -> None:
        """Refuse a call."""

    def care(self, call_id: int, verb: str) -> None:
        """Have all state machines do a verb of CARE, and answer the call. Does not wait."""


@dataclass(slots=True)
class _Job:
    call_id: int | None
    verb: Verb
    until_ms: int


VERBS: Mapping[str, Callable[[Asker, Mapping[str, Any]], Verb]] = {
    "status": verbs.status,
    "keyspaces": verbs.keyspaces,
    "shards": verbs.shards,
    "make-keyspace": spaces.make_keyspace,
    "split": splits.split,
    "limit-shards": growth.limit,
    "transfer": members.transfer,
    "join": joins.join,
    "token": joins.token,
    "add-node": members.add_node,
    "remove-node": members.remove_node,
    "plan": placing.show_plan,
    "check-groups": checks.groups,
    "check": checks.begin,
    "digest": checks.digest,
    "fence": checks.fence,
    "rebuild": checks.rebuild,
    "hold": copies.hold,
    "clock": copies.clock,
    "layouts": copies.layouts,
    "drain": placing.drain,
    "replace": placing.replace,
    "lose": placing.lose,
    "move-leader": placing.move_leader,
}

CARE = ("compact", "flush", "middles", "stats", "verify")
"""Verbs about this node's own files, which may take minutes: the muscle does them beside everything else."""


class Desk:
    """Takes calls, lets their verbs go on once per turn, and answers."""

    def __init__(
        self,
        counter: Counter,
        replicator: Replicator,
        group: GroupId,
        static_peers: Mapping[NodeId, str],
        *,
        cluster: str,
        random: RandomBytes,
    ) -> None:
        self._counter = counter
        self._asker = Asker(replicator, group, static_peers, cluster, counter, random)
        self._asker.features[replicator.node] = FEATURES
        self._asker.begin(members.announce(self._asker))
        self._jobs: list[_Job] = []

    def take(self, call_id: int, verb: str, arguments: str, *, now_ms: int) -> None:
        """Take a call. An unknown verb, or arguments that are no JSON object, are refused at once."""
        try:
            if verb not in VERBS and verb not in CARE:
                raise InvalidArgument(f"no verb {verb!r}", hint=f"verbs are {', '.join(sorted([*VERBS, *CARE]))}")
            given = json.loads(arguments or "{}", parse_constant=_no_json)
            if not isinstance(given, dict):
                raise InvalidArgument("arguments are a JSON object")
            if verb in CARE:
                self._counter.care(call_id, verb)
                return
        except (KvartsError, ValueError, RecursionError) as error:
            self._refuse(call_id, error)
            return
        self._jobs.append(_Job(call_id, VERBS[verb](self._asker, given), now_ms + CALL_MS_MAX))

    def meet(self, conductor: Conductor, known: Shards) -> None:
        """Let verbs see who answers, and the shards."""
        self._asker.conductor, self._asker.known = conductor, known

    def peer_came(self, node: int, features: str) -> None:
        """Another node told what it knows."""
        self._asker.features[NodeId(node)] = parse_features(features)

    def work(self, now_ms: int) -> list[Event]:
        """Let every verb go on; return the events that they want."""
        events: list[Event] = []
        self._asker.now_ms = now_ms
        if self._asker.begun:
            self._jobs += [_Job(None, each, now_ms + 10 * CALL_MS_MAX) for each in self._asker.begun]
            self._asker.begun = []
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            try:
                events += next(job.verb)
            except StopIteration as done:
                if job.call_id is not None:
                    self._counter.answer(job.call_id, json.dumps(done.value))
            except (KvartsError, ValueError, KeyError, TypeError, OverflowError) as error:
                self._refuse(job.call_id, error)
            else:
                self._keep(job, now_ms)
        return events

    def settle(self, turn: Turn) -> None:
        """Take what became of commands."""
        for done in turn.commands_done:
            self._asker.outcomes[done.context] = done
        for refused in turn.commands_refused:
            self._asker.outcomes[refused.context] = refused

    @property
    def busy(self) -> bool:
        """True while a verb runs."""
        return bool(self._jobs)

    def _keep(self, job: _Job, now_ms: int) -> None:
        if now_ms < job.until_ms:
            self._jobs.append(job)
        else:
            job.verb.close()
            self._refuse(job.call_id, Unavailable("not done in time", hint="see the node's status; ask again"))

    def _refuse(self, call_id: int | None, error: Exception) -> None:
        if call_id is None:
            return
        if not isinstance(error, KvartsError):
            error = InvalidArgument(f"arguments that cannot be: {error!r}")
        fields = {
            "code": error.code,
            "kind": _kind(error),
            "message": error.message,
            "hint": error.hint or "",
            "retryable": error.retryable,
            "maybe_applied": error.maybe_applied,
            "leader_id": int(self._asker.replica.leader) if isinstance(error, NotLeader) else 0,
            "leader_address": error.leader if isinstance(error, NotLeader) else "",
        }
        self._counter.refuse(call_id, fields)


def _no_json(constant: str) -> NoReturn:
    raise InvalidArgument(f"{constant} is no JSON")


def _kind(error: KvartsError) -> str:
    """Return the name of the public error that this is."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == KvartsError.__module__)
