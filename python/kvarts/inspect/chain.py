"""Which logs of a store count: from the first that the manifest names, each leads to the next."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kvarts.base.types import Damage
from kvarts.inspect.files import damage
from kvarts.inspect.format.header import HEADER_BYTES, Header
from kvarts.inspect.format.manifest import Manifest
from kvarts.inspect.log import LogReport

MIXED = "of this file and the manifest one is encrypted and one is not"


@dataclass(frozen=True, slots=True)
class Place:
    """What a log is for. One that does not count is removed by the next open."""

    counts: bool
    detail: str
    damage: tuple[Damage, ...] = ()


class Chain:
    """The logs of a directory by number, held against the manifest."""

    def __init__(
        self, logs: Mapping[int, LogReport], gone: Collection[int], header: Header | None, manifest: Manifest | None
    ) -> None:
        """Take the logs that are there, and which went since; header and manifest are None where it is damaged."""
        self._logs = logs
        self._named = [number for number in manifest.logs if number not in gone] if manifest else []
        self._header = header
        self._manifest = manifest
        self._chain = self._replayed()
        self.places = {number: self._place(number, log) for number, log in sorted(logs.items())}
        """Where each log stands."""

    def _replayed(self) -> list[int]:
        """Return the numbers of the logs that replay reads."""
        first = min(self._named, default=None)
        chain: list[int] = []
        while first is not None and first in self._logs:
            chain.append(first)
            following = self._logs[first].continues_in
            first = following if following is not None and following > first else None
        return chain

    def _place(self, number: int, log: LogReport) -> Place:
        if self._manifest is None:
            return Place(True, "no manifest says whether it counts")
        strange = self._strange(number, log)
        if number in self._chain:
            return Place(True, "replayed at the next open", (*strange, *self._end(number, log)))
        if not self._named or number < min(self._named):
            return Place(False, "its rows are in tables")
        if log.shows_synced:
            what = "this log was synced, but the log before it does not lead to it"
            return Place(True, "beyond the end of the log", (*strange, damage(log.file, HEADER_BYTES, what)))
        return Place(bool(strange), "beyond the end of the log", strange)

    def _strange(self, number: int, log: LogReport) -> tuple[Damage, ...]:
        header = log.header
        if header and self._header and header.store != self._header.store:
            return (damage(log.file, 0, "this log belongs to another store"),)
        if header and self._header and bool(header.cipher) != bool(self._header.cipher):
            return (damage(log.file, 13, MIXED),)
        if header and header.file != number:
            return (damage(log.file, 0, "this log was written under another number"),)
        return ()

    def _end(self, number: int, log: LogReport) -> tuple[Damage, ...]:
        """Check that what a log leads to is there, and that it is a log of an engine."""
        following = log.continues_in
        found = []
        if following is not None and following > number and following not in self._logs:
            found.append(damage(log.file, log.end, f"it goes on in log {following}, which is missing"))
        if self._manifest and log.tree_max is not None and log.tree_max >= self._manifest.next_tree:
            found.append(damage(log.file, HEADER_BYTES, f"a batch names tree {log.tree_max}, which never was"))
        if log.log == "node":
            found.append(damage(log.file, HEADER_BYTES, "this is a node's log, not a store's"))
        return tuple(found)
