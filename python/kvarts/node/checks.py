"""Verbs of the desk by which replicas are compared: a digest at the same entry on each; one that differs is fenced.

Whoever asks compares: see kvarts.remote.checking. A node fences only its own replica, and only if its own digest is the
one that the others contradict.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kvarts.base.errors import InvalidArgument, NotLeader, Unavailable
from kvarts.node.asker import Asker, CommandSays, Verb
from kvarts.node.features import agree
from kvarts.node.rows import CHECKS, MOVES
from kvarts.node.shards import META
from kvarts.node.verbs import fenced_of
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.raft.messages import Role
from kvarts.replication.events import Event, GroupId
from kvarts.shardmap.shard import ShardId
from kvarts.statemachine import checks, shards

NOTHING: Iterable[Event] = ()
WAIT_MS = 1_000
"""How long a node waits for a digest before it says how far that is."""


def groups(asker: Asker, _arguments: Mapping[str, Any]) -> Verb:
    """Answer with all groups, who votes in each and where they listen. From here on digests may be asked for."""
    asker.check_leads()
    yield from agree(asker, CHECKS)
    names = {number: name for name, (number, _) in asker.configuration.keyspaces.items()}
    meta = sorted(asker.replica.raft.status().membership.voters.voters)
    found = [(META, "", meta)]
    found += [(GroupId(each.id), names.get(each.keyspace, ""), list(each.voters)) for each in _shards(asker)]
    fenced = fenced_of(asker)
    listed = [
        {"group": group, "keyspace": keyspace, "voters": voters, "fenced": fenced.get(str(group), [])}
        for group, keyspace, voters in found
    ]
    nodes = {node for _, _, voters in found for node in voters}
    return {"groups": listed, "addresses": {str(node): asker.address_of(node) for node in nodes}}


def begin(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Have all replicas of `group` digest their rows at an entry of its log. Asked of its leader; answers a number."""
    group = GroupId(int(arguments["group"]))
    replica = asker.replicator.replicas.get(group)
    if replica is None or replica.raft.role is not Role.LEADER:
        raise _elsewhere(asker, group)
    if asker.configuration.features.get(CHECKS, 0) < 1:
        raise Unavailable("this node has yet to hear that all know of checks", hint="ask again")
    number = yield from asker.command(checks.encode(checks.ComputeDigest()), group)
    return {"group": group, "number": number}


def digest(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Answer with this node's digest of `group` under `number`, or how far it is after a second.

    `state`: "counting", "done", "failed", "fenced", "waiting" for an entry that is still to come, or "lost" where
    nothing is known of it, as after a restart.
    """
    group, number, since_ms = GroupId(int(arguments["group"])), int(arguments["number"]), asker.now_ms
    while True:
        told = _told(asker, group, number)
        if told["state"] not in ("counting", "waiting") or asker.now_ms >= since_ms + WAIT_MS:
            return told
        yield NOTHING


def _told(asker: Asker, group: GroupId, number: int) -> dict[str, Any]:
    known = asker.known
    if known is not None and group in known.fenced:
        return {"state": "fenced", "why": known.fenced[group]}
    told = asker.keeper.check(group, number)
    if told is not None:
        found: dict[str, Any] = json.loads(told)
        return found
    replica = asker.replicator.replicas.get(group)
    reached = replica is not None and int(replica.system.rows.get(checks.LAST_CHECK, b"0")) >= number
    return {"state": "lost" if reached else "waiting"}


def fence(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Fence this node's replica of `group`: its digest under `number` is not that of most voters, `digest`.

    `agreeing`: the nodes that have that one. Answers when a restart would know of it.
    """
    group, number = GroupId(int(arguments["group"])), int(arguments["number"])
    wanted, agreeing = str(arguments["digest"]), sorted({int(each) for each in arguments["agreeing"]})
    told = _told(asker, group, number)
    known = asker.known
    if known is None or told["state"] != "done":
        raise InvalidArgument(f"no digest {number} of group {group} here: {told['state']}", hint="check again")
    if told["digest"] == wanted:
        raise InvalidArgument(f"this node's replica of group {group} does not differ", hint="nothing is to be fenced")
    voters = _voters(asker, group)
    own = asker.replicator.node
    if own in agreeing or 2 * len(set(agreeing) & voters) <= len(voters):
        raise InvalidArgument(f"{agreeing} are no majority of {sorted(voters)}", hint="no replica is known to be right")
    why = f"at entry {told['index']} its rows have the digest {told['digest'][:16]}…, those of nodes "
    why += f"{', '.join(map(str, agreeing))} {wanted[:16]}…"
    yield known.fence(group, why)
    while group not in asker.keeper.fences():
        yield NOTHING
    return {"group": group, "node": own, "why": why}


def rebuild(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Have the fenced replica of `shard` on `node` given up: it leaves its group; then one is made anew, by a move."""
    asker.check_leads()
    shard, node = asker.configuration.shard_map.get(ShardId(int(arguments["shard"]))), NodeId(int(arguments["node"]))
    if shard is None:
        raise InvalidArgument(
            f"no shard {arguments['shard']}",
            hint="`kvarts cluster shards` lists them; a node whose meta group is fenced is removed and joins anew",
        )
    if int(node) not in fenced_of(asker).get(str(shard.id), []):
        raise InvalidArgument(
            f"node {node} has not fenced its replica of shard {shard.id}", hint="`kvarts cluster shards` lists those"
        )
    yield from agree(asker, MOVES)
    command = shards.BeginMove(shard=shard.id, epoch=shard.epoch, source=node, target=NODE_NONE)
    try:
        yield from asker.command(shards.encode(command))
    except CommandSays as says:
        raise Unavailable(f"shard {shard.id}: {says.message}", hint="wait until what is under way is done") from None
    return {"shard": shard.id, "node": node}


def _voters(asker: Asker, group: GroupId) -> set[int]:
    if group == META:
        return set(asker.replica.raft.status().membership.voters.voters)
    shard = asker.configuration.shard_map.get(ShardId(group))
    return set() if shard is None else set(shard.voters)


def _shards(asker: Asker) -> Iterable[Any]:
    return asker.configuration.shard_map.shards


def _elsewhere(asker: Asker, group: GroupId) -> Exception:
    replica = asker.replicator.replicas.get(group)
    if replica is not None:
        leader = replica.leader
    else:
        leader = NodeId(min(_voters(asker, group) - {int(asker.replicator.node)}, default=NODE_NONE))
    if leader == NODE_NONE:
        return Unavailable(f"group {group} has no leader that is known here", hint="ask again")
    return NotLeader(f"this node does not lead group {group}", hint="ask the leader", leader=asker.address_of(leader))
