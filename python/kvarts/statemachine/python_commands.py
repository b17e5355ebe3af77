"""Commands that Python carries out, as bytes in the log, and what comes of one.

A command is a byte for its kind, a byte for its version and a JSON object in UTF-8, canonical: keys sorted, no spaces,
no escapes beyond JSON's own. Two encodings of one command do not exist, and a reader refuses what it would not write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from kvarts.base.canonical import pack_json

VERSION = 1
HEADER_BYTES = 2

SystemWrite = tuple[bytes, bytes | None]
"""A system key and its new value; None removes it."""


class CommandKind(IntEnum):
    """First byte of a command: who carries it out. Never reused."""

    CONFIGURATION = 1
    SHARD_MAP = 2
    VERDICT = 3
    SHARD_RANGE = 4
    CHECK = 5
    JOIN = 6


class UnreadableCommand(ValueError):  # noqa: N818  # says what is wrong, as in kvarts.base.errors
    """Bytes that are no command of ours, or one of a later version.

    Refused before it is proposed. Whoever meets one in the log must stop: to skip it would be to diverge.
    """


@dataclass(frozen=True, slots=True)
class Founding:
    """A group that begins with a copy of all rows of the one whose command this is, but for `writes`."""

    group: int
    writes: tuple[SystemWrite, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a command comes to: its writes, all or none, or why it is refused. `value` is its answer, such as an id.

    `founding`: a group that begins with what this one held right before the command, with the same members.
    `check`: the number of the digest that every replica makes of all its rows, with these writes in them; 0: none.
    """

    writes: tuple[SystemWrite, ...] = ()
    refusal: str | None = None
    value: int | None = None
    founding: Founding | None = None
    check: int = 0


def pack_command(kind: CommandKind, fields: Mapping[str, object]) -> bytes:
    """Return a command as it stands in the log."""
    return bytes((kind, VERSION)) + pack_json(fields)


def unpack_command(command: bytes) -> tuple[CommandKind, dict[str, object]]:
    """Return kind and fields. Raises UnreadableCommand."""
    try:
        kind, version = CommandKind(command[0]), command[1]
        fields = json.loads(command[HEADER_BYTES:].decode())
        canonical = pack_command(kind, fields)
    except (IndexError, ValueError, RecursionError) as error:
        raise UnreadableCommand(f"no command that is known here: {error}") from None
    if version != VERSION or not isinstance(fields, dict) or canonical != command:
        raise UnreadableCommand(f"not the encoding of a {kind.name} command of version {VERSION}")
    return kind, fields
