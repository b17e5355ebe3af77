"""The state machine twice, behind one face: the model in Python and the native one behind bytes of the log."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from kvarts._native import StateMachine
from kvarts.base.types import Revision
from kvarts.statemachine.commands import AnyCommand, Result
from kvarts.statemachine.user_keys import Row, UserKeys
from tests.golden.user_commands import bytes_words, command_of, result_words
from tests.golden.wire import KEYSPACE, decode_result, encode_command


class Machine(Protocol):
    """Applies entries in order and shows its rows."""

    def apply(self, stamp_us: int, commands: Sequence[AnyCommand]) -> list[Result]:
        """Apply the commands of one entry."""

    def rows(self) -> list[tuple[bytes, Row]]:
        """Return all rows that have not expired, in the order of their keys."""


class ModelMachine:
    """The model, with revisions as the log gives them: the next number, or the stamp where that is higher."""

    def __init__(self) -> None:
        self.keys = UserKeys()
        self.revision = self.stamp_us = 0

    def apply(self, stamp_us: int, commands: Sequence[AnyCommand]) -> list[Result]:
        self.stamp_us = max(self.stamp_us, stamp_us)
        results = []
        for command in commands:
            self.revision = max(self.revision + 1, self.stamp_us)
            results.append(self.keys.apply(command, Revision(self.revision), self.stamp_us // 1000))
        if not commands:  # Time and the position move all the same.
            self.revision = max(self.revision + 1, self.stamp_us)
            self.keys.now_ms = max(self.keys.now_ms, self.stamp_us // 1000)
        return results

    def rows(self) -> list[tuple[bytes, Row]]:
        return sorted(self.keys.rows.items())


class NativeMachine:
    """The native one. `memtable_bytes`: how soon its rows get into tables."""

    def __init__(self, memtable_bytes: int = 65536) -> None:
        self.machine = StateMachine(memtable_bytes=memtable_bytes)

    def apply(self, stamp_us: int, commands: Iterable[AnyCommand]) -> list[Result]:
        encoded = [encode_command(command) for command in commands]
        return [decode_result(each) for each in self.machine.apply(stamp_us, encoded)]

    def rows(self) -> list[tuple[bytes, Row]]:
        return [(key, (value, Revision(revision))) for key, value, revision in self.machine.rows(KEYSPACE)]


class Teller:
    """Runs lines of a script on a machine: `time MS`, `rows`, or one command (user_commands)."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.stamp_us = 0

    def do(self, line: str) -> list[str]:
        match line.split():
            case ["rows"]:
                rows = self.machine.rows()
                return [f"{bytes_words(key)}={bytes_words(value)}@{revision}" for key, (value, revision) in rows]
            case ["time", milliseconds]:
                self.stamp_us = int(milliseconds) * 1000
                return []
        return [result_words(*self.machine.apply(self.stamp_us, [command_of(line)]))]
