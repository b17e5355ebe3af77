"""Compares the replicas of a cluster: the digests of each group's rows at one entry of its log, judged by majority."""

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from threading import Event
from typing import Any

from kvarts import _native
from kvarts.base.errors import CommitUnknown, DeadlineExceeded, InvalidArgument, KvartsError, NotLeader, Unavailable
from kvarts.remote.admin import CALL_MS
from kvarts.remote.seeds import client_of
from kvarts.remote.target import parse

META = 1
AT_ONCE = 4
"""Groups that are checked together: each replica keeps what it reads from being forgotten meanwhile."""
POLL_S = 0.2
SILENT_S = 10.0
"""A node that answers nothing, or does not reach the entry, for so long is counted out."""
BEGIN_S = 30.0
"""How long a group may be without a leader."""
TRIES = 3
"""A node that restarts forgets its digests: then the group is asked anew, at another entry."""


class Outcome(Enum):
    """What became of the comparison of one group."""

    EQUAL = "equal"
    """All voters have the same rows."""
    DIFFERS = "differs"
    """Most voters have the same rows, and `differing` have others."""
    DIVIDED = "divided"
    """No digest is that of most voters: nobody knows who is right."""
    UNHEARD = "unheard"
    """Those that answered have the same rows, and some did not, or are fenced."""


@dataclass(slots=True)
class Finding:
    """One group as its replicas were found."""

    group: int
    keyspace: str
    voters: tuple[int, ...]
    digests: dict[int, str] = field(default_factory=dict)
    """Of the nodes that have one."""
    silent: dict[int, str] = field(default_factory=dict)
    """Of the others, why they have none."""
    index: int = 0
    rows: int = 0
    bytes: int = 0
    number: int = 0
    fenced: dict[int, str] = field(default_factory=dict)
    """Replicas that were fenced for this, and what they said."""

    @property
    def agreed(self) -> str | None:
        """The digest that most voters have."""
        return agreed(self.voters, self.digests)

    @property
    def differing(self) -> tuple[int, ...]:
        """The nodes that most others contradict."""
        right = self.agreed
        return () if right is None else tuple(node for node, each in sorted(self.digests.items()) if each != right)

    @property
    def outcome(self) -> Outcome:
        """What came of it."""
        if self.differing:
            return Outcome.DIFFERS
        if len(set(self.digests.values())) > 1:
            return Outcome.DIVIDED
        return Outcome.UNHEARD if self.silent or not self.digests else Outcome.EQUAL

    def told(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "group": self.group,
            "keyspace": self.keyspace,
            "outcome": self.outcome.value,
            "index": self.index,
            "rows": self.rows,
            "bytes": self.bytes,
            "digests": {str(node): each for node, each in sorted(self.digests.items())},
            "differing": list(self.differing),
            "fenced": sorted(self.fenced),
            "silent": {str(node): why for node, why in sorted(self.silent.items())},
        }


def agreed(voters: Collection[int], digests: Mapping[int, str]) -> str | None:
    """Return the digest that most of all voters have, also of those that have none; None where there is no such."""
    counted = Counter(digest for node, digest in digests.items() if node in voters)
    for digest, count in counted.most_common(1):
        if 2 * count > len(voters):
            return digest
    return None


Told = Callable[[int, int], object]
"""Hears how many groups are done, and how many there are."""


def check(
    uri: str,
    *,
    groups: Collection[int] = (),
    fences: bool = True,
    told: Told = lambda _done, _total: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Finding]:
    """Compare the replicas of all groups, or of some, and yield each group's finding as it is known.

    `fences`: a replica that most others contradict serves nobody from then on, until it is rebuilt. Raises Unavailable,
    and InvalidArgument where a node is too old or there is no such group.
    """
    client = client_of(parse(uri))
    try:
        yield from _Checker(client, clock, fences=fences).run(groups, told)
    finally:
        client.close()


@dataclass(slots=True)
class _Asked:
    """A group whose replicas count."""

    finding: Finding
    tries: int = 0
    since_s: dict[int, float] = field(default_factory=dict)
    """Since when a node says nothing new."""


class _Checker:
    def __init__(self, client: _native.Client, clock: Callable[[], float], *, fences: bool) -> None:
        self._client = client
        self._clock = clock
        self._fences = fences
        self._addresses: dict[int, str] = {}
        self._pause = Event()

    def run(self, groups: Collection[int], told: Told) -> Iterator[Finding]:
        """Yield findings, a few groups at a time."""
        found = self._ask("check-groups", {})
        self._addresses = {int(node): address for node, address in found["addresses"].items()}
        missing = set(groups) - {each["group"] for each in found["groups"]}
        if missing:
            raise InvalidArgument(
                f"no shard {min(missing)}", hint="`kvarts cluster shards` lists them; 1 is the meta group"
            )
        waiting = [each for each in found["groups"] if not groups or each["group"] in groups]
        total, done = len(waiting), 0
        under_way: list[_Asked] = []
        while waiting or under_way:
            while waiting and len(under_way) < AT_ONCE:
                under_way.append(self._begin(waiting.pop(0)))
            for asked in list(under_way):
                if self._look(asked):
                    under_way.remove(asked)
                    done += 1
                    if self._fences:
                        self._fence(asked.finding)
                    told(done, total)
                    yield asked.finding
            if under_way:
                self._pause.wait(POLL_S)

    def _begin(self, listed: Mapping[str, Any]) -> _Asked:
        finding = Finding(listed["group"], listed["keyspace"], tuple(listed["voters"]))
        asked = _Asked(finding)
        self._number(asked)
        return asked

    def _number(self, asked: _Asked) -> None:
        """Have the digests made, at an entry of the group's log that is to come."""
        finding, until_s = asked.finding, self._clock() + BEGIN_S
        asked.tries += 1
        asked.since_s.clear()
        finding.digests.clear()
        finding.silent.clear()
        while True:
            try:
                finding.number = self._ask("check", {"group": finding.group})["number"]
                return
            except (Unavailable, NotLeader, DeadlineExceeded, CommitUnknown):
                if self._clock() > until_s:
                    raise
                self._pause.wait(POLL_S)

    def _look(self, asked: _Asked) -> bool:
        """Ask the replicas that have yet to tell; return whether all that can be known is."""
        finding, again = asked.finding, False
        for node in finding.voters:
            if node in finding.digests or node in finding.silent:
                continue
            state = self._digest(node, finding)
            match state.pop("state"):
                case "done":
                    finding.digests[node] = state["digest"]
                    finding.index, finding.rows, finding.bytes = state["index"], state["rows"], state["bytes"]
                case "fenced":
                    finding.silent[node] = f"fenced: {state['why']}"
                case "lost" | "failed" if asked.tries < TRIES:
                    again = True
                case "lost" | "failed" as what:
                    finding.silent[node] = state.get("why") or f"its digest is {what}"
                case "counting":
                    asked.since_s.pop(node, None)
                case _:
                    since_s = asked.since_s.setdefault(node, self._clock())
                    if self._clock() > since_s + SILENT_S:
                        finding.silent[node] = state.get("why") or "it does not reach the entry"
        if again:
            self._number(asked)
            return False
        return len(finding.digests) + len(finding.silent) == len(finding.voters)

    def _digest(self, node: int, finding: Finding) -> dict[str, Any]:
        arguments = {"group": finding.group, "number": finding.number}
        try:
            found: dict[str, Any] = self._ask("digest", arguments, node)
            return found
        except (Unavailable, DeadlineExceeded, CommitUnknown, NotLeader) as error:
            return {"state": "unheard", "why": error.message}

    def _fence(self, finding: Finding) -> None:
        right = finding.agreed
        agreeing = [node for node, each in finding.digests.items() if each == right]
        for node in finding.differing:
            arguments = {"group": finding.group, "number": finding.number, "digest": right, "agreeing": agreeing}
            try:
                finding.fenced[node] = self._ask("fence", arguments, node)["why"]
            except KvartsError as error:
                finding.silent[node] = f"not fenced: {error.message}"

    def _ask(self, verb: str, arguments: Mapping[str, object], node: int | None = None) -> Any:
        address = None if node is None else self._addresses.get(node, "")
        if address == "":
            raise Unavailable(f"nobody knows where node {node} listens")
        return json.loads(self._client.call(_native.Request.admin(verb, json.dumps(arguments), address), CALL_MS))
