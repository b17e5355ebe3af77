"""The commands of one kind by their names, and how each stands in the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Generic, TypeVar

from kvarts.base.canonical import pack_json
from kvarts.statemachine.python_commands import CommandKind, UnreadableCommand, pack_command

NAME_BYTES_MAX = 255
ID_MAX = 2**63 - 1

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Vocabulary(Generic[C]):
    """`what` names the kind for people; `sound` tells, for each field, whether a value of JSON fits it."""

    kind: CommandKind
    what: str
    commands: Mapping[str, type[C]]
    sound: Mapping[str, Callable[[object], bool]]

    def encode(self, command: C) -> bytes:
        """Return a command as it stands in the log. Raises UnreadableCommand if it could not be read there."""
        name = next(name for name, kind in self.commands.items() if kind is type(command))
        record = {"do": name, **asdict(command)}  # type: ignore[call-overload]  # commands are dataclasses
        try:
            packed = pack_command(self.kind, record)
            self.decode(json.loads(pack_json(record)))
        except (TypeError, ValueError) as error:
            raise UnreadableCommand(str(error)) from None
        return packed

    def decode(self, record: Mapping[str, object]) -> C:
        """Return the command of unpacked fields, lists as tuples. Raises UnreadableCommand."""
        values = dict(record)
        command = self.commands.get(str(values.pop("do", None)))
        names = set() if command is None else {each.name for each in fields(command)}  # type: ignore[arg-type]
        if command is None or set(values) != names:
            raise UnreadableCommand(f"no {self.what} command has these fields: {sorted(record)}")
        wrong = sorted(name for name, value in values.items() if not self.sound[name](value))
        if wrong:
            raise UnreadableCommand(f"unfit values of {', '.join(wrong)}")
        return command(**{name: _tupled(value) for name, value in values.items()})


def is_id(value: object) -> bool:
    """Return whether this is a number from one on."""
    return type(value) is int and 1 <= value <= ID_MAX


def is_name(value: object) -> bool:
    """Return whether this is a name that people can read."""
    return isinstance(value, str) and value.isprintable() and 1 <= len(value.encode()) <= NAME_BYTES_MAX


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
