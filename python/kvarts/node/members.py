"""Verbs of the desk about who belongs to the cluster, each online, each refused where it would lose the quorum."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from kvarts.base.errors import CommitUnknown, InvalidArgument, NotLeader
from kvarts.node.asker import Asker, CommandSays, Verb
from kvarts.node.bootstrap import is_address
from kvarts.node.rows import MOVES
from kvarts.raft.confchange import ChangeKind, ConfigChange, NodeChange
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.raft.messages import Role
from kvarts.replication.events import ConfigRequested, Event, TransferRequested
from kvarts.statemachine import shards
from kvarts.statemachine.configuration import RemoveNode, SetNode, encode

NOTHING: Iterable[Event] = ()
BEHIND_MAX = 1000
"""A learner this many entries behind, or fewer, is promoted."""
ASK_AGAIN_MS = 500
TRANSFER_MS = 5_000
FEATURES_MS = 10_000
HEARD_MS = 1500
"""A voter that says nothing for so long does not count as one that answers."""

Steps = Generator[Iterable[Event], None, None]


def announce(asker: Asker) -> Verb:
    """Whenever this node leads, see to it that the configuration names every node, and what it knows. Never ends."""
    asked_ms = 0
    while True:
        yield NOTHING
        raft = asker.replica.raft
        if raft.role is not Role.LEADER or asker.now_ms < asked_ms + ASK_AGAIN_MS:
            continue
        asked_ms = asker.now_ms
        for wanted in _unlisted(asker):
            yield from _try(asker, encode(wanted))


def _unlisted(asker: Asker) -> list[SetNode]:
    """Return the nodes that are listed otherwise than they are, as they should be."""
    configuration = asker.configuration
    in_use, wanted = configuration.features, []
    for node in sorted(_members(asker)):
        listed = configuration.nodes.get(node)
        before = listed or SetNode(node=node, addresses=())
        address = asker.static_peers.get(node)
        features = asker.features.get(node, before.features)
        if any(features.get(name, 0) < level for name, level in in_use.items()):
            # It would be refused: the node is older than what is in use, or has not told yet.
            features = before.features
        now = SetNode(node=node, addresses=(address,) if address else before.addresses, features=features)
        if now.addresses and now != listed:
            wanted.append(now)
    return wanted


def transfer(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Let another voter lead: `to`, or the fittest."""
    asker.check_leads()
    raft = asker.replica.raft
    target = NodeId(int(arguments.get("to") or (yield from asker.heir(asker.replica))))
    voters = raft.status().membership.voters.voters
    if target not in voters:
        raise InvalidArgument(f"node {target} cannot lead", hint=f"voters are {', '.join(map(str, sorted(voters)))}")
    yield from _hand_over(asker, target)
    if raft.status().lead != target:
        # Told to stand, it may do so late: a client that asked again by itself would stop writes each time.
        raise CommitUnknown(f"node {target} has not taken over", hint="`kvarts status` says who leads")
    return {"leader": target, "asked": target}


def add_node(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Take in a node that runs and waits, by its id and address; answers when it votes."""
    asker.check_leads()
    node, address = NodeId(int(arguments["id"])), str(arguments["address"])
    yield from check_address(asker, address, node)
    features = yield from _told_features(asker, node)
    try:
        yield from asker.command(encode(SetNode(node=node, addresses=(address,), features=features)))
    except CommandSays as says:
        hint = (
            "start it with an empty data directory: it joins under a new id" if says.refusal == "node-removed" else None
        )
        raise InvalidArgument(f"node {node} cannot be added: {says.message}", hint=hint) from None
    yield from take_in(asker, node)
    return {"id": node, "voter": True}


def check_address(asker: Asker, address: str, node: NodeId) -> Steps:
    """Raises InvalidArgument where a node cannot be taken in at an address: what serves elsewhere would be lost."""
    if not is_address(address):
        raise InvalidArgument(f"{address!r} is no host:port", hint="where the other nodes reach the new one")
    nodes, own = asker.configuration.nodes, asker.replicator.node
    at = {each: listed.addresses for each, listed in nodes.items() if each == node or address in listed.addresses}
    for other, addresses in at.items():
        if other == node and address in addresses:
            continue
        if other == own or (yield from _answers(asker, other)):
            where = ", ".join(addresses)
            raise InvalidArgument(
                f"node {other} is at {where}, and answers",
                hint="a node is at one address, and no other is there; `kvarts serve --listen` gives it another",
            )


def newcomer_at(asker: Asker, address: str) -> NodeId:
    """Return who was let in at an address and has not been there yet, or NODE_NONE."""
    raft = asker.replica.raft
    status = raft.status()
    voters, last = status.membership.voters.voters, status.last
    for node, listed in asker.configuration.nodes.items():
        # Whoever is there acknowledges at once; that one was heard from is taken for granted when it is let in.
        if address in listed.addresses and node not in voters and raft.behind(node) >= last:
            return node
    return NODE_NONE


def _answers(asker: Asker, node: NodeId) -> Generator[Iterable[Event], None, bool]:
    """Tell whether a member is heard from. Who was is forgotten once per election timeout: this waits longer."""
    raft, since_ms = asker.replica.raft, asker.now_ms
    while not raft.heard_from(node):
        if node not in _members(asker) or asker.now_ms > since_ms + HEARD_MS:
            return False
        yield NOTHING
    return True


def _told_features(asker: Asker, node: NodeId) -> Generator[Iterable[Event], None, Mapping[str, int]]:
    """Return what a node knows: it tells whom it connects to, and may take a moment for that."""
    since_ms, in_use = asker.now_ms, asker.configuration.features
    while asker.now_ms <= since_ms + FEATURES_MS:
        told = asker.features.get(node, {})
        if all(told.get(name, 0) >= level for name, level in in_use.items()):
            return told
        yield NOTHING
    return asker.features.get(node, {})


def remove_node(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Let a node leave for good. Refused where those that were heard from would no longer be a majority."""
    asker.check_leads()
    node = NodeId(int(arguments["id"]))
    raft = asker.replica.raft
    membership = raft.status().membership
    if node not in membership.members and node not in asker.configuration.nodes:
        raise InvalidArgument(f"node {node} does not belong to the cluster", hint="`kvarts status` lists its nodes")
    _demand_empty(asker, node)
    voters = membership.voters.incoming.voters
    if node in voters and not arguments.get("force"):
        left = voters - {node}
        heard: set[NodeId] = set()
        since_ms = asker.now_ms
        # Who was heard from is forgotten once per election timeout: look for longer than that.
        while len(heard) * 2 <= len(left) and asker.now_ms <= since_ms + HEARD_MS:
            heard |= {each for each in left if each == raft.status().node or raft.heard_from(each)}
            yield NOTHING
        if len(heard) * 2 <= len(left):
            raise InvalidArgument(
                f"without node {node} only {len(heard)} of {len(left)} voters answer: the quorum would be lost",
                hint="bring a node back, or add one, first",
            )
    yield from _close_door(asker, node)
    successor = raft.successor()
    if node == raft.status().node and successor != NODE_NONE:
        # It would lead no more once it is removed, and the others would wait out an election timeout.
        yield from _hand_over(asker, successor)
    yield from _until(asker, NodeChange(ChangeKind.REMOVE, node), lambda: node not in _members(asker))
    yield from _try(asker, encode(RemoveNode(node=node)))
    if node in asker.configuration.nodes:
        raise CommitUnknown(f"node {node} votes no more, but is still listed", hint="ask again")
    return {"id": node, "removed": True}


def _demand_empty(asker: Asker, node: NodeId) -> None:
    """Raises InvalidArgument where a node keeps shards, or is to keep one."""
    kept = asker.configuration.shard_map.held_by(node)
    if kept:
        raise InvalidArgument(
            f"node {node} keeps replicas of {len(kept)} shards",
            hint="`kvarts cluster drain` or `replace` empties it; --lost where it never comes back",
        )


def _close_door(asker: Asker, node: NodeId) -> Steps:
    """Let no shard come to a node from here on. Raises InvalidArgument where one has come meanwhile."""
    configuration = asker.configuration
    if configuration.features.get(MOVES) and node in configuration.nodes.keys() - configuration.draining.keys():
        yield from asker.command(shards.encode(shards.DrainNode(node=node)))
    _demand_empty(asker, node)


def take_in(asker: Asker, node: NodeId) -> Steps:
    """A learner first; a voter once it has caught up."""
    if node not in _members(asker):
        yield from _until(asker, NodeChange(ChangeKind.ADD_LEARNER, node), lambda: node in _members(asker))
    raft = asker.replica.raft
    # One that has acknowledged nothing may not be there at all: as a voter it could cost the quorum.
    while raft.behind(node) > min(BEHIND_MAX, raft.status().last - 1):
        asker.check_leads()
        yield NOTHING
    change = NodeChange(ChangeKind.ADD_VOTER, node)
    yield from _until(asker, change, lambda: node in raft.status().membership.voters.incoming.voters)


def _hand_over(asker: Asker, target: NodeId) -> Steps:
    """Let `target` take over: until it does, or this node gives that up, or nobody knows for too long."""
    raft = asker.replica.raft
    began_ms = asker.now_ms
    yield [TransferRequested(asker.group, target)]
    while asker.now_ms < began_ms + TRANSFER_MS:
        status = raft.status()
        if status.lead == target or (status.role is Role.LEADER and status.transferee == NODE_NONE):
            return
        yield NOTHING


def _until(asker: Asker, change: NodeChange, done: Callable[[], bool]) -> Steps:
    """Ask for a change until it is seen: one that comes at a bad moment becomes an empty entry."""
    asked_ms = None
    while not done():
        asker.check_leads()
        if asked_ms is None or asker.now_ms >= asked_ms + ASK_AGAIN_MS:
            asked_ms = asker.now_ms
            yield [ConfigRequested(asker.group, ConfigChange((change,)))]
        else:
            yield NOTHING


def _try(asker: Asker, command: bytes) -> Steps:
    """Have a command carried out, or leave it to a later time or another leader."""
    try:
        yield from asker.command(command)
    except (InvalidArgument, NotLeader):
        return


def _members(asker: Asker) -> frozenset[NodeId]:
    return asker.replica.raft.status().membership.members
