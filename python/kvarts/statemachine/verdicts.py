"""Commands in the log of a shard's own group: what is decided about the move that is under way.

Pure. What does not follow on the verdict before, of an older map or said twice, is refused and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from kvarts.base.canonical import pack_json
from kvarts.shardmap.shard import Epoch
from kvarts.shardmap.verdict import Ending, Verdict
from kvarts.statemachine.python_commands import CommandKind, Decision
from kvarts.statemachine.vocabulary import Vocabulary, is_id

VERDICT = b"config/verdict"
"""The one row, in the group's own system keys: the latest verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideMove:
    """What becomes of the move that began at `epoch`, or whose target was promoted then."""

    epoch: Epoch
    ending: str


COMMANDS: Mapping[str, type[DecideMove]] = {"decide-move": DecideMove}


def encode(command: DecideMove) -> bytes:
    """Return a command as it stands in the log. Raises UnreadableCommand if it could not be read there."""
    return _WORDS.encode(command)


def decide(rows: Mapping[bytes, bytes], record: Mapping[str, object]) -> Decision:
    """Return what a command comes to on these rows. Raises UnreadableCommand."""
    command = _WORDS.decode(record)
    verdict = Verdict(command.epoch, Ending(command.ending))
    if not verdict.follows(verdict_in(rows)):
        return Decision(refusal="move-decided")
    return Decision(((VERDICT, pack_json({"ending": command.ending, "epoch": command.epoch})),))


def verdict_in(rows: Mapping[bytes, bytes]) -> Verdict | None:
    """Return the latest verdict, if there was one."""
    row = rows.get(VERDICT)
    if row is None:
        return None
    fields = json.loads(row)
    return Verdict(Epoch(fields["epoch"]), Ending(fields["ending"]))


def _is_ending(value: object) -> bool:
    return value in {each.value for each in Ending}


_WORDS: Vocabulary[DecideMove] = Vocabulary(
    CommandKind.VERDICT, "verdict", COMMANDS, {"epoch": is_id, "ending": _is_ending}
)
