"""Clients: they write, read and count, ask again when nobody answers, and keep a history for the judge."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from kvarts.base.types import ABSENT, ANY, Condition, Equals
from kvarts.replication.events import GroupId
from kvarts.statemachine.commands import (
    AnyCommand,
    Command,
    Delete,
    Incr,
    OpenSession,
    Outcome,
    Put,
    Result,
    SessionId,
)
from kvarts.statemachine.commands import Operation as StoreOperation
from kvarts.testing.linearizability import Operation
from kvarts_sim.cluster.agenda import MS, SECOND, Agenda
from kvarts_sim.cluster.invariants import demand
from kvarts_sim.cluster.muscle import Reply

ANSWER_US = 500 * MS
GIVE_UP_US = 8 * SECOND
CLIENT_IDS = 1000
"""Ids of clients on the network begin here."""


@dataclass(frozen=True, slots=True)
class Request:
    """A command, or a read of a key."""

    group: GroupId
    command: AnyCommand | None = None
    key: bytes = b""


@dataclass(slots=True)
class Call:
    """One operation under way, however often it is asked."""

    words: tuple[object, ...]
    request: Request
    began_us: int
    attempt: int = 0
    uncertain: bool = False
    """It was asked before, and nobody answered."""
    over: bool = False


class Client:
    """Does one thing at a time, on one group. A call that it gives up ends its session, and another client goes on."""

    def __init__(  # noqa: PLR0917
        self,
        number: int,
        group: GroupId,
        agenda: Agenda,
        rng: random.Random,
        nodes: Callable[[], list[int]],
        submit: Callable[[int, int, Request, Reply], None],
        route: Callable[[GroupId, bytes], GroupId],
        think_us: int,
    ) -> None:
        self.number = number
        self.group = group
        self.history: list[Operation] = []
        self.done = 0
        self.stopped = False
        self._agenda, self._rng, self._nodes, self._submit = agenda, rng, nodes, submit
        self._route = route
        self._think_us = think_us
        self._life = 0
        self._sessions: dict[GroupId, SessionId] = {}
        self._sequence = 0
        self._count = 0
        self._node = 0
        self._known: dict[bytes, bytes | None] = {}
        self._call: Call | None = None
        self._later(1 + rng.randrange(think_us), self._next)

    def _later(self, delay_us: int, action: Callable[[], None]) -> None:
        self._agenda.after(delay_us, action)

    def _next(self) -> None:
        if self.stopped:
            return
        if not self._sessions:
            self._begin(("open",), Request(self.group, OpenSession()))
            return
        rng = self._rng
        key = b"k%d" % rng.randrange(4)
        kind = rng.choices(["get", "put", "delete", "cas", "incr"], [40, 25, 5, 20, 10])[0]
        # Every other client only reads: it stays with a node that answers, also with one that leads no more.
        if kind == "get" or self.number % 2:
            self._begin(("get", key), Request(self._route(self.group, key), key=key))
            return
        group = self._route(self.group, self._counter if kind == "incr" else key)
        if group not in self._sessions:
            self._begin(("open",), Request(group, OpenSession()))
            return
        self._sequence += 1
        value = b"%d.%d.%d" % (self.number, self._life, self._sequence)
        old = self._known.get(key)
        words: tuple[object, ...] = {
            "put": ("put", key, value),
            "delete": ("delete", key),
            "cas": ("cas", key, old, value),
            "incr": ("incr",),
        }[kind]
        self._begin(words, Request(group, self._command(kind, key, value, old, self._sessions[group]), key))

    def _command(self, kind: str, key: bytes, value: bytes, old: bytes | None, session: SessionId) -> Command:
        condition: Condition = ANY
        if kind == "cas":
            condition = ABSENT if old is None else Equals(old)
        operation: StoreOperation = Put(key, value, condition)
        if kind == "delete":
            operation = Delete(key)
        elif kind == "incr":
            operation = Incr(self._counter)
        return Command((operation,), session, self._sequence, self._sequence - 1)

    @property
    def _counter(self) -> bytes:
        return b"c%d.%d" % (self.number, self._life)

    def _begin(self, words: tuple[object, ...], request: Request) -> None:
        self._call = call = Call(words, request, self._agenda.now_us)
        self._ask(call)

    def _ask(self, call: Call) -> None:
        if call.over:
            return
        if self._agenda.now_us - call.began_us > GIVE_UP_US or self.stopped:
            self._give_up(call)
            return
        nodes = self._nodes()
        if self._node not in nodes:
            self._node = self._rng.choice(nodes)
        call.attempt += 1
        attempt = call.attempt
        self._submit(
            CLIENT_IDS + self.number, self._node, call.request, lambda word, value: self._answer(call, word, value)
        )
        self._later(ANSWER_US, lambda: self._no_answer(call, attempt))

    def _no_answer(self, call: Call, attempt: int) -> None:
        if not call.over and call.attempt == attempt:
            self._node = 0
            call.uncertain = True
            self._ask(call)

    def _answer(self, call: Call, word: str, value: object) -> None:
        if call.over:
            return
        if word == "refused":
            assert isinstance(value, int)
            self._node = value
            call.attempt += 1
            self._later(20 * MS, lambda: self._ask(call))
            return
        if word == "moved" or (isinstance(value, Result) and value.outcome is Outcome.WRONG_SHARD):
            self._moved(call)
            return
        call.over = True
        if isinstance(value, Result) and value.outcome is Outcome.SESSION_EXPIRED:
            self._give_up(call)
            return
        self._finish(call, value)
        self._later(1 + self._rng.randrange(self._think_us), self._next)

    def _moved(self, call: Call) -> None:
        """The group was split: a read goes where the key is now.

        A write never took place, though it may have been asked for before: so says the log of the group that it was
        sent to, under its session and sequence. What comes next has another sequence, of a session there.
        """
        call.attempt += 1
        if call.request.command is None:
            call.request = replace(call.request, group=self._route(self.group, call.request.key))
            self._later(20 * MS, lambda: self._ask(call))
            return
        call.over = True
        self._later(20 * MS, self._next)

    def _finish(self, call: Call, value: object) -> None:
        self.done += 1
        kind = call.words[0]
        if kind == "open":
            assert isinstance(value, Result)
            self._sessions[call.request.group] = SessionId(value.revision)
            return
        if kind == "incr":
            assert isinstance(value, Result)
            self._count += 1
            demand(value.values == (self._count,), "exactly once", f"client {self.number} {value}, not {self._count}")
            return
        output: object = None
        if kind == "get":
            output = value[0] if isinstance(value, tuple) else None
            key = call.words[1]
            assert isinstance(key, bytes)
            self._known[key] = output
        elif kind == "cas":
            assert isinstance(value, Result)
            output = value.outcome is Outcome.DONE
        self._record(call, self._agenda.now_us, output)

    def _record(self, call: Call, returned: int | None, output: object = None) -> None:
        who = f"{self.number}.{self._life}"
        self.history.append(Operation(who, call.began_us, returned, call.words, output))

    def _give_up(self, call: Call) -> None:
        call.over = True
        if call.words[0] not in ("open", "incr"):
            self._record(call, None)
        self._life += 1
        self._sessions, self._sequence, self._count, self._node = {}, 0, 0, 0
        self._later(self._think_us, self._next)
