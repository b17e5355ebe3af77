"""Muscles that do wrong: planted bugs of the storage side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kvarts.raft.ids import NODE_NONE
from kvarts.replication.turn import Effects, Turn, Write
from kvarts_sim.cluster.group_log import Checkpoint, Record
from kvarts_sim.cluster.muscle import SimMuscle


class ForgetsVote(SimMuscle):
    """Writes the term without the vote."""

    def _append(self, write: Write) -> None:
        hard = write.hard_state and replace(write.hard_state, vote=NODE_NONE)
        super()._append(replace(write, hard_state=hard))


class ForgetsTerm(SimMuscle):
    """Writes no hard state at all but the first."""

    def _append(self, write: Write) -> None:
        known = self.disk.live[write.group].hard_state.term
        super()._append(replace(write, hard_state=None if known else write.hard_state))


class AcksEarly(SimMuscle):
    """Sends votes and acknowledgements with the rest."""

    def perform(self, turn: Turn) -> None:
        """Carry out a turn, wrongly."""
        turn.sends, turn.held = turn.sends + turn.held, []
        super().perform(turn)


class AcksSnapshotEarly(SimMuscle):
    """Begins no sync for a snapshot."""

    def perform(self, turn: Turn) -> None:
        """Carry out a turn, wrongly."""
        if any(write.snapshot for write in turn.writes):
            turn.sends, turn.held = turn.sends + turn.held, []
        super().perform(turn)


class CountsReadsAnew(SimMuscle):
    """After a restart numbers reads from the beginning."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._next = 0


class SavesOldMembership(SimMuscle):
    """Keeps the membership of the node's start in its checkpoints."""

    def flush(self, group: Any) -> None:
        """Put the state machine on disk, wrongly."""
        before = self.disk.live[group].checkpoint
        super().flush(group)
        point = self.disk.live[group].checkpoint
        if before.membership.members and point is not before:
            stale = Checkpoint(point.index, point.term, before.membership, point.machine)
            self.disk.live[group].checkpoint = self.disk.durable[group].checkpoint = stale


class WritesCommitFirst(SimMuscle):
    """Puts the hard state before the entries that its commit index vouches for."""

    def _append(self, write: Write) -> None:
        if write.hard_state is not None:
            self.disk.write(Record(write.group, write.hard_state))
        super()._append(write)


class KeepsBothHalves(SimMuscle):
    """Goes on with all keys after a split."""

    def _take_own_effects(self, effects: Effects) -> None:
        super()._take_own_effects(effects)
        self.parts[effects.group].machine.own = None
