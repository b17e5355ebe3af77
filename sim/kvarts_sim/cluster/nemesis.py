"""Faults at random moments, each of which ends by itself, and the operator's deeds: transfers, changes, snapshots.

Deeds have numbers, and each draws from a stream of its own: a run may leave some out, and the others stay as they were.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kvarts.raft.confchange import ChangeKind, ConfigChange, NodeChange
from kvarts.raft.ids import NodeId
from kvarts.raft.membership import Membership
from kvarts.replication.events import ConfigRequested, GroupId, PeerLost, StandRequested, TransferRequested
from kvarts_sim.cluster.agenda import MS, SECOND
from kvarts_sim.cluster.network import Weather

if TYPE_CHECKING:
    from kvarts_sim.cluster.world import World

FAULTS = ("crash", "crash_all", "pause", "isolate", "one_way", "split", "weather", "slow", "stall", "full", "clock")
DEEDS = ("transfer", "change", "flush")
NODES_MAX = 9


class Nemesis:
    """Chooses what goes wrong. `kinds` are the faults and deeds of this run; `only` names the deeds that may happen."""

    def __init__(
        self,
        world: World,
        streams: Callable[[int], random.Random],
        kinds: tuple[str, ...],
        pause_us: int,
        only: frozenset[int] | None = None,
    ) -> None:
        self._world = world
        self._streams = streams
        self._moments = self._rng = streams(0)
        """When deeds happen; and the stream of the deed that begins now."""
        self._kinds = kinds
        self._pause_us = pause_us
        self._only = only
        self._used: dict[GroupId, set[int]] = {group: set(world.processes) for group in world.groups}
        self._count = 0
        self.stopped = False
        self.counts: dict[str, int] = {}
        self.done: list[int] = []
        """Numbers of the deeds that happened."""
        if kinds:
            self._plan()

    def _plan(self) -> None:
        self._world.agenda.after(1 + int(self._moments.expovariate(1 / self._pause_us)), self._act)

    def _act(self) -> None:
        if self.stopped:
            return
        self._count += 1
        if self._only is None or self._count in self._only:
            self._rng = rng = self._streams(self._count)
            kind = rng.choice(self._kinds)
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.done.append(self._count)
            node = rng.choice(sorted(self._world.processes))
            self._say(f"deed {self._count}: {kind}")
            getattr(self, kind)(node)
        self._plan()

    def _say(self, what: str) -> None:
        self._world.timeline.note("**", what)

    def _after(self, delay_us: int, action: Callable[[], None]) -> None:
        """A later part of a deed, if the run's faults did not all end before."""
        self._world.agenda.after(delay_us, lambda: None if self.stopped else action())

    def _lasting(self, longest_us: int, end: Callable[[], None]) -> None:
        """End a fault after a while."""
        self._after(10 * MS + self._rng.randrange(longest_us), end)

    def crash(self, node: int) -> None:
        """One process dies and comes back."""
        process = self._world.processes[node]
        process.crash()
        self._lasting(4 * SECOND, self._starter(node))

    def crash_all(self, _node: int) -> None:
        """The power fails."""
        self._say("power failure")
        for node, process in self._world.processes.items():
            process.crash()
            self._lasting(2 * SECOND, self._starter(node))

    def _starter(self, node: int) -> Callable[[], None]:
        def start() -> None:
            process = self._world.processes[node]
            if not process.alive and not process.disk.health.full:
                process.start()

        return start

    def halve(self, _node: int) -> None:
        """A group splits."""
        self._world.splitting.begin(self._rng.choice(self._world.groups))

    def pause(self, node: int) -> None:
        """A process stands still."""
        self._world.processes[node].pause(10 * MS + self._rng.randrange(4 * SECOND))

    def clock(self, node: int) -> None:
        """A clock jumps ahead, or begins to drift."""
        process = self._world.processes[node]
        if self._rng.random() < 0.5:
            process.jump_clock(self._rng.randrange(3 * SECOND))
        else:
            process.set_drift(self._rng.choice([0.95, 1.0, 1.05]))
        self._say(f"clock of n{node} jumps or drifts, now {process.drift}")

    def _cut(self, pairs: set[tuple[int, int]], what: str) -> None:
        self._lasting(6 * SECOND, self._sever(pairs, what))

    def _sever(self, pairs: set[tuple[int, int]], what: str) -> Callable[[], None]:
        """Cut links, and return what ends it."""
        network = self._world.network
        network.cuts |= pairs
        self._say(what)

        def end() -> None:
            network.cuts -= pairs
            self._say(f"over: {what}")

        return end

    def isolate(self, node: int) -> None:
        """One node is cut off from all others."""
        others = [each for each in self._world.processes if each != node]
        self._cut({pair for each in others for pair in ((node, each), (each, node))}, f"n{node} is cut off")

    def one_way(self, node: int) -> None:
        """One node is heard by nobody, or hears nobody, or one link fails in one direction."""
        others = [each for each in self._world.processes if each != node]
        way = self._rng.randrange(3)
        if way == 2:
            other = self._rng.choice(others)
            self._cut({(node, other)}, f"n{node} to n{other} is cut")
        else:
            pairs = {(node, each) if way else (each, node) for each in others}
            self._cut(pairs, f"n{node} {'is not heard' if way else 'is deaf'}")

    def split(self, _node: int) -> None:
        """Two sides that do not hear each other."""
        nodes = sorted(self._world.processes)
        left = set(self._rng.sample(nodes, len(nodes) // 2))
        pairs = {(a, b) for a in nodes for b in nodes if (a in left) != (b in left)}
        self._cut(pairs, f"split: {sorted(left)} from the rest")

    def weather(self, _node: int) -> None:
        """Packets get lost, come twice or late, for a while."""
        rng, network = self._rng, self._world.network
        chance = rng.choice([0.02, 0.1, 0.3])
        network.weather = Weather(jitter_us=rng.choice([1, 20, 100]) * MS, loss=chance, twice=chance, late=chance)
        self._say(f"bad weather: {chance}")

        def end() -> None:
            network.weather = Weather()

        self._lasting(6 * SECOND, end)

    def slow(self, node: int) -> None:
        """A disk takes its time."""
        disk = self._world.processes[node].disk
        disk.slow(self._rng.choice([1, 10, 40]))
        self._lasting(5 * SECOND, disk.recover_health)

    def stall(self, node: int) -> None:
        """A disk finishes no sync."""
        disk = self._world.processes[node].disk
        disk.health.stalled = True
        self._say(f"disk of n{node} stalls")
        self._lasting(5 * SECOND, disk.recover_health)

    def full(self, node: int) -> None:
        """A disk takes no more; who meets that stops, and comes back when there is room."""
        disk = self._world.processes[node].disk
        disk.health.full = True
        self._say(f"disk of n{node} is full")

        def end() -> None:
            disk.recover_health()
            self._starter(node)()

        self._lasting(4 * SECOND, end)

    def flush(self, node: int) -> None:
        """State machines go to disk; the log is compacted."""
        self._world.processes[node].flush()

    def transfer(self, _node: int) -> None:
        """The leader is asked to hand over, to a member or to anybody."""
        group = self._rng.choice(self._world.groups)
        leader = self._world.leader(group)
        if leader is not None:
            target = NodeId(self._rng.choice(sorted(self._world.processes)))
            self._world.push(leader, TransferRequested(group, target))
            self._say(f"transfer of s{group} from n{leader} to n{target}")

    def stand(self, node: int) -> None:
        """A node stands for election, as the first leader of a new shard does."""
        group = self._rng.choice(self._world.groups)
        self._world.push(node, StandRequested(group))
        self._say(f"n{node} stands in s{group}")

    def snap(self, node: int) -> None:
        """Others hear that the connection to a node broke: since its process died, or for no reason that they know."""
        if self._rng.random() < 0.5:
            self.crash(node)
        self._say(f"connections to n{node} break")
        for other in self._world.processes:
            if other != node and self._rng.random() < 0.8:
                self._after(self._rng.randrange(100 * MS), partial(self._world.push, other, PeerLost(NodeId(node))))

    def change(self, _node: int) -> None:
        """The leader is asked to change the membership."""
        group = self._rng.choice(self._world.groups)
        leader = self._world.leader(group)
        if leader is None:
            return
        membership = self._world.membership(leader, group)
        changes = self._changes(group, membership)
        if changes:
            self._say(f"change of s{group}: {ConfigChange(changes)}")
            self._world.push(leader, ConfigRequested(group, ConfigChange(changes)))

    def _changes(self, group: GroupId, membership: Membership) -> tuple[NodeChange, ...]:
        rng = self._rng
        voters = sorted(membership.voters.incoming.voters)
        changes = []
        removed = []
        if len(voters) > 3 or (len(voters) == 3 and rng.random() < 0.3):
            removed = [rng.choice(voters)]
            changes.append(NodeChange(ChangeKind.REMOVE, removed[0]))
        if len(voters) < 5 or rng.random() < 0.3:
            node = rng.choice(sorted(membership.learners)) if membership.learners else self._newcomer(group)
            if node is not None:
                learner = not membership.learners and rng.random() < 0.4
                changes.append(NodeChange(ChangeKind.ADD_LEARNER if learner else ChangeKind.ADD_VOTER, NodeId(node)))
        # An id that left never comes back, and two voters at least must stay.
        if removed and len(voters) - 1 < 2:
            return ()
        return tuple(changes)

    def _newcomer(self, group: GroupId) -> int | None:
        used = self._used[group]
        node = max(used) + 1
        if node > NODES_MAX:
            return None
        used.add(node)
        self._world.add_process(node)
        return node
