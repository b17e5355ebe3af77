"""What a simulated muscle tells whoever checks the promises."""

from __future__ import annotations

from typing import Protocol

from kvarts.raft.ids import LogIndex
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Entry, Message
from kvarts.replication.events import GroupId
from kvarts.statemachine.commands import Command
from kvarts_sim.cluster.disk import Disk


class Watcher(Protocol):
    """Who looks over the muscle's shoulder: the invariants."""

    def wrote(self, node: int, group: GroupId, entry: Entry, log_before: Entry | None) -> None:
        """An entry goes into the log."""

    def leaves(self, node: int, group: GroupId, message: Message, disk: Disk) -> None:
        """A message leaves."""

    def applied(self, node: int, group: GroupId, entry: Entry, membership: Membership) -> None:
        """An entry was applied."""

    def took(self, group: GroupId, index: LogIndex, commands: list[Command]) -> None:
        """The commands of an entry took place."""

    def digested(self, node: int, group: GroupId, index: LogIndex, digest: object) -> None:
        """The rows were digested as of an entry."""

    def asked(self, node: int, group: GroupId, context: int) -> None:
        """A client wants a linearizable read."""

    def read(self, node: int, group: GroupId, context: int, index: LogIndex) -> None:
        """The read may be served at an index."""

    def served(self, group: GroupId, index: LogIndex) -> None:
        """Somebody was told of the state at an index."""

    def read_at_once(self, node: int, group: GroupId, index: LogIndex) -> None:
        """A read needs no round, and is served once an index is applied."""
