"""What a replicator needs of the world: a log that it reads, and a muscle that carries out its turns."""

from __future__ import annotations

from typing import Protocol

from kvarts.raft.storage import LogStore
from kvarts.replication.events import Events, GroupId
from kvarts.replication.turn import Turn


class NodeLog(Protocol):
    """One append-only log for all groups of a node. Written by `Muscle.perform` alone, in the order of the turns.

    What is written may be read at once. Payloads read from it are never looked at, but for changes of membership and
    Python commands (bytes).
    """

    def group(self, group: GroupId) -> LogStore:
        """Return one group's part of the log. Its snapshot is the latest that survives a crash."""


class Muscle(Protocol):
    """Does what a turn says. No decisions."""

    def poll(self, until_ms: int) -> Events:
        """Return what happened, at the latest at `until_ms`. Completed syncs and applies come in their order."""

    def perform(self, turn: Turn) -> None:
        """Carry out a turn. Never blocks."""
