"""Verbs of the desk about where shards lie: what would move, and nodes that are emptied, replaced or given up."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from kvarts.base.errors import CommitUnknown, InvalidArgument, NotLeader, Unavailable
from kvarts.node.asker import Asker, CommandSays, Verb
from kvarts.node.features import agree
from kvarts.node.rows import MOVES
from kvarts.placement.nodes import REPLICATION, Duty, Node, by_id
from kvarts.placement.plan import plan
from kvarts.placement.safety import drain_refusal, replace_refusal
from kvarts.placement.text import plan_json, plan_text
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.raft.messages import Role
from kvarts.replication.events import Event, GroupId, TransferRequested
from kvarts.shardmap.shard import ShardId
from kvarts.statemachine import shards

NOTHING: Iterable[Event] = ()
HEAR_MS = 6_000
"""A leader that has just begun knows within this time who answers."""
TRANSFER_MS = 5_000

Nodes = Generator[Iterable[Event], None, list[Node]]


def _one_at_a_time(verb: Callable[[Asker, Mapping[str, Any]], Verb]) -> Callable[[Asker, Mapping[str, Any]], Verb]:
    """Return the verb as one that waits for others of its kind: where each may pass, both together may not."""

    def alone(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
        while asker.is_placing:
            asker.check_leads()
            yield NOTHING
        asker.is_placing = True
        try:
            return (yield from verb(asker, arguments))
        finally:
            asker.is_placing = False

    return alone


def show_plan(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Answer with what would move and why, now or if nodes had other duties: `drain`, `lost`, `replace` [old, new]."""
    nodes = _supposed((yield from _nodes(asker)), arguments)
    shard_map = asker.configuration.shard_map
    found = plan(shard_map, nodes, REPLICATION)
    lines = plan_text(found, shard_map, nodes, REPLICATION)
    told = plan_json(found, shard_map, nodes, REPLICATION)
    kept = {each.id: len(shard_map.held_by(each.id)) for each in nodes}
    listed = [{**each, "keeps": kept.get(NodeId(each["node"]), 0)} for each in told.pop("nodes")]
    return {**told, "nodes": listed, "moving": _moving(asker), "text": lines}


@_one_at_a_time
def drain(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Have a node emptied, or with `stop` no longer. Answers at once; shards move in the background."""
    node, stop = _node(asker, arguments, "id"), bool(arguments.get("stop"))
    if not stop:
        nodes = yield from _nodes(asker)
        refusal = drain_refusal(asker.configuration.shard_map, by_id(nodes), node, REPLICATION)
        if refusal:
            raise InvalidArgument(refusal, hint="`kvarts serve --join` adds a node")
        _demand_answers(nodes, node)
    yield from _set(asker, shards.DrainNode(node=node, draining=not stop))
    return {"id": node, "draining": not stop, "shards": len(asker.configuration.shard_map.held_by(node))}


@_one_at_a_time
def replace(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Have another node take over all that a node keeps; `lost`: that one never comes back."""
    old, new, lost = _node(asker, arguments, "old"), _node(asker, arguments, "new"), bool(arguments.get("lost"))
    nodes = yield from _nodes(asker)
    refusal = replace_refusal(by_id(nodes), old, new)
    if not refusal and not lost:
        # Who takes over may keep all of it already.
        refusal = drain_refusal(asker.configuration.shard_map, by_id(nodes), old, REPLICATION)
    if refusal:
        raise InvalidArgument(refusal, hint="`kvarts status` lists the nodes")
    _demand_answers(nodes, old, lost=lost)
    yield from _set(asker, shards.DrainNode(node=old, successor=new, lost=lost))
    return {"old": old, "new": new, "shards": len(asker.configuration.shard_map.held_by(old))}


@_one_at_a_time
def lose(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """A node is gone for good: what it kept is made anew elsewhere, if a quorum is left. Refused while it answers."""
    node = _node(asker, arguments, "id")
    nodes = yield from _nodes(asker)
    _demand_answers(nodes, node, lost=True)
    yield from _set(asker, shards.DrainNode(node=node, lost=True))
    return {"id": node, "lost": True, "shards": len(asker.configuration.shard_map.held_by(node))}


def move_leader(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Let another voter lead a shard: `to`, or the fittest. Asked of the shard's leader."""
    shard = asker.configuration.shard_map.get(ShardId(int(arguments["shard"])))
    if shard is None:
        raise InvalidArgument(f"no shard {arguments['shard']}", hint="`kvarts cluster shards` lists them")
    replica = asker.replicator.replicas.get(GroupId(shard.id))
    if replica is None or replica.raft.role is not Role.LEADER:
        leader = replica.leader if replica is not None else shard.voters[0]
        if leader == NODE_NONE:
            raise Unavailable(f"shard {shard.id} has no leader", hint="ask again")
        raise NotLeader("this node does not lead the shard", leader=asker.address_of(leader))
    target = NodeId(int(arguments.get("to") or (yield from asker.heir(replica))))
    if target not in shard.voters:
        voters = ", ".join(map(str, shard.voters))
        raise InvalidArgument(f"node {target} cannot lead shard {shard.id}", hint=f"voters are {voters}")
    began_ms = asker.now_ms
    yield [TransferRequested(replica.group, target)]
    while asker.now_ms < began_ms + TRANSFER_MS:
        if replica.raft.status().lead == target:
            return {"shard": shard.id, "leader": target}
        yield NOTHING
    raise CommitUnknown(f"node {target} has not taken over", hint="`kvarts cluster shards` says who leads")


def _moving(asker: Asker) -> list[dict[str, object]]:
    """Return the moves that are under way."""
    behind = asker.known.behind if asker.known else {}
    return [
        {
            "shard": each.id,
            "from": each.move.source,
            "to": each.move.target,
            "votes": each.move.promoted,
            "behind": behind.get(each.id),
        }
        for each in asker.configuration.shard_map.shards
        if each.move is not None
    ]


def _nodes(asker: Asker) -> Nodes:
    """Return the nodes as this leader hears them, once it has had the time to."""
    since_ms = asker.now_ms
    asker.check_leads()
    while asker.conductor is None or not asker.conductor.knows(asker.now_ms):
        if asker.now_ms > since_ms + HEAR_MS:
            raise Unavailable("this leader has yet to hear who answers", hint="ask again")
        yield NOTHING
        asker.check_leads()
    return asker.conductor.nodes(asker.now_ms)


def _node(asker: Asker, arguments: Mapping[str, Any], name: str) -> NodeId:
    asker.check_leads()
    node = NodeId(int(arguments[name]))
    if node not in asker.configuration.nodes:
        raise InvalidArgument(f"node {node} does not belong to the cluster", hint="`kvarts status` lists its nodes")
    return node


def _demand_answers(nodes: list[Node], node: NodeId, *, lost: bool = False) -> None:
    """Raises InvalidArgument where a node that answers is called lost, or one that is silent is not."""
    silent = by_id(nodes)[node].duty in (Duty.AWAY, Duty.GONE)
    if silent and not lost:
        raise InvalidArgument(
            f"node {node} does not answer", hint="start it; if it never comes back: `kvarts cluster remove --lost`"
        )
    if lost and not silent:
        raise InvalidArgument(f"node {node} answers: it is not lost", hint="`kvarts cluster drain` empties it")


def _set(asker: Asker, command: shards.DrainNode) -> Generator[Iterable[Event], None, None]:
    yield from agree(asker, MOVES)
    try:
        yield from asker.command(shards.encode(command))
    except CommandSays as says:
        raise InvalidArgument(f"node {command.node}: {says.message}") from None


def _supposed(nodes: list[Node], arguments: Mapping[str, Any]) -> list[Node]:
    """Return the nodes with the duties that the asker supposes."""
    known = by_id(nodes)
    old, new = (NodeId(int(each)) for each in arguments.get("replace") or (0, 0))
    supposed = {
        NodeId(int(arguments.get("drain") or 0)): (Duty.DRAINING, NODE_NONE),
        NodeId(int(arguments.get("lost") or 0)): (Duty.GONE, NODE_NONE),
        old: (Duty.DRAINING, new),
    }
    for node, (duty, successor) in supposed.items():
        if node and node not in known:
            raise InvalidArgument(f"node {node} does not belong to the cluster", hint="`kvarts status` lists its nodes")
        if node:
            known[node] = Node(id=node, capacity=known[node].capacity, duty=duty, successor=successor)
    return list(known.values())
