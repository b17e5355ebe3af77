"""One world from one seed: builds it, lets time pass, heals it, and asks for progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kvarts.raft.ids import LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Role
from kvarts.raft.node import Status
from kvarts.raft.options import MIB, RaftOptions, ReadMode
from kvarts.replication.events import Event, GroupId
from kvarts.replication.options import ReplicatorOptions
from kvarts.replication.replicator import Replicator
from kvarts.statemachine.user_keys import UserKeys
from kvarts.testing.linearizability import Map, Outcome, check
from kvarts_sim.cluster.agenda import MS, SECOND, Agenda
from kvarts_sim.cluster.clients import Client, Request
from kvarts_sim.cluster.disk import Disk
from kvarts_sim.cluster.group_log import Checkpoint
from kvarts_sim.cluster.invariants import Broken, Invariants, demand
from kvarts_sim.cluster.muscle import Packet, Reply, SimMuscle
from kvarts_sim.cluster.nemesis import DEEDS, FAULTS, Nemesis
from kvarts_sim.cluster.network import Network
from kvarts_sim.cluster.plots import NEWER_PLOTS, PLOTS, Plotter
from kvarts_sim.cluster.process import Process, Surroundings
from kvarts_sim.cluster.seeds import Seeds
from kvarts_sim.cluster.splitting import Splitting
from kvarts_sim.cluster.timeline import Timeline

PROGRESS_US = 60 * SECOND
"""After everything is healed, this is long enough to elect, to catch up and to answer."""


GIVES_WAY_US = 2 * SECOND
"""Two election timeouts: a leader whose disk makes nothing durable for so long must lead no more."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What kind of world it is. `of` draws one from a seed."""

    seed: int
    duration_us: int = 60 * SECOND
    nodes: int = 3
    groups: int = 1
    clients: int = 3
    think_us: int = 200 * MS
    kinds: tuple[str, ...] = FAULTS + DEEDS
    fault_pause_us: int = 1500 * MS
    raft: RaftOptions = field(default_factory=lambda: RaftOptions(node=NodeId(1), forward_proposals=False))
    keep_entries: int = 20
    gather_ms: int = 2
    linger_ms: int = 0
    deeds: frozenset[int] | None = None
    """Numbers of the deeds of the nemesis that may happen; None: all."""
    disks_lie: bool = False
    moves: bool = False
    """Groups are shards of a map, and move from node to node."""

    @classmethod
    def coups(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """Leaders cut off with unfinished tails, who come back; links to their friends are slow, their disks stuck."""
        drawn = cls.of(seed, duration_us)
        kinds = ("coup", "coup", "coup", "stuck_heir", "transfer", "crash", "flush")
        nodes = 3 if seed % 3 == 0 else 5
        busy = {"clients": 6, "think_us": 150 * MS, "fault_pause_us": 1500 * MS}
        return replace(drawn, nodes=nodes, kinds=kinds, groups=1, **busy)  # type: ignore[arg-type]  # a dict of ints

    @classmethod
    def changes(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """Membership changes much and at once, and those who know of it lose touch with those who do not yet."""
        drawn = cls.of(seed, duration_us)
        kinds = ("cut_change", "cut_change", "torn_change", "torn_change", "heir_change", "change", "transfer", "flush")
        return replace(drawn, nodes=3, kinds=kinds, groups=1, clients=4, think_us=150 * MS, fault_pause_us=SECOND)

    @classmethod
    def echoes(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """Many reads, with and without leases, and words that are old when they arrive."""
        drawn = cls.leases(seed, duration_us)
        raft = drawn.raft if seed % 2 else replace(drawn.raft, read_mode=ReadMode.SAFE, vote_quiet_ticks=0)
        kinds = ("lag", "lag", "flap", "isolate", "transfer")
        busy = {"clients": 8, "think_us": 100 * MS, "fault_pause_us": 1500 * MS}
        return replace(drawn, raft=raft, nodes=3, kinds=kinds, groups=1, **busy)  # type: ignore[arg-type]  # ints

    @classmethod
    def quiet(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """Nearly idle: what breaks only after a long time, or when a fault meets a cluster at rest."""
        drawn = cls.of(seed, duration_us)
        return replace(drawn, nodes=3, groups=1, clients=2, think_us=4 * SECOND, fault_pause_us=40 * SECOND)

    @classmethod
    def canary(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """A world that must fail: its disks say that they have synced and have not."""
        return replace(cls.of(seed, duration_us), disks_lie=True)

    @classmethod
    def leases(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """Leases, many reads, and all that could make two nodes believe they lead."""
        drawn = cls.of(seed, duration_us)
        lease = {"read_mode": ReadMode.LEASE, "check_quorum": True, "vote_quiet_ticks": drawn.raft.election_ticks}
        kinds = (
            "pause",
            "clock",
            "isolate",
            "one_way",
            "split",
            "transfer",
            "crash",
            "lag",
            "deaf_transfer",
            "sleeper",
        )
        raft = replace(drawn.raft, **lease)  # type: ignore[arg-type]  # a dict of several types
        return replace(drawn, raft=raft, kinds=kinds, groups=1, clients=4, think_us=100 * MS, fault_pause_us=500 * MS)

    @classmethod
    def breaks(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """Leases by short promises; and voters who hear that the leader may be dead, which may be so or not."""
        drawn = cls.leases(seed, duration_us)
        raft = replace(drawn.raft, promise_ticks=6, vote_quiet_ticks=6)
        nodes = 3 if seed % 2 else 5
        kinds = (*drawn.kinds, "snap", "snap", "snap", "snap", "snap", "snap")
        return replace(drawn, raft=raft, nodes=nodes, kinds=kinds)

    @classmethod
    def refusals(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """Leases, and leaders that are heard again while words of an election without them are on their way."""
        drawn = cls.leases(seed, duration_us)
        nodes = 3 if seed % 2 else 5
        kinds = ("late_refusal", "late_refusal", "late_refusal", "transfer", "crash")
        raft = replace(drawn.raft, pre_vote=True)
        return replace(drawn, raft=raft, nodes=nodes, kinds=kinds, fault_pause_us=2 * SECOND)

    @classmethod
    def storm(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """One group under every fault and deed, one after the other with hardly a pause."""
        drawn = cls.of(seed, duration_us)
        kinds = (*FAULTS, *DEEDS, "change", "flush", "stuck_leader")
        return replace(drawn, kinds=kinds, groups=1, clients=4, think_us=150 * MS, fault_pause_us=400 * MS)

    @classmethod
    def shards(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """Many groups on one log per node: what holds up one must not break another. Nodes stand at odd moments."""
        drawn = cls.of(seed, duration_us)
        kinds = (*FAULTS, *DEEDS, "stand", "stand", "change", "flush", "stuck_leader")
        return replace(drawn, kinds=kinds, groups=8, clients=8, think_us=200 * MS, fault_pause_us=700 * MS)

    @classmethod
    def moving(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """Shards that move while nodes come, drain and go, under all faults."""
        drawn = cls.of(seed, duration_us)
        kinds = (*FAULTS, "transfer", "flush", "stand", *(("drain", "begin", "join", "leave", "lose") * 3))
        busy = {"nodes": 4 + seed % 2, "groups": 5, "clients": 8, "think_us": 200 * MS, "fault_pause_us": 900 * MS}
        # Who answers is heard only where leaders count their quorum, as they do in production.
        raft = replace(drawn.raft, check_quorum=True, empty_votes=False)
        return replace(drawn, raft=raft, kinds=kinds, moves=True, **busy)  # type: ignore[arg-type]  # a dict of ints

    @classmethod
    def halves(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """Groups that split again and again under every fault, while clients go on."""
        drawn = cls.of(seed, duration_us)
        kinds = (*FAULTS, "transfer", "flush", "flush", "stand", "halve", "halve", "halve")
        return replace(drawn, nodes=3, kinds=kinds, groups=2, clients=8, think_us=100 * MS, fault_pause_us=700 * MS)

    @classmethod
    def of(cls, seed: int, duration_us: int = 60 * SECOND) -> Scenario:
        """Draw a scenario: also which faults there are, so that each meets quiet and busy company."""
        seeds = Seeds(seed)
        rng = seeds.stream("scenario")
        kinds = tuple(kind for kind in FAULTS + DEEDS + PLOTS if rng.random() < 0.6)
        newer = seeds.stream("newer plots")
        kinds += tuple(kind for kind in NEWER_PLOTS if newer.random() < 0.6)
        leases = seeds.stream("leases").random() < 0.4
        raft = RaftOptions(
            node=NodeId(1),
            forward_proposals=False,
            pre_vote=rng.random() < 0.7,
            check_quorum=rng.random() < 0.7 or leases,
            read_mode=ReadMode.LEASE if leases else ReadMode.SAFE,
            vote_quiet_ticks=10 if leases else 0,
            append_bytes_max=rng.choice([1, 200, 1 << 20]),
            inflight_count_max=rng.choice([1, 4, 256]),
            uncommitted_bytes_max=seeds.stream("uncommitted").choice([1, 200, 64 * MIB]),
            apply_bytes_max=rng.choice([1, 1000, None]),
            eager_commit=seeds.stream("eager").random() < 0.3,
        )
        return cls(
            seed=seed,
            duration_us=duration_us,
            nodes=rng.choice([3, 3, 4, 5]),
            groups=rng.choice([1, 1, 2]),
            clients=rng.choice([2, 4, 6]),
            think_us=rng.choice([50, 200, 1000]) * MS,
            kinds=kinds,
            fault_pause_us=rng.choice([300, 1000, 3000]) * MS,
            raft=raft,
            keep_entries=rng.choice([0, 10, 100]),
            gather_ms=seeds.stream("gather").choice([0, 2, 8]),
            linger_ms=seeds.stream("linger").choice([0, 1]),
        )


@dataclass(frozen=True, slots=True)
class Outline:
    """What a run that held had in it."""

    digest: str
    events: int
    calls: int
    committed: int
    terms: int
    faults: Mapping[str, int]


class World:
    """One run. `replicator` and `muscle` may be others than production's and the plain one: planted bugs."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        replicator: type[Replicator] = Replicator,
        muscle: type[SimMuscle] = SimMuscle,
    ) -> None:
        self.scenario = scenario
        self.agenda = Agenda()
        self.timeline = Timeline(self.agenda)
        seeds = Seeds(scenario.seed)
        self.groups = [GroupId(each) for each in range(1, scenario.groups + 1)]
        self.network = Network(self.agenda, seeds.stream("network"))
        self._disks: dict[int, Disk] = {}
        gives_way_us = GIVES_WAY_US if scenario.raft.check_quorum else None
        self.invariants = Invariants(
            self.groups, self._disks, lambda: self.agenda.now_us, gives_way_us, self._ready_to_serve
        )
        options = ReplicatorOptions(
            raft=scenario.raft,
            keep_entries=scenario.keep_entries,
            gather_ms=scenario.gather_ms,
            linger_ms=scenario.linger_ms,
        )
        self._around = Surroundings(
            self.agenda,
            seeds,
            self.timeline,
            self.invariants,
            options,
            self._transmit,
            self._changed,
            replicator,
            muscle,
        )
        self.processes: dict[int, Process] = {}
        voters = Membership.of(*range(1, scenario.nodes + 1))
        for node in range(1, scenario.nodes + 1):
            self.add_process(node, self._start(voters))
        self.splitting = Splitting(self)
        self.clients = [
            Client(
                number,
                self.groups[number % len(self.groups)],
                self.agenda,
                seeds.stream("client", number),
                lambda: sorted(self.processes),
                self._submit,
                self.splitting.route,
                scenario.think_us,
            )
            for number in range(scenario.clients)
        ]
        self.at_change: dict[tuple[int, GroupId, str], list[Callable[[], None]]] = {}
        """What is to happen once a node has taken a change of "membership", or has become "leader"."""
        self.nemesis = self._plotter(
            lambda number: seeds.stream("nemesis", number),
            scenario.kinds,
            scenario.fault_pause_us,
            scenario.deeds,
        )
        self.events = 0

    def add_process(self, node: int, start: Checkpoint | None = None) -> None:
        """Add a node; without a checkpoint it knows nobody and waits to be told."""
        if node in self.processes:
            return
        point = start or Checkpoint(LogIndex(0), Term(0), Membership(), UserKeys())
        rng = self._around.seeds.stream("disk", node)
        disk = Disk(self.agenda, rng, self._points(node, point))
        disk.health.lies = self.scenario.disks_lie
        self._disks[node] = disk
        self.processes[node] = process = self._process(NodeId(node), disk)
        process.start()

    def _start(self, voters: Membership) -> Checkpoint:
        """Return with what the founders begin."""
        return Checkpoint(LogIndex(1), Term(0), voters, UserKeys())

    def _points(self, _node: int, point: Checkpoint) -> dict[GroupId, Checkpoint]:
        """Return with what groups a node begins."""
        # Each machine of its own: a checkpoint is copied when it is loaded.
        return {group: replace(point) for group in self.groups}

    def _process(self, node: NodeId, disk: Disk) -> Process:
        return Process(node, disk, self._around)

    def _plotter(self, *arguments: Any) -> Nemesis:
        return Plotter(self, *arguments)

    def run(self) -> Outline:
        """Let the scenario happen, then heal everything and ask for progress. Raises Broken."""
        self._until(self.scenario.duration_us)
        self._heal()
        self._progress()
        self._judge_history()
        ledgers = self.invariants.ledgers.values()
        return Outline(
            digest=self.timeline.digest,
            events=self.events,
            calls=sum(client.done for client in self.clients),
            committed=sum(ledger.last for ledger in ledgers),
            terms=sum(len(ledger.leaders) for ledger in ledgers),
            faults=self.nemesis.counts,
        )

    def leader(self, group: GroupId) -> int | None:
        """Return the living leader of the highest term."""
        known = ((node, self.status(node, group)) for node in self.processes)
        leaders = [(status.term, node) for node, status in known if status and status.role is Role.LEADER]
        return max(leaders)[1] if leaders else None

    def status(self, node: int, group: GroupId) -> Status | None:
        """Return how a node stands in a group, or None if it does not live."""
        replicator = self.processes[node].replicator
        replica = None if replicator is None else replicator.replicas.get(group)
        return None if replica is None else replica.raft.status()

    def membership(self, node: int, group: GroupId) -> Membership:
        """Return the membership as a living node knows it."""
        replicator = self.processes[node].replicator
        assert replicator is not None
        return replicator.replicas[group].raft.status().membership

    def _ready_to_serve(self, group: GroupId) -> Iterator[tuple[int, Status, bool]]:
        for node, process in self.processes.items():
            if process.replicator is None or process.muscle is None or group not in process.replicator.replicas:
                continue
            at_once = process.muscle.gate_is_open(group)
            replica = process.replicator.replicas.get(group)
            if replica is not None and (at_once or process.serves_without_a_tick):
                yield node, replica.raft.status(), at_once

    def push(self, node: int, event: Event) -> None:
        """Give an event to a node if it lives."""
        muscle = self.processes[node].muscle
        if muscle is not None:
            muscle.push(event)

    def _changed(self, node: int, group: GroupId, what: str) -> None:
        for action in self.at_change.pop((node, group, what), ()):
            self.agenda.after(0, action)

    def _transmit(self, packet: Packet, to: NodeId) -> bool:
        def deliver() -> None:
            process = self.processes.get(to)
            if process is not None and process.muscle is not None:
                process.muscle.receive(packet)

        return self.network.send(packet.sender, to, deliver)

    def _submit(self, client: int, node: int, request: Request, reply: Reply) -> None:
        def answer(word: str, value: object) -> None:
            self.network.send(node, client, lambda: reply(word, value))

        def arrive() -> None:
            muscle = self.processes[node].muscle
            if muscle is None:
                return
            if request.command is None:
                muscle.read(request.group, request.key, answer)
            else:
                muscle.write(request.group, request.command, answer)

        self.network.send(client, node, arrive)

    def _until(self, moment_us: int) -> None:
        while self.agenda.now_us < moment_us and self.agenda.step():
            self.events += 1

    def _heal(self) -> None:
        self.timeline.note("**", "everything is healed")
        self.nemesis.stopped = True
        self.network.heal()
        for process in self.processes.values():
            process.disk.recover_health()
            process.set_drift(1.0)
            if not process.alive:
                process.start()

    def _progress(self) -> None:
        """Progress after healing: every client is answered anew, and every member applies what is committed."""
        deadline = self.agenda.now_us + PROGRESS_US
        before = {client.number: client.done for client in self.clients}
        while self.agenda.now_us < deadline:
            self._until(self.agenda.now_us + SECOND)
            answered = all(client.done >= before[client.number] + 3 for client in self.clients)
            if answered and all(self._caught_up(group) for group in self.groups):
                return
        raise Broken("progress after healing", f"answered since: {[c.done - before[c.number] for c in self.clients]}")

    def _caught_up(self, group: GroupId) -> bool:
        leader = self.leader(group)
        if leader is None:
            return False
        members = self.membership(leader, group).members
        ends = {node: self.processes[node].muscle for node in members}
        # Clients go on, so a follower is always a little behind.
        behind = self.invariants.ledgers[group].last - 20
        return all(
            muscle is not None and group in muscle.parts and muscle.parts[group].index >= behind
            for muscle in ends.values()
        )

    def _judge_history(self) -> None:
        for group in self.groups:
            operations = [each for client in self.clients if client.group == group for each in client.history]
            verdict = check(operations, Map())
            demand(verdict.outcome is not Outcome.NOT_LINEARIZABLE, "linearizable history", verdict)
