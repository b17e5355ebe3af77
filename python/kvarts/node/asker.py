"""What a verb of the desk sees of the node, and how it asks for what Raft decides."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kvarts.base.errors import InvalidArgument, NotLeader, Unavailable
from kvarts.node.bootstrap import RandomBytes
from kvarts.node.conductor import Conductor
from kvarts.node.shards import Shards
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.raft.messages import Role
from kvarts.replication.events import CommandRequested, Event, GroupId
from kvarts.replication.replica import Replica
from kvarts.replication.replicator import Replicator
from kvarts.replication.turn import CommandDone, CommandRefused
from kvarts.statemachine.configuration import Configuration

HEIR_MS = 6_000
"""So long a leader waits to hear from a voter that could take over from it."""

Verb = Generator[Iterable[Event], None, object]
"""Yields, once per turn, the events that it wants in it; returns what JSON can say. Raising KvartsError refuses."""


class Keeper(Protocol):
    """What verbs ask of the muscle. Nothing of it waits."""

    def check(self, group: int, number: int) -> str | None:
        """Return what is known of a digest of a group's rows: JSON with a `state`."""

    def fences(self) -> Mapping[int, str]:
        """Return the replicas of which a restart would know that they are fenced, with why."""

    def hold(self, number: int, since_ms: int, for_ms: int) -> int:
        """Keep history from a time on, or from now where that is 0; return the time."""

    def release(self, number: int) -> None:
        """Keep it no longer."""

    def unix_ms(self) -> int:
        """Return the node's clock."""


@dataclass(slots=True)
class Asker:
    """What a verb sees of the node."""

    replicator: Replicator
    group: GroupId
    static_peers: Mapping[NodeId, str]
    cluster: str
    """Id of the cluster, in hexadecimal."""
    keeper: Keeper
    random: RandomBytes
    """Where what nobody can guess comes from."""
    outcomes: dict[int, CommandDone | CommandRefused] = field(default_factory=dict)
    features: dict[NodeId, Mapping[str, int]] = field(default_factory=dict)
    """What nodes have told that they know, since this one runs."""
    contexts: int = 0
    conductor: Conductor | None = None
    """Who hears which nodes answer."""
    known: Shards | None = None
    """The shards as the node knows them."""
    is_placing: bool = False
    """A verb is at work that empties nodes: what it found holds until it is done."""
    begun: list[Verb] = field(default_factory=list)
    """Verbs that others began and nobody waits for."""
    now_ms: int = 0

    @property
    def replica(self) -> Replica:
        """The replica of the group that holds the configuration."""
        return self.replicator.replicas[self.group]

    @property
    def configuration(self) -> Configuration:
        """What the cluster has agreed on so far, as this node has applied it."""
        return Configuration(self.replica.system.rows)

    def address_of(self, node: NodeId) -> str:
        """Return where a node listens, or nothing if nobody has said."""
        known = self.configuration.nodes.get(node)
        return known.addresses[0] if known and known.addresses else self.static_peers.get(node, "")

    def check_leads(self) -> None:
        """Raise NotLeader unless this node leads."""
        status = self.replica.raft.status()
        if status.role is not Role.LEADER:
            raise self.elsewhere("this node does not lead")
        if not self.replica.raft.has_caught_up:
            raise Unavailable("this node has just begun to lead", hint="ask again")

    def elsewhere(self, message: str) -> NotLeader:
        """Return the error that sends an asker to the leader."""
        return NotLeader(message, hint="ask the leader", leader=self.address_of(self.replica.leader))

    def command(self, command: bytes, group: GroupId | None = None) -> Generator[Iterable[Event], None, int | None]:
        """Have a Python command carried out and return its value. Raises NotLeader, Unavailable, InvalidArgument.

        By the group that holds the configuration, or by another that this node leads.
        """
        self.contexts += 1
        context = self.contexts
        yield [CommandRequested(self.group if group is None else group, context, command)]
        while context not in self.outcomes:
            yield []
        outcome = self.outcomes.pop(context)
        if isinstance(outcome, CommandRefused):
            raise self.elsewhere(f"not carried out here: {outcome.why.value}")
        if outcome.decision.refusal is not None:
            raise CommandSays(outcome.decision.refusal, outcome.decision.value)
        return outcome.decision.value

    def heir(self, replica: Replica) -> Generator[Iterable[Event], None, NodeId]:
        """Return who could take over a group soonest, once one is heard from: a new leader has heard nobody.

        Raises InvalidArgument where there is no other voter, Unavailable where none answers.
        """
        raft, since_ms = replica.raft, self.now_ms
        if raft.status().membership.voters.voters <= {self.replicator.node}:
            raise InvalidArgument("nobody else votes", hint="`kvarts cluster join` takes in more nodes")
        while (heir := raft.successor()) == NODE_NONE:
            if raft.role is not Role.LEADER or self.now_ms > since_ms + HEIR_MS:
                raise Unavailable("no other voter answers the leader", hint="`kvarts cluster status` tells who does")
            yield []
        return heir

    def begin(self, verb: Verb) -> None:
        """Let a verb run that nobody waits for."""
        self.begun.append(verb)


class CommandSays(InvalidArgument):
    """A command was refused by its own rules, by name; `value` may tell more."""

    def __init__(self, refusal: str, value: int | None) -> None:
        super().__init__(refusal.replace("-", " "))
        self.refusal = refusal
        self.value = value
