"""A world whose groups are the shards of a map: operators add, drain, lose and remove nodes, and shards move."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kvarts.base.canonical import pack_json
from kvarts.node.moves import NOBODY_WAITS
from kvarts.node.shards import FEATURES, META
from kvarts.placement.nodes import REPLICATION
from kvarts.raft.confchange import ChangeKind, ConfigChange, NodeChange
from kvarts.raft.ids import NODE_NONE, LogIndex, NodeId, Term
from kvarts.raft.membership import Membership
from kvarts.replication.events import CommandRequested, ConfigRequested, GroupId
from kvarts.shardmap.map import ShardMap, initial
from kvarts.shardmap.shard import KeyspaceId, ShardId
from kvarts.shardmap.space import Space
from kvarts.statemachine import shards
from kvarts.statemachine.configuration import Configuration, RemoveNode, SetNode, encode
from kvarts.statemachine.rows import FEATURE, LAST_SHARD, MAP_VERSION, NODE, REMOVED, SPACE, Rows, numbered, shard_row
from kvarts.statemachine.user_keys import UserKeys
from kvarts_sim.cluster.agenda import MS, SECOND
from kvarts_sim.cluster.disk import Disk
from kvarts_sim.cluster.group_log import Checkpoint
from kvarts_sim.cluster.invariants import demand
from kvarts_sim.cluster.moving import MovingProcess
from kvarts_sim.cluster.muscle import Packet, Part
from kvarts_sim.cluster.nemesis import NODES_MAX, Nemesis
from kvarts_sim.cluster.plots import Plotter
from kvarts_sim.cluster.process import Process
from kvarts_sim.cluster.world import World

KEYSPACE = KeyspaceId(1)
LOOK_US = 100 * MS
LOOK_EVENTS = 50


class MovingWorld(World):
    """Group 1 is the meta group; the others are shards, each on three nodes at first."""

    def _start(self, voters: Membership) -> Checkpoint:
        return Checkpoint(LogIndex(1), Term(0), voters, UserKeys(), self._rows())

    def _rows(self) -> Rows:
        """Return the rows of a cluster that has made its keyspace."""
        nodes, space = range(1, self.scenario.nodes + 1), Space()
        ids = [each for each in self.groups if each != META]
        voters = [[NodeId(nodes[(at + step) % len(nodes)]) for step in range(REPLICATION)] for at in range(len(ids))]
        made = initial(KEYSPACE, space, space.even_bounds(len(ids)), voters, ShardId(ids[0]))
        node_row = pack_json({"addresses": ["here"], "features": dict(FEATURES)})
        return {
            **{numbered(NODE, node): node_row for node in nodes},
            **{FEATURE + name.encode(): b"%d" % level for name, level in FEATURES.items()},
            numbered(SPACE, KEYSPACE): pack_json(space.options()),
            **{key: value or b"" for key, value in map(shard_row, made)},
            LAST_SHARD: b"%d" % ids[-1],
            MAP_VERSION: b"1",
        }

    def _points(self, node: int, point: Checkpoint) -> dict[GroupId, Checkpoint]:
        points = {META: point}
        for shard in Configuration(point.system).shard_map.held_by(NodeId(node)):
            founded = Checkpoint(LogIndex(1), Term(0), Membership.of(*shard.voters), UserKeys())
            points[GroupId(shard.id)] = founded
        return {group: replace(each) for group, each in points.items()}

    def _process(self, node: NodeId, disk: Disk) -> Process:
        return MovingProcess(node, disk, self._around, self._send_word)

    def _transmit(self, packet: Packet, to: NodeId) -> bool:
        def deliver() -> None:
            process, sender = self.processes.get(to), self.processes[packet.sender]
            if process is None or process.muscle is None:
                return
            if numbered(REMOVED, packet.sender) not in process.muscle.parts[META].system:
                process.muscle.receive(packet)
            elif isinstance(sender, MovingProcess):
                sender.expel()

        return self.network.send(packet.sender, to, deliver)

    def _plotter(self, *arguments: Any) -> Nemesis:
        return Mover(self, *arguments)

    def _send_word(self, sender: int, to: int, word: bytes) -> None:
        def deliver() -> None:
            process = self.processes.get(to)
            if isinstance(process, MovingProcess):
                process.hear(word)

        self.network.send(sender, to, deliver)

    @property
    def rows(self) -> Rows:
        """What the meta group's rows say where most of them has been applied."""
        part = self._part()
        return {} if part is None else part.system

    @property
    def shard_map(self) -> ShardMap:
        """The map as it is known best."""
        return Configuration(self.rows).shard_map

    def _until(self, moment_us: int) -> None:
        while self.agenda.now_us < moment_us and self.agenda.step():
            self.events += 1
            if self.events % LOOK_EVENTS == 0:
                self._judge_map()

    def _judge_map(self) -> None:
        """Whoever votes is named by the map, so that nobody takes its replica away."""
        part = self._part()
        if part is None or part.index < max(self.invariants.ledgers[META].memberships, default=0):
            # After a power failure those that come back have yet to apply what was known before.
            return
        for shard in Configuration(part.system).shard_map.shards:
            memberships = self.invariants.ledgers[GroupId(shard.id)].memberships
            if memberships:
                voters = memberships[max(memberships)].voters.voters
                named = {*shard.voters, shard.learner}
                demand(voters <= named, "the map names all voters", f"{shard} has {sorted(voters)}")

    def _part(self) -> Part | None:
        """Return the meta group's part where most has been applied."""
        parts = [each.muscle.parts[META] for each in self.processes.values() if each.muscle is not None]
        return max(parts, key=lambda part: part.index, default=None)

    def _progress(self) -> None:
        super()._progress()
        deadline = self.agenda.now_us + 120 * SECOND
        while self.agenda.now_us < deadline:
            self._until(self.agenda.now_us + SECOND)
            if self._unrest() is None:
                return
        demand(False, "moves come to rest", self._unrest())

    def _unrest(self) -> str | None:
        """Return what is not as it should be when nothing disturbs any more."""
        shard_map, configuration = self.shard_map, Configuration(self.rows)
        for shard in shard_map.shards:
            leader = self.leader(GroupId(shard.id))
            if shard.busy or leader is None:
                return f"{shard} is led by {leader}"
            membership = self.membership(leader, GroupId(shard.id))
            if membership != Membership.of(*shard.voters):
                return f"{shard} has {membership}"
        serving = configuration.nodes.keys() - configuration.draining.keys()
        leader = self.leader(META)
        voters = frozenset() if leader is None else self.membership(leader, META).voters.voters
        if not serving <= voters:
            return f"{sorted(serving - voters)} are listed and do not vote in s{META}"
        for shard in shard_map.shards:
            leaving = set(shard.voters) & configuration.draining.keys()
            if leaving and len(serving) >= REPLICATION:
                return f"{shard} is kept by {leaving}, which drain"
        for node, process in self.processes.items():
            held = set(process.replicator.replicas) if process.replicator else set()
            wanted = {META, *(GroupId(each.id) for each in shard_map.held_by(NodeId(node)))}
            if node in configuration.nodes and held != wanted:
                return f"n{node} holds {sorted(held)}, not {sorted(wanted)}"
        return None


class Mover(Plotter):
    """A nemesis that is also the operator of a cluster."""

    _world: MovingWorld

    def _ask(self, command: bytes) -> None:
        leader = self._world.leader(META)
        if leader is not None:
            self._world.push(leader, CommandRequested(META, NOBODY_WAITS, command))

    def begin(self, _node: int) -> None:
        """Somebody begins a move that no plan asks for."""
        rng, shard_map = self._rng, self._world.shard_map
        nodes = sorted(Configuration(self._world.rows).nodes)
        if not shard_map.shards:
            return
        shard = rng.choice(shard_map.shards)
        source = rng.choice([NODE_NONE, *shard.voters, *shard.voters])
        target = rng.choice([NODE_NONE, *nodes])
        self._say(f"begin a move of s{shard.id} from n{source} to n{target}")
        self._ask(
            shards.encode(shards.BeginMove(shard=shard.id, epoch=shard.epoch, source=source, target=NodeId(target)))
        )

    def drain(self, _node: int) -> None:
        """A node is to be emptied, or no longer."""
        configuration = Configuration(self._world.rows)
        draining = configuration.draining
        serving = sorted(configuration.nodes.keys() - draining.keys())
        if draining and (len(draining) > 1 or self._rng.random() < 0.4):
            node = self._rng.choice(sorted(draining))
            self._say(f"n{node} drains no longer")
            self._ask(shards.encode(shards.DrainNode(node=node, draining=False)))
        elif serving:
            node = self._rng.choice(serving)
            self._say(f"n{node} drains")
            self._ask(shards.encode(shards.DrainNode(node=node)))

    def lose(self, _node: int) -> None:
        """An operator believes that a node is gone for good."""
        configuration = Configuration(self._world.rows)
        serving = sorted(configuration.nodes.keys() - configuration.draining.keys())
        if len(serving) > REPLICATION:
            node = self._rng.choice(serving)
            self._say(f"n{node} is believed lost")
            self._ask(shards.encode(shards.DrainNode(node=node, lost=True)))

    def join(self, _node: int) -> None:
        """A node joins: it is listed, and whoever leads the meta group takes it in."""
        node = max(self._world.processes) + 1
        if node > NODES_MAX:
            return
        self._world.add_process(node)
        self._say(f"n{node} joins")
        self._list(NodeId(node), 100)

    def _list(self, node: NodeId, times: int) -> None:
        if node in Configuration(self._world.rows).nodes or not times:
            return
        self._ask(encode(SetNode(node=node, addresses=("here",), features=FEATURES)))
        self._after(3 * LOOK_US, lambda: self._list(node, times - 1))

    def leave(self, _node: int) -> None:
        """A node that keeps nothing is removed for good."""
        configuration = Configuration(self._world.rows)
        leader = self._world.leader(META)
        if leader is None:
            return
        membership = self._world.membership(leader, META)
        for node in sorted(configuration.draining):
            empty = not configuration.shard_map.held_by(node) and len(membership.voters.voters) > REPLICATION
            if empty and node != leader:
                self._say(f"n{node} is removed")
                self._ask(encode(RemoveNode(node=node)))
                self._world.push(leader, ConfigRequested(META, ConfigChange((NodeChange(ChangeKind.REMOVE, node),))))
                return
