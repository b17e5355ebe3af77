"""Splits in a simulated world: what the map and the nodes' loops do of them, and who owns a key as clients are told.

The map is the world's own, as if the meta group were never away; what is under test is what groups and nodes do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvarts.raft.messages import Role
from kvarts.replication.events import CommandRequested, GroupId
from kvarts.replication.replica import Replica
from kvarts.shardmap.shard import Epoch, KeyspaceId, ShardId
from kvarts.shardmap.space import Space
from kvarts.statemachine import ranges
from kvarts_sim.cluster.agenda import MS

if TYPE_CHECKING:
    from kvarts_sim.cluster.world import World

LOOK_US = 100 * MS
GROUPS_MAX = 8
FOUNDED = 1


@dataclass(slots=True)
class Owned:
    """A shard as the map has it."""

    group: GroupId
    root: GroupId
    start: bytes = b""
    stop: bytes = b""
    epoch: int = 1
    origin: GroupId | None = None
    child: GroupId | None = None
    """Of a split under way, which is to begin at `at`."""
    at: bytes = b""


class Splitting:
    """Begins splits when it is told to, and sees them through."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._space = Space()
        self.shards = {group: Owned(group, group) for group in world.groups}
        self._last: int = max(world.groups)
        self._watching = False

    def route(self, root: GroupId, key: bytes) -> GroupId:
        """Return the group that owns a key, of those that began as one."""
        token = self._space.token(key)
        line = (each for each in self.shards.values() if each.root == root)
        return next(each.group for each in line if each.start <= token and (not each.stop or token < each.stop))

    def begin(self, group: GroupId) -> None:
        """Intend to halve a group, unless that is under way."""
        shard = self.shards[group]
        if shard.child is not None or self._last >= GROUPS_MAX:
            return
        self._last += 1
        shard.child, shard.at = GroupId(self._last), self._space.middle(shard.start, shard.stop)
        self._world.invariants.expect(shard.child, shard.group)
        self._world.timeline.note("**", f"s{group} is to split at {shard.at.hex()}, off it s{shard.child}")
        if not self._watching:
            self._watching = True
            self._look()

    def _look(self) -> None:
        for shard in list(self.shards.values()):
            if shard.child is not None:
                self._step(shard, shard.child)
        self._open()
        self._world.agenda.after(LOOK_US, self._look)

    def _step(self, shard: Owned, child: GroupId) -> None:
        for node, process in self._world.processes.items():
            replicas = {} if process.replicator is None else process.replicator.replicas
            parent, born = replicas.get(shard.group), replicas.get(child)
            if parent is not None and parent.raft.role is Role.LEADER and not _has_split(parent, child):
                self._world.push(node, CommandRequested(shard.group, 0, self._command(shard, child)))
            if born is not None and born.raft.committed > FOUNDED:
                self._finish(shard, child)
                return

    def _finish(self, shard: Owned, child: GroupId) -> None:
        epoch = shard.epoch + 1
        self.shards[child] = Owned(child, shard.root, shard.at, shard.stop, epoch, origin=shard.group)
        shard.stop, shard.epoch, shard.child = shard.at, epoch, None
        self._world.groups.append(child)
        self._world.timeline.note("**", f"s{child} owns its half")

    def _open(self) -> None:
        """Nodes that have got the parent's snapshot in place of the entry begin a child empty."""
        for shard in self.shards.values():
            for process in self._world.processes.values():
                if shard.origin is None or process.replicator is None or process.muscle is None:
                    continue
                origin = process.replicator.replicas.get(shard.origin)
                if origin is not None and _has_split(origin, shard.group):
                    process.muscle.open_empty(shard.group)

    def _command(self, shard: Owned, child: GroupId) -> bytes:
        return ranges.encode(
            ranges.SplitShard(
                keyspace=KeyspaceId(1),
                ordered=False,
                partition=self._space.partition.text,
                hash=self._space.hash,
                start=shard.start.hex(),
                at=shard.at.hex(),
                stop=shard.stop.hex(),
                epoch=Epoch(shard.epoch + 1),
                child=ShardId(child),
            )
        )


def _has_split(replica: Replica, child: GroupId) -> bool:
    return ranges.has_split(replica.system.rows, ShardId(child))
