"""The state machine against its scripts, and the native one against the model."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from kvarts.base.types import ABSENT, ANY, PRESENT, AtRevision, Condition, Equals, Revision
from kvarts.statemachine.commands import (
    AnyCommand,
    Command,
    Counter,
    Delete,
    DeleteRange,
    DropSessions,
    Fence,
    Incr,
    MoveLock,
    OpenSession,
    Operation,
    Put,
    Result,
    SessionId,
)
from tests.golden.machines import Machine, ModelMachine, NativeMachine, Teller
from tests.golden.scripts import GOLDEN, OF_PYTHON, run_script

SEEDS = int(os.environ.get("KVARTS_MACHINE_SEEDS", "150"))


@pytest.mark.parametrize("machine", [ModelMachine, NativeMachine], ids=["model", "native"])
@pytest.mark.parametrize(
    "path",
    sorted(path for path in (GOLDEN / "statemachine").glob("*.txt") if path.stem not in OF_PYTHON),
    ids=lambda path: path.stem,
)
def test_machine_behaves_as_its_script_says(path: Path, machine: Callable[[], Machine]) -> None:
    run_script(path, Teller(machine()).do)


def test_the_same_commands_give_the_same_rows_in_a_copy() -> None:
    one = ModelMachine()
    one.apply(0, [Command((Put(b"a", b"1"),))])
    copied = one.keys.copy()
    one.apply(0, [Command((Put(b"a", b"2"),))])
    assert copied.rows == {b"a": (b"1", Revision(1))}


class Chooser:
    """Makes up entries from a seed: few keys, so that commands meet; times that go on, stand still, or go back."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.sessions: list[SessionId] = []
        self.sequences: dict[SessionId, int] = {}
        self.stamp_us = 0
        self.rows: list[tuple[bytes, tuple[bytes, Revision]]] = []

    def entry(self) -> list[AnyCommand]:
        self.stamp_us = max(0, self.stamp_us + self.random.choice([0, 1, 900, 5_000, 40_000, -3_000]))
        return [self.command() for _ in range(self.random.choice([0, 1, 1, 2, 5, 9]))]

    def command(self) -> AnyCommand:
        match self.random.randrange(24):
            case 0:
                return OpenSession()
            case 1:
                return MoveLock(self.random.choice([b"door", b"gate"]))
            case 2 if self.random.randrange(4) == 0:
                return DropSessions(self.random.randrange(4))
        operations = tuple(self.operation() for _ in range(self.random.choice([1, 1, 1, 2, 4])))
        fence = Fence(self.random.choice([b"door", b"gate"]), self.random.randrange(4))
        session, sequence, answered = self.ticket()
        return Command(operations, session, sequence, answered, fence if self.random.randrange(8) == 0 else None)

    def ticket(self) -> tuple[SessionId, int, int]:
        if not self.sessions or self.random.randrange(2):
            return SessionId(0), 0, 0
        session = self.random.choice(self.sessions)
        newest = self.sequences.get(session, 0)
        steps = [1, 1, 1, 2, 0, -1, -3] + ([1500] if self.random.randrange(50) == 0 else [])
        sequence = max(1, newest + self.random.choice(steps))
        self.sequences[session] = max(newest, sequence)
        answered = max(0, sequence - self.random.randrange(1, 8)) if self.random.randrange(2) else 0
        return session, sequence, answered

    def operation(self) -> Operation:
        key = self.key()
        match self.random.randrange(12):
            case 0 | 1:
                return Delete(key, self.condition())
            case 2:
                bounds = sorted([self.key(), self.key()])
                return DeleteRange(*(b"" if self.random.randrange(8) == 0 else bound for bound in bounds))
            case 3 | 4 | 5:
                by = self.random.choice([1, -1, 5, 2**63 - 1, -(2**63), 2**64 - 1, -(2**64 - 1)])
                return Incr(key, by, self.random.choice(list(Counter)))
        ttl_ms = self.random.choice([0, 0, 0, 1, 7, 50])
        keep_ttl = ttl_ms == 0 and self.random.randrange(4) == 0
        return Put(key, self.value(), self.condition(), ttl_ms, keep_ttl)

    def key(self) -> bytes:
        return self.random.choice([b"a", b"b", b"a\x00", b"abc", b"n", b"\xff\xff", b"long" * 9])

    def value(self) -> bytes:
        texts = [b"", b"0", b"-7", b"+5", b" 5", b"1_0", b"007", b"9223372036854775807", b"9223372036854775808"]
        return self.random.choice([*texts, bytes(8), b"\xff" * 8, self.random.randbytes(300)])

    def condition(self) -> Condition:
        revision, value = Revision(1), self.value()
        if self.rows and self.random.randrange(2):
            value, revision = self.random.choice(self.rows)[1]
        return self.random.choice([ANY, ANY, ANY, ABSENT, PRESENT, AtRevision(revision), Equals(value)])

    def note(self, commands: list[AnyCommand], results: list[Result]) -> None:
        opened = [result for command, result in zip(commands, results, strict=True) if command == OpenSession()]
        self.sessions += [SessionId(result.revision) for result in opened]


@pytest.mark.parametrize("memtable_bytes", [1, 65536], ids=["in tables", "in memory"])
def test_native_machine_equals_its_model(memtable_bytes: int, figure: Callable[[str], None]) -> None:
    first = int(os.environ.get("KVARTS_SEED", "1"))
    commands_done = 0
    for seed in range(first, first + SEEDS):
        chooser, model, native = Chooser(seed), ModelMachine(), NativeMachine(memtable_bytes)
        for step in range(40):
            commands = chooser.entry()
            expected = model.apply(chooser.stamp_us, commands)
            replay = f"seed={seed} step={step}: KVARTS_SEED={seed} KVARTS_MACHINE_SEEDS=1 nox -s test -- {__file__}"
            assert _trimmed(native.apply(chooser.stamp_us, commands)) == _trimmed(expected), f"{replay}\n{commands}"
            chooser.rows = model.rows()
            assert native.rows() == chooser.rows, f"{replay}\n{commands}"
            chooser.note(commands, expected)
            commands_done += len(commands)
            doings = (native.machine.flush, native.machine.compact, native.machine.reopen)
            if chooser.random.randrange(12) == 0:
                chooser.random.choice(doings)()
                assert native.rows() == chooser.rows, f"{replay}: rows are lost"
    figure(f"native machine against its model: {commands_done} commands from {SEEDS} seeds")


def _trimmed(results: list[Result]) -> list[Result]:
    """Leave out values where no operation has one, as the wire does."""
    return [each if any(value is not None for value in each.values) else replace(each, values=()) for each in results]
