"""The system keys of one shard as Python mirrors them, and what a Python command does to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from kvarts.statemachine import checks, configuration, joins, ranges, shards, verdicts
from kvarts.statemachine.python_commands import CommandKind, Decision, unpack_command

ROOMS: Mapping[CommandKind, Callable[[Mapping[bytes, bytes], Mapping[str, object]], Decision]] = {
    CommandKind.CONFIGURATION: configuration.decide,
    CommandKind.SHARD_MAP: shards.decide,
    CommandKind.VERDICT: verdicts.decide,
    CommandKind.SHARD_RANGE: ranges.decide,
    CommandKind.CHECK: checks.decide,
    CommandKind.JOIN: joins.decide,
}


class SystemKeys:
    """Invariant: at a barrier, `rows` are what the state machine holds on disk; nothing else is kept between commands.

    So a restart, or a snapshot of a leader, needs only the rows.
    """

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        self._rows = dict(rows)

    @property
    def rows(self) -> Mapping[bytes, bytes]:
        """All system keys, to be read."""
        return MappingProxyType(self._rows)

    def decide(self, command: bytes) -> Decision:
        """Return what a command would come to now. Raises UnreadableCommand."""
        kind, fields = unpack_command(command)
        return ROOMS[kind](self._rows, fields)

    def apply(self, command: bytes) -> Decision:
        """Carry out a committed command. The caller stores the writes. Raises UnreadableCommand: the node must stop."""
        decision = self.decide(command)
        for key, value in decision.writes:
            if value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = value
        return decision
