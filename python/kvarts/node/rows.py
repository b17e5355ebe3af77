"""What the meta group's rows and what is heard say of nodes, as placement takes it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from kvarts.placement.nodes import Duty, Node
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.statemachine.configuration import Configuration

MOVES = "moves"
"""The feature without which no shard moves: the level at which all nodes know how."""
CHECKS = "checks"
"""The feature without which no digest is asked for."""
TOKENS = "tokens"
"""The feature without which no join token is made."""


def lacking(feature: str, level: int, configuration: Configuration, members: Iterable[NodeId]) -> list[NodeId]:
    """Return the nodes that do not know a feature at a level, and the members that have yet to say what they know."""
    nodes = configuration.nodes
    unlisted = [each for each in members if each not in nodes]
    return sorted(unlisted + [each for each, told in nodes.items() if told.features.get(feature, 0) < level])


def duties(rows: Mapping[bytes, bytes], answering: Collection[NodeId]) -> list[Node]:
    """Return all nodes with what each is good for.

    One that drains and does not answer is away until it does; one that was given up for lost and answers only drains.
    """
    configuration = Configuration(rows)
    draining, lost = configuration.draining, configuration.lost
    return [
        Node(
            id=node,
            duty=_duty(node, answering, node in draining, node in lost),
            successor=draining.get(node, NODE_NONE),
        )
        for node in configuration.nodes
    ]


def _duty(node: NodeId, answering: Collection[NodeId], draining: bool, lost: bool) -> Duty:
    if node not in answering:
        return Duty.GONE if lost else Duty.AWAY
    return Duty.DRAINING if draining else Duty.SERVES
