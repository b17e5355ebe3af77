"""The command in a group's own log by which its replicas are compared: each digests all its rows as they are then.

Pure. The answer is the number under which every node keeps its digest for a while; digests are no part of the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvarts.statemachine.python_commands import CommandKind, Decision
from kvarts.statemachine.vocabulary import Vocabulary

LAST_CHECK = b"config/last-check"
"""The row with the last number given, in the group's own system keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeDigest:
    """Every replica of the group digests its rows as of this entry."""


COMMANDS: Mapping[str, type[ComputeDigest]] = {"compute-digest": ComputeDigest}


def encode(command: ComputeDigest) -> bytes:
    """Return a command as it stands in the log."""
    return _WORDS.encode(command)


def decide(rows: Mapping[bytes, bytes], record: Mapping[str, object]) -> Decision:
    """Return what a command comes to on these rows. Raises UnreadableCommand."""
    _WORDS.decode(record)
    number = int(rows.get(LAST_CHECK, b"0")) + 1
    return Decision(((LAST_CHECK, b"%d" % number),), value=number, check=number)


_WORDS: Vocabulary[ComputeDigest] = Vocabulary(CommandKind.CHECK, "check", COMMANDS, {})
