"""The loop of a node: poll, turn, perform; and what is told to the muscle, to operators and to askers in between.

events = muscle.poll(until)
turn   = replicator.turn(events)
muscle.perform(turn)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from kvarts.node.asker import Keeper
from kvarts.node.bootstrap import RandomBytes
from kvarts.node.bridge import CALL, EVENTS, MEASURED, PEER_CAME, REMOVED, STOP, WORD, Native, native_of
from kvarts.node.conductor import Conductor
from kvarts.node.desk import Desk
from kvarts.node.growth import Growth
from kvarts.node.leading import Leading
from kvarts.node.moves import Moves
from kvarts.node.news import News
from kvarts.node.shards import META, Line, Shards
from kvarts.node.splits import Splits
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.raft.messages import Role
from kvarts.raft.node import RaftNode
from kvarts.replication.events import Event, Events, GroupId, GroupOpened, Restored, StopRequested
from kvarts.replication.replicator import Replicator
from kvarts.replication.turn import Turn
from kvarts.statemachine.configuration import Configuration

WAS_REMOVED = "was removed from the cluster"
"""Part of the reason for which a node stops that was."""
IS_FENCED = "differs from the others in the meta group and is fenced"


class Muscle(Keeper, Protocol):
    """What the loop needs of `_native.Muscle`."""

    def poll(self, until_ms: int) -> tuple[int, list[Native]]:
        """Return the clock's reading and what happened, at the latest at `until_ms`."""

    def perform(self, turn: Native) -> None:
        """Carry out a turn. Never blocks."""

    def answer(self, call_id: int, answer: str) -> None:
        """Answer a call."""

    def refuse(self, call_id: int, error: Mapping[str, Any]) -> None:
        """Refuse a call with the fields of an error."""

    def care(self, call_id: int, verb: str) -> None:
        """Have all state machines do what an operator asks, and answer the call. Never blocks."""

    def open_group(self, group: int, membership: bytes) -> None:
        """Make a group, or find it; an event says when it is there. Never blocks."""

    def measure(self, groups: Sequence[tuple[int, int]]) -> None:
        """Measure shards; an event tells of each. Never blocks."""

    def fence(self, group: int, why: str) -> None:
        """Let a replica serve nobody any more. Never blocks."""

    def lift_fence(self, group: int) -> None:
        """Give up a fenced replica. Never blocks."""

    def set_shards(self, version: int, keyspaces: list[Line], unready: list[int]) -> None:
        """Say which shards there are."""

    def set_peers(self, peers: Mapping[int, str]) -> None:
        """Say where the other nodes listen."""

    def set_removed(self, nodes: list[int]) -> None:
        """Say which nodes were removed: they are told so when they come."""

    def tell(self, node: int, word: bytes) -> None:
        """Send a word to another node. It may be lost."""

    def set_role(self, group: int, role: str, term: int, leader: int, leader_address: str) -> None:
        """Say who leads, so that requests which belong elsewhere are refused at the door."""


@dataclass(slots=True)
class LoopFigures:
    """Numbers of the loop that only grow, and its latest lag."""

    turns: int = 0
    events: int = 0
    busy_ns: int = 0
    lag_ms: int = 0
    """How late the latest turn was for a tick that was due."""
    lag_max_ms: int = 0
    fenced: int = 0
    """Replicas that serve nobody, since they differ from the others."""


class _Told(NamedTuple):
    """What the muscle was told last of a group."""

    role: Role
    term: int
    leader: NodeId
    address: str


class Loop:
    """Owns the replicator. One thread; everything else reaches it as an event or a call."""

    def __init__(
        self,
        muscle: Muscle,
        replicator: Replicator,
        news: News,
        *,
        static_peers: Mapping[NodeId, str],
        cluster: str,
        clock_ns: Callable[[], int],
        random: RandomBytes,
        stop_ms_max: int = 5_000,
    ) -> None:
        self._muscle = muscle
        self.replicator = replicator
        self._news = news
        self._static_peers = dict(static_peers)
        self._clock_ns = clock_ns
        self._stop_ms_max = stop_ms_max
        self.desk = Desk(muscle, replicator, META, static_peers, cluster=cluster, random=random)
        self.shards = Shards(muscle, replicator)
        self.moves = Moves(muscle, replicator, self.shards)
        self.conductor = Conductor(replicator, self.shards)
        self.desk.meet(self.conductor, self.shards)
        self._splits = Splits(muscle, replicator, self.shards)
        self._growth = Growth(muscle, replicator, self.shards, news, self.conductor.take)
        self._leading = Leading(muscle, replicator, self.shards)
        self.figures = LoopFigures()
        self._told: dict[GroupId, _Told] = {}
        self._peers: dict[NodeId, str] = {}
        self._removed: frozenset[NodeId] = frozenset()
        self._is_removed = False
        self._membership: object = None
        self._stop_by_ms: int | None = None
        self.may_pass = False
        """What the muscle gave up for may pass by itself: a full disk, say."""
        self.stop_wanted = False
        """Set by a signal's handler; seen at the next turn."""

    def run(self) -> str | None:
        """Turn until a stop was asked for and others lead, or the muscle gives up: then return why."""
        self._tell_all()
        while True:
            due_ms = min(self.replicator.next_due_ms(), self.shards.next_due_ms())
            now_ms, natives = self._muscle.poll(due_ms)
            begun_ns = self._clock_ns()
            events, own = _sorted_out(natives)
            for _, reason, may_pass in own[STOP]:
                self.may_pass = may_pass
                return reason or "the muscle stopped"
            for _, by in own[REMOVED]:
                return f"node {self.replicator.node} {WAS_REMOVED}, says node {by}"
            self._count(now_ms - due_ms, len(natives))
            opened = self._take_own(events, own, now_ms)
            if self.stop_wanted and self._stop_by_ms is None:
                events.append(self._stop_event(now_ms))
            events += self.desk.work(now_ms)
            events += self.shards.work(now_ms)
            events += self.moves.work(now_ms)
            events += self.conductor.work(now_ms)
            events += self._splits.work(now_ms)
            events += self._growth.work(now_ms)
            events += self._leading.work(now_ms)
            turn = self.replicator.turn(Events(now_ms, events))
            self._muscle.perform(native_of(turn))
            self._settle(turn)
            # Only these change what a group's system keys say, and to read them costs more than most turns.
            if turn.effects or opened or turn.closed or Restored in map(type, events):
                self._tell_all()
            else:
                self._tell(self.replicator.stirred)
            self.figures.busy_ns += self._clock_ns() - begun_ns
            if META in self.shards.fenced and META in self._muscle.fences():
                return f"node {self.replicator.node} {IS_FENCED}"
            if self._is_removed:
                return f"node {self.replicator.node} {WAS_REMOVED}"
            if self._may_stop(turn, now_ms):
                return None

    def _take_own(self, events: list[Event], own: Mapping[int, list[Native]], now_ms: int) -> list[GroupId]:
        """Take what is the loop's own, adding what the replicator is to hear; return the groups that were opened."""
        for call in own[CALL]:
            self.desk.take(*call[1:], now_ms=now_ms)
        for _, node, features in own[PEER_CAME]:
            self.desk.peer_came(node, features)
        for _, _node, word in own[WORD]:
            events += self.conductor.take(word)
            self._leading.take(word, now_ms)
        for measured in own[MEASURED]:
            self._growth.take(*measured[1:])
        opened = [each.group for each in events if type(each) is GroupOpened]
        for group in opened:
            self.shards.opened(group, now_ms)
        return opened

    def _settle(self, turn: Turn) -> None:
        self.desk.settle(turn)
        self.shards.settle(turn)
        if len(self.shards.fenced) != self.figures.fenced:
            self.figures.fenced = len(self.shards.fenced)
            self._news.say("fenced", groups={int(group): why for group, why in self.shards.fenced.items()})
        for group in turn.closed:
            self._told.pop(group, None)

    def _count(self, late_ms: int, events: int) -> None:
        figures = self.figures
        figures.turns += 1
        figures.events += events
        figures.lag_ms = max(0, late_ms)
        figures.lag_max_ms = max(figures.lag_max_ms, figures.lag_ms)

    def _stop_event(self, now_ms: int) -> Event:
        self._stop_by_ms = now_ms + self._stop_ms_max
        self._news.say("stopping")
        return StopRequested()

    def _may_stop(self, turn: Turn, now_ms: int) -> bool:
        return self._stop_by_ms is not None and (turn.stopped or now_ms >= self._stop_by_ms)

    def _tell_all(self) -> None:
        self._tell_peers()
        # Before anybody is sent here as to the leader of the meta group.
        self.shards.look()
        self._tell(self.replicator.replicas)

    def _tell(self, groups: Iterable[GroupId]) -> None:
        replicas, peers = self.replicator.replicas, self._peers
        for group in groups:
            raft = replicas[group].raft
            role, leader = role_at_door(raft) if group == META else (raft.role, raft.leader)
            now = (role, raft.term, leader, peers.get(leader, ""))
            # A tuple equals the named one of its fields, and costs a fifth: nearly always nothing has changed.
            if self._told.get(group) != now:
                told = self._told[group] = _Told(*now)
                self._muscle.set_role(group, told.role.name.lower(), told.term, told.leader, told.address)
                self._news.say("role", group=group, role=told.role.name.lower(), term=told.term, leader=told.leader)

    def _tell_peers(self) -> None:
        meta = self.replicator.replicas.get(META)
        if meta is None:
            return
        configuration = Configuration(meta.system.rows)
        if configuration.removed != self._removed:
            self._removed = configuration.removed
            self._muscle.set_removed(sorted(self._removed))
        nodes = configuration.nodes
        static = {node: address for node, address in self._static_peers.items() if node not in self._removed}
        peers = static | {node: each.addresses[0] for node, each in nodes.items() if each.addresses}
        if peers != self._peers:
            self._peers = peers
            self._muscle.set_peers({int(node): address for node, address in peers.items()})
        membership = meta.raft.status().membership
        # Whoever is told of members at all is one of them, until it leaves.
        own = self.replicator.node
        self._is_removed = own in self._removed or (bool(membership.members) and own not in membership.members)
        if membership != self._membership:
            self._membership = membership
            self._news.say("membership", group=META, membership=repr(membership))


def role_at_door(raft: RaftNode) -> tuple[Role, NodeId]:
    """Return what a node of the meta group is to those who ask, and who leads.

    A leader that has yet to apply what others committed is none: by its rows a keyspace that has shards may have none,
    and a write that it took into its own log would be where nobody ever looks.
    """
    role = raft.role
    return (Role.CANDIDATE, NODE_NONE) if role is Role.LEADER and not raft.has_caught_up else (role, raft.leader)


def _sorted_out(natives: Iterable[Native]) -> tuple[list[Event], dict[int, list[Native]]]:
    """Return the replicator's events, and what is the loop's own by its kind."""
    events: list[Event] = []
    own: dict[int, list[Native]] = {CALL: [], STOP: [], PEER_CAME: [], WORD: [], REMOVED: [], MEASURED: []}
    for native in natives:
        kind = native[0]
        if kind in own:
            own[kind].append(native)
        else:
            events.append(EVENTS[kind](native))
    return events, own
