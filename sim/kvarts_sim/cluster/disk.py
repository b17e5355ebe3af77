"""A node's disk: one log for all groups, and checkpoints. A crash loses some of what was not synced, never a middle."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass

from kvarts.raft.ids import LogIndex
from kvarts.raft.messages import Entry
from kvarts.replication.events import GroupId
from kvarts_sim.cluster.agenda import MS, Agenda
from kvarts_sim.cluster.group_log import Checkpoint, GroupLog, Record


class DiskFull(Exception):  # noqa: N818  # as the engine's StorageFull
    """No room: nothing was written."""


@dataclass(slots=True)
class DiskHealth:
    """How the disk behaves at the moment."""

    sync_us: int = 200
    jitter_us: int = 800
    full: bool = False
    stalled: bool = False
    """Syncs that begin now end only when the disk is well again."""
    apply_us: int = 50
    """How long the state machine, which lies on this disk too, takes to begin with what it is given."""
    lies: bool = False
    """Syncs end, and nothing is durable: only in the canary's world."""


class Disk:
    """Survives its node's crashes. `live` is what a reader sees, `durable` what is synced."""

    def __init__(self, agenda: Agenda, rng: random.Random, groups: Mapping[GroupId, Checkpoint]) -> None:
        self._agenda = agenda
        self._rng = rng
        self.health = DiskHealth()
        self.live = {group: GroupLog(point) for group, point in groups.items()}
        self.durable = {group: GroupLog(point) for group, point in groups.items()}
        self.staged: dict[tuple[GroupId, GroupId, LogIndex], Checkpoint] = {}
        """Copies for groups that are split off: (child, parent, the entry's index). Durable; no group yet."""
        self._unsynced: list[tuple[int, Record | None]] = []
        """With when they were written; None where the record's group was taken away."""
        self._boots = 0
        self._waiting: list[Callable[[], None]] = []

    def group(self, group: GroupId) -> GroupLog:
        """Return one group's part of the log, as NodeLog asks."""
        return self.live[group]

    def write(self, record: Record) -> None:
        """Append a record. Raises DiskFull."""
        if self.health.full:
            raise DiskFull
        self._unsynced.append((self._agenda.now_us, record))
        self.live[record.group].play(record.content)

    def add_group(self, group: GroupId, point: Checkpoint) -> None:
        """Make room for a group, durably."""
        self.live[group], self.durable[group] = GroupLog(point), GroupLog(point)

    def remove_group(self, group: GroupId) -> None:
        """Forget a group, durably."""
        del self.live[group], self.durable[group]
        self._unsynced = [
            (at_us, None if record is None or record.group == group else record) for at_us, record in self._unsynced
        ]

    def entry_waits_since(self, group: GroupId) -> int | None:
        """Return when the oldest entry was written that is not durable."""
        for at_us, record in self._unsynced:
            if record is not None and record.group == group and isinstance(record.content, Entry):
                return at_us
        return None

    def sync(self, done: Callable[[], None]) -> None:
        """Make durable all that was written so far, some time later, and say so."""
        count, boot = len(self._unsynced), self._boots

        def finish() -> None:
            if boot != self._boots:
                return
            if self.health.stalled:
                self._waiting.append(finish)
                return
            if not self.health.lies:
                self.settle(count)
            done()

        self._agenda.after(self.health.sync_us + self._rng.randrange(self.health.jitter_us), finish)

    def settle(self, count: int) -> None:
        """The first `count` unsynced records are on the disk."""
        for _, record in self._unsynced[:count]:
            if record is None:
                continue
            log = self.durable[record.group]
            log.play(record.content)
            if isinstance(record.content, Checkpoint):
                self.save(record.group, record.content)
        del self._unsynced[:count]

    def save(self, group: GroupId, point: Checkpoint) -> None:
        """Put a checkpoint in the place of an older one."""
        for log in (self.live[group], self.durable[group]):
            if point.index > log.checkpoint.index:
                log.checkpoint = point

    def adopt(self, group: GroupId, point: Checkpoint) -> None:
        """Make a group of a checkpoint. Durable at once."""
        self.live[group], self.durable[group] = GroupLog(point), GroupLog(point)

    def settle_staged(self) -> None:
        """Make those copies groups whose parent's checkpoint holds the entry; what is no group then is made anew."""
        for (child, parent, index), point in self.staged.items():
            if self.durable[parent].checkpoint.index >= index and child not in self.live:
                self.adopt(child, point)
        self.staged.clear()

    def recover_health(self) -> None:
        """The disk is well again: what was stalled goes on."""
        self.health = DiskHealth()
        waiting, self._waiting = self._waiting, []
        for finish in waiting:
            finish()

    def crash(self, lost_max: int | None = None) -> tuple[int, int]:
        """Lose a tail of what was not synced, at most `lost_max` records; return how many were kept and lost.

        A record that was torn fails its checksum: it is the first of those that are lost.
        """
        self._boots += 1
        self._waiting.clear()
        least = 0 if lost_max is None else max(0, len(self._unsynced) - lost_max)
        kept = least + self._rng.randrange(len(self._unsynced) + 1 - least)
        lost = len(self._unsynced) - kept
        # Opening syncs what it found before it trusts it.
        self.settle(kept)
        self._unsynced.clear()
        self.live = {group: _copy(log) for group, log in self.durable.items()}
        return kept, lost

    def slow(self, factor: int) -> None:
        """Make syncs take longer."""
        self.health.sync_us = 5 * MS * factor


def _copy(log: GroupLog) -> GroupLog:
    other = copy(log)
    other._entries = list(log._entries)  # one class, two views
    return other
