"""Verbs of the desk about what there is: status and keyspaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from kvarts import _native
from kvarts.node.asker import Asker, Verb
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.replication.events import Event
from kvarts.shardmap.map import ShardMap
from kvarts.statemachine.configuration import CreateKeyspace
from kvarts.statemachine.rows import limits_in

NOTHING: Iterable[Event] = ()
SAID_MS = 5_000
"""What another node has not repeated for so long counts no more."""


def status(asker: Asker, _arguments: Mapping[str, Any]) -> Verb:
    """Answer with this node's view of itself, its groups and the cluster."""
    yield NOTHING
    raft = asker.replica.raft.status()
    configuration = asker.configuration
    members = sorted(raft.membership.members | set(configuration.nodes))
    draining, lost, kept = configuration.draining, configuration.lost, _kept(configuration.shard_map)
    groups = [
        {
            "group": each.group,
            "role": each.role.name.lower(),
            "term": each.term,
            "leader": each.leader,
            "last": each.last,
            "committed": each.committed,
            "applied": each.applied,
        }
        for each in asker.replicator.status()
    ]
    nodes = [
        {
            "id": node,
            "address": asker.address_of(node),
            "voter": node in raft.membership.voters.voters,
            "learner": node in raft.membership.learners,
            "leader": node == raft.lead,
            "draining": node in draining and node not in lost,
            "lost": node in lost,
            "shards": kept[node],
        }
        for node in members
    ]
    return {
        "node": raft.node,
        "version": _native.__version__,
        "leader": raft.lead,
        "term": raft.term,
        "fenced": fenced_of(asker),
        "joint": raft.membership.is_joint,
        "groups": groups,
        "nodes": nodes,
    }


def shards(asker: Asker, _arguments: Mapping[str, Any]) -> Verb:
    """Answer with all shards, as this node has applied them, and who leads them, as far as it knows."""
    yield NOTHING
    names = {number: name for name, (number, _) in asker.configuration.keyspaces.items()}
    shard_map = asker.configuration.shard_map
    behind = asker.known.behind if asker.known else {}
    fenced, limits = fenced_of(asker), limits_in(asker.replica.system.rows)
    elsewhere = asker.known.led_elsewhere if asker.known else {}
    leaders = {int(shard): node for node, (_, led) in elsewhere.items() for shard in led}
    leaders |= {int(group): each.leader for group, each in asker.replicator.replicas.items()}
    return {
        "version": shard_map.version,
        "shards": [
            {
                "id": each.id,
                "keyspace": names.get(each.keyspace, ""),
                "ordered": shard_map.spaces[each.keyspace].ordered,
                "start": each.start.hex(),
                "stop": each.stop.hex(),
                "epoch": each.epoch,
                "voters": list(each.voters),
                "leader": leaders.get(each.id, NODE_NONE),
                "move": None if each.move is None else [each.move.source, each.move.target],
                "behind": behind.get(each.id),
                "splitting": each.split is not None,
                "limit": limits.get(each.keyspace, 0),
                "fenced": fenced.get(str(each.id), []),
            }
            for each in shard_map.shards
        ],
    }


def fenced_of(asker: Asker) -> dict[str, list[int]]:
    """Return which nodes have fenced their replicas of which groups: its own, and what it has been told lately."""
    if asker.known is None:
        return {}
    found: dict[int, set[int]] = {int(group): {int(asker.replicator.node)} for group in asker.known.fenced}
    for node, (said_ms, shards) in asker.known.fenced_elsewhere.items():
        for shard in shards if said_ms + SAID_MS > asker.now_ms else ():
            found.setdefault(int(shard), set()).add(int(node))
    return {str(group): sorted(nodes) for group, nodes in sorted(found.items())}


def _kept(shard_map: ShardMap) -> Counter[NodeId]:
    """Return how many replicas each node keeps, or is to keep."""
    return Counter(node for shard in shard_map.shards for node in {*shard.voters, shard.learner})


def keyspaces(asker: Asker, _arguments: Mapping[str, Any]) -> Verb:
    """Answer with the keyspaces, as this node has applied them."""
    yield NOTHING
    return {"keyspaces": [shown(number, made) for number, made in asker.configuration.keyspaces.values()]}


def shown(number: int, made: CreateKeyspace) -> dict[str, object]:
    """Return a keyspace as clients are told of it."""
    return {"id": number, "name": made.name, "key_codec": made.key, "value_codec": made.value}
