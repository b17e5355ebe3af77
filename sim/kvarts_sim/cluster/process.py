"""A simulated process: the production loop, woken by events; it crashes, starts again and is paused."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from kvarts.raft.errors import InvariantBroken
from kvarts.raft.ids import NodeId
from kvarts.raft.messages import Role
from kvarts.replication.events import Events, GroupId, GroupOpened
from kvarts.replication.options import ReplicatorOptions
from kvarts.replication.replicator import Replicator
from kvarts.replication.turn import Turn
from kvarts_sim.cluster.agenda import MS, Agenda
from kvarts_sim.cluster.disk import Disk, DiskFull
from kvarts_sim.cluster.invariants import Broken, Invariants
from kvarts_sim.cluster.muscle import Packet, SimMuscle
from kvarts_sim.cluster.seeds import Seeds
from kvarts_sim.cluster.timeline import Timeline

TURN_US = 100
"""Least time from an event to the turn that takes it."""

READS_PER_LIFE = 10**8


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every process of a world shares."""

    agenda: Agenda
    seeds: Seeds
    timeline: Timeline
    invariants: Invariants
    options: ReplicatorOptions
    transmit: Callable[[Packet, NodeId], bool]
    changed: Callable[[int, GroupId, str], None]
    """A node has taken a change of "membership", or has become "leader"."""
    replicator: type[Replicator] = Replicator
    muscle: type[SimMuscle] = SimMuscle


class Process:
    """One node. `drift` is how fast its clock runs."""

    def __init__(self, node: NodeId, disk: Disk, around: Surroundings) -> None:
        self.node = node
        self.disk = disk
        self._around = around
        self.starts = 0
        self.drift = 1.0
        self._clock_base = (0, 0)
        self.paused_until_us = 0
        self.muscle: SimMuscle | None = None
        self.replicator: Replicator | None = None
        self._turn_due = False
        self._noticed_ms = 0
        self._told: dict[GroupId, tuple[object, ...]] = {}

    @property
    def alive(self) -> bool:
        """True while it runs, paused or not."""
        return self.muscle is not None

    @property
    def serves_without_a_tick(self) -> bool:
        """True if a turn at this moment would take place, and would find that no time has passed."""
        if self.replicator is None or self._around.agenda.now_us < self.paused_until_us:
            return False
        return self.clock_us() // MS < self.replicator.next_tick_ms()

    def clock_us(self) -> int:
        """This node's monotonic clock."""
        real, local = self._clock_base
        return local + int((self._around.agenda.now_us - real) * self.drift)

    def set_drift(self, drift: float) -> None:
        """Let the clock run faster or slower from now on."""
        self._clock_base = self._around.agenda.now_us, self.clock_us()
        self.drift = drift

    def jump_clock(self, by_us: int) -> None:
        """Let the clock jump ahead, as after a suspension of the machine."""
        self._clock_base = self._around.agenda.now_us, self.clock_us() + by_us

    def start(self) -> None:
        """Start from what the disk holds."""
        around = self._around
        self.starts += 1
        boot = self.starts
        make = around.muscle
        watcher, number = around.invariants, boot * READS_PER_LIFE

        def wake() -> None:
            if boot == self.starts:
                self._wake(TURN_US)

        muscle = make(self.node, around.agenda, self.disk, watcher, around.transmit, wake, number)
        muscle.clock_us = self.clock_us
        options = replace(around.options, raft=replace(around.options.raft, node=self.node))

        def rng_of(group: GroupId) -> random.Random:
            return around.seeds.stream("election", self.node, group, boot)

        applied = {group: part.index for group, part in muscle.parts.items()}
        groups = [GroupOpened(group, part.index, part.system) for group, part in muscle.parts.items()]
        self.muscle, now_ms = muscle, self.clock_us() // MS
        try:
            self.replicator = around.replicator(options, self.disk, groups, rng_of, now_ms=now_ms)
        except InvariantBroken as broken:
            raise Broken("core's own invariant", f"n{self.node} {broken}") from broken
        self._turn_due = False
        around.timeline.note(f"n{self.node}", f"starts, {applied}")
        self._beat(boot)
        self._look()

    def crash(self, lost_max: int | None = None) -> None:
        """Lose the memory, and some of what the disk had not synced, at most `lost_max` records."""
        if self.muscle is None:
            return
        self.muscle.alive = False
        self.muscle = self.replicator = None
        kept, lost = self.disk.crash(lost_max)
        self._around.timeline.note(f"n{self.node}", f"crashes; unsynced records kept {kept}, lost {lost}")

    def pause(self, duration_us: int) -> None:
        """Stand still, as when the machine is suspended or swaps."""
        self.paused_until_us = self._around.agenda.now_us + duration_us
        self._around.timeline.note(f"n{self.node}", f"is paused for {duration_us // MS} ms")

    def flush(self) -> None:
        """Let the state machines go to disk."""
        if self.muscle is not None:
            for group in self.muscle.parts:
                self.muscle.flush(group)

    def _beat(self, boot: int) -> None:
        """The poll's timeout: a turn is due when the clock says so."""
        if boot == self.starts and self.replicator is not None:
            wait_us = max(1, self.replicator.next_tick_ms() * MS - self.clock_us())
            self._wake(0)
            self._around.agenda.after(int(wait_us / self.drift) + MS, lambda: self._beat(boot))

    def _wake(self, delay_us: int) -> None:
        if not self._turn_due:
            self._turn_due = True
            boot = self.starts
            wait = max(delay_us, self.paused_until_us - self._around.agenda.now_us)
            self._around.agenda.after(wait, lambda: self._turn(boot))

    def _turn(self, boot: int) -> None:
        if boot != self.starts or self.replicator is None or self.muscle is None:
            return
        self._turn_due = False
        if self._around.agenda.now_us < self.paused_until_us:
            self._wake(0)
            return
        try:
            events = self._with_own(self.muscle.poll(0))
            turn = self.replicator.turn(events)
            self.muscle.perform(turn)
            self._performed(events, turn)
        except DiskFull:
            self._around.timeline.note(f"n{self.node}", "finds its disk full and stops")
            self.crash()
            return
        except InvariantBroken as broken:
            raise Broken("core's own invariant", f"n{self.node} {broken}") from broken
        self._wake_for_notices(boot)
        self._look()

    def _with_own(self, events: Events) -> Events:
        """Return what happened, and what else runs on the node wants of the turn."""
        return events

    def _performed(self, events: Events, turn: Turn) -> None:
        """Let what else runs on the node see what came of a turn."""

    def _wake_for_notices(self, boot: int) -> None:
        """The poll's timeout, where it is due before the tick that `_beat` waits for."""
        assert self.replicator is not None
        due_ms = self.replicator.next_due_ms()
        if due_ms < self.replicator.next_tick_ms() and due_ms != self._noticed_ms:
            self._noticed_ms = due_ms
            wait_us = max(1, due_ms * MS - self.clock_us())
            self._around.agenda.after(
                int(wait_us / self.drift) + MS, lambda: self._wake(0) if boot == self.starts else None
            )

    def _look(self) -> None:
        assert self.replicator is not None
        for group, replica in self.replicator.replicas.items():
            status = replica.raft.status()
            self._around.invariants.after_turn(self.node, group, replica.raft, status)
            told = (status.role, status.term, status.membership)
            known = self._told.get(group)
            if known != told:
                self._told[group] = told
                if known is not None and known[2] != told[2]:
                    self._around.changed(self.node, group, "membership")
                if status.role is Role.LEADER:
                    self._around.changed(self.node, group, "leader")
                self._around.timeline.note(f"n{self.node}", f"{replica!r} {status.membership!r}")
