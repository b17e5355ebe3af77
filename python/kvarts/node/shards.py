"""The shards of a node: its groups come and go as the meta group says, and new ones get their first leaders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kvarts.node.codec import encode_membership
from kvarts.node.rows import CHECKS, MOVES, TOKENS
from kvarts.placement.leaders import first_leader
from kvarts.raft.ids import NODE_NONE, LogIndex, NodeId
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Role
from kvarts.replication.events import (
    CloseRequested,
    Event,
    FlushRequested,
    GroupId,
    ReadRequested,
    StandRequested,
)
from kvarts.replication.replica import Replica
from kvarts.replication.replicator import Replicator
from kvarts.replication.turn import Turn
from kvarts.shardmap.map import EMPTY, ShardMap
from kvarts.shardmap.shard import EPOCH_FIRST, Shard, ShardId
from kvarts.statemachine.configuration import Configuration
from kvarts.statemachine.ranges import has_split
from kvarts.statemachine.rows import LAST_SHARD, MAP_VERSION, META_GROUP, SPACE, numbered

META = GroupId(META_GROUP)
"""The group that holds the configuration, and the rows of keyspaces without shards."""

FEATURE = "shards"
SPLITS = "splits"
GROWTH = "growth"
FEATURES: Mapping[str, int] = {FEATURE: 1, MOVES: 1, SPLITS: 1, CHECKS: 1, TOKENS: 1, GROWTH: 1}
"""What this program knows, by the names under which clusters agree on using it."""

STAND_MS = 20
STAND_AGAIN_MS_MAX = 160
"""How soon the first leader of a new shard asks for votes again, since others may not hold the group yet; each time the
pause doubles."""
STAND_MS_MAX = 10_000
NEVER_MS = 2**62
ASK_MS = 1_000

Line = tuple[int, bool, str, int, list[tuple[int, bytes, int, Sequence[int]]]]
"""A keyspace as the muscle takes it: id, ordered, partition, hash, and its shards: id, start, epoch, voters."""


class Muscle(Protocol):
    """What is told to `_native.Muscle`."""

    def open_group(self, group: int, membership: bytes) -> None:
        """Make a group, or find it; an event says when it is there. Does not wait."""

    def set_shards(self, version: int, keyspaces: list[Line], unready: list[int]) -> None:
        """Say which shards there are, so that requests which belong elsewhere are refused at the door."""

    def fence(self, group: int, why: str) -> None:
        """Let a replica serve nobody from now on, also after a restart. Does not wait."""

    def fences(self) -> Mapping[int, str]:
        """Return the replicas of which a restart would know that they are fenced, with why."""

    def lift_fence(self, group: int) -> None:
        """Give up a fenced replica with its files. Does not wait."""


@dataclass(slots=True)
class _Fresh:
    """A group that came while the node ran: until when this node stands for it, and when it does so next."""

    until_ms: int
    due_ms: int
    pause_ms: int = STAND_MS


class Shards:
    """Keeps the node's groups as the map wants them. Called by the loop, once per turn at most."""

    def __init__(self, muscle: Muscle, replicator: Replicator) -> None:
        self._muscle = muscle
        self._replicator = replicator
        self.map: ShardMap = EMPTY
        self.moving: frozenset[GroupId] = frozenset()
        """Groups with a move under way."""
        self._told: tuple[int, tuple[int, ...]] = (0, ())
        """Version of the map, and keyspaces without shards, as the muscle was told."""
        self._opening: set[GroupId] = set()
        self._closing: dict[GroupId, LogIndex | None] = {}
        """Groups that the map names this node for no more, and as of which entry of the meta group.

        None: that it is the newest word is not known yet."""
        self.fenced: dict[GroupId, str] = {GroupId(each): why for each, why in muscle.fences().items()}
        """Replicas that were found to differ from the others, with why: they are none of the replicator's."""
        self.fenced_elsewhere: dict[NodeId, tuple[int, frozenset[ShardId]]] = {}
        """Which shards' replicas other nodes have fenced, and when they said so. Known where the meta group is led."""
        self.led_elsewhere: dict[NodeId, tuple[int, frozenset[ShardId]]] = {}
        """Of which shards that this node keeps no replica of others say that they lead them, and when they said so."""
        self._asked: tuple[int, frozenset[GroupId]] = (0, frozenset())
        """Context of the read that asks how new that word must be, and for which groups."""
        self._ask_ms = 0
        self.behind: dict[ShardId, int] = {}
        """How many entries newcomers lack, as their shards' leaders said last. Known where the meta group is led."""
        self._fresh: dict[GroupId, _Fresh] = {}
        """Groups that came while the node ran and have no leader yet."""

    def look(self) -> None:
        """See what the meta group's rows say now."""
        meta = self._replicator.replicas.get(META)
        if meta is None:
            return
        rows = meta.system.rows
        unready = tuple(unready_keyspaces(rows))
        told = int(rows.get(MAP_VERSION, b"0")), unready
        if told != self._told:
            self._told = told
            self.map = Configuration(rows).shard_map
            self.moving = frozenset(GroupId(each.id) for each in self.map.shards if each.move is not None)
            self._muscle.set_shards(told[0], lines_of(self.map), list(unready))
        self._keep(int(rows.get(LAST_SHARD, b"0")))

    def fence(self, group: GroupId, why: str) -> list[Event]:
        """Let this node's replica of a group serve nobody any more. Without the meta group's a node is none."""
        self.fenced[group] = why
        self._muscle.fence(group, why)
        return [] if group == META else [CloseRequested(group)]

    def forget_progress(self) -> None:
        """Keep what was said of newcomers that still catch up."""
        if self.behind:
            catching_up = {each.id for each in self.map.shards if each.learner}
            self.behind = {shard: behind for shard, behind in self.behind.items() if shard in catching_up}

    def _keep(self, last: int) -> None:
        held = self._replicator.replicas.keys()
        wanted = {GroupId(each.id): each for each in self.map.held_by(self._replicator.node)}
        coming = {GroupId(each.split.child) for each in wanted.values() if each.split is not None}
        for group in wanted.keys() - held - self._opening - self.fenced.keys():
            if self._comes_by_split(wanted[group]):
                continue
            self._opening.add(group)
            self._muscle.open_group(group, first_membership(wanted[group], self._replicator.node))
        kept = {META, *wanted, *coming}
        # One with a higher number is of a map that this node has not reached yet.
        unwanted = [each for each in held if each not in kept and each <= last]
        # A fenced one is to go once others have its place, or it comes back empty: it learns then, and does not vote.
        voting = {each for each, shard in wanted.items() if self._replicator.node in shard.voters}
        unwanted += [each for each in self.fenced if each not in voting and META != each <= last]
        self._closing = {each: self._closing.get(each) for each in unwanted}
        # What it acknowledged from here on, having been named again meanwhile, would be gone with its files.
        self._replicator.muted = frozenset(unwanted)

    def _comes_by_split(self, shard: Shard) -> bool:
        """Return whether the shard's replica is to come of this node's own replica of the shard it was split off.

        Were it opened empty before, it might vote, leave, and come again by the split, having forgotten that.
        """
        origin = self._replicator.replicas.get(GroupId(shard.origin)) if shard.origin else None
        return origin is not None and not has_split(origin.system.rows, shard.id)

    def opened(self, group: GroupId, now_ms: int) -> None:
        """A group is there that was asked for."""
        self._opening.discard(group)
        self._fresh[group] = _Fresh(until_ms=now_ms + STAND_MS_MAX, due_ms=now_ms)

    def next_due_ms(self) -> int:
        """Return when the clock alone makes `work` due."""
        return min([each.due_ms for each in self._fresh.values()]) if self._fresh else NEVER_MS

    def work(self, now_ms: int) -> list[Event]:
        """Return what is to be done with groups now."""
        events: list[Event] = list(self._close(now_ms)) if self._closing else []
        if self._fresh:
            events += self._stand(now_ms)
        return events

    def settle(self, turn: Turn) -> None:
        """Take the answer to what was asked about groups that are to go."""
        context, groups = self._asked
        for ready in turn.reads if context else ():
            if ready.group == META and ready.context == context:
                self._closing |= dict.fromkeys(groups & self._closing.keys(), ready.index)
                self._asked = 0, frozenset()

    def _close(self, now_ms: int) -> Iterable[Event]:
        """Close groups, each once this is the newest word about it, and on disk.

        After a restart the rows may be old: then they do not know yet that this node has become a voter, whose replica
        must not go. And were they old after it went, the node would found it anew, empty, as if it had never been.
        """
        meta: Replica = self._replicator.replicas[META]
        applied, flushed = meta.raft.status().applied, meta.flushed_index
        for group, index in list(self._closing.items()):
            if index is not None and index <= min(applied, flushed):
                self._closing.pop(group, None)
                if group in self._replicator.replicas:
                    yield CloseRequested(group)
                elif self.fenced.pop(group, None) is not None:
                    self._muscle.lift_fence(group)
                    self.look()
        if self._closing and now_ms >= self._ask_ms:
            self._ask_ms = now_ms + ASK_MS
            unsure = frozenset(group for group, index in self._closing.items() if index is None)
            if unsure:
                self._asked = now_ms, unsure
                yield ReadRequested(META, now_ms)
            if len(unsure) < len(self._closing):
                yield FlushRequested(META)

    def _stand(self, now_ms: int) -> Iterable[Event]:
        for group, fresh in list(self._fresh.items()):
            if now_ms < fresh.due_ms:
                continue
            replica = self._replicator.replicas.get(group)
            # At first the turn that takes this is also the one that makes the replica.
            goes_on = fresh.pause_ms == STAND_MS if replica is None else replica.leader == NODE_NONE
            if not goes_on or now_ms > fresh.until_ms:
                del self._fresh[group]
                continue
            fresh.due_ms, fresh.pause_ms = now_ms + fresh.pause_ms, min(2 * fresh.pause_ms, STAND_AGAIN_MS_MAX)
            is_candidate = replica is not None and replica.raft.role is Role.CANDIDATE
            if self._stands_first(ShardId(group)) and not is_candidate:
                yield StandRequested(group)

    def _stands_first(self, group: ShardId) -> bool:
        """Return whether this node is to lead a new shard first: of a split, whoever leads what was split."""
        shard = self.map.get(group)
        if shard is not None and not shard.origin:
            return first_leader(shard) == self._replicator.node
        parents = (each for each in self.map.shards if each.split is not None and each.split.child == group)
        parent = shard.origin if shard is not None else next((each.id for each in parents), None)
        origin = None if parent is None else self._replicator.replicas.get(GroupId(parent))
        return origin is not None and origin.leader == self._replicator.node


def unready_keyspaces(rows: Mapping[bytes, bytes]) -> list[int]:
    """Return the keyspaces that are to have shards and have none yet."""
    return [
        number
        for number, made in Configuration(rows).keyspaces.values()
        if made.options.get("shards") and numbered(SPACE, number) not in rows
    ]


def lines_of(shard_map: ShardMap) -> list[Line]:
    """Return the map as the muscle takes it."""
    return [
        (
            keyspace,
            space.ordered,
            "" if space.ordered else space.partition.text,
            space.hash,
            [(each.id, each.start, each.epoch, each.voters) for each in shard_map.shards_in(keyspace)],
        )
        for keyspace, space in shard_map.spaces.items()
    ]


def first_membership(shard: Shard, node: NodeId) -> bytes:
    """Return with which members a node founds its replica of a shard; nothing where a leader is to tell it.

    All voters of a new shard found it alike. Once its voters or its range have changed, only its log knows.
    """
    founds = shard.epoch == EPOCH_FIRST and node in shard.voters
    return encode_membership(Membership.of(*shard.voters)) if founds else b""


def parse_features(text: str) -> dict[str, int]:
    """Return the levels of features that a node told: "shards=1,…". What cannot be read is left out."""
    pairs = (each.partition("=") for each in text.split(","))
    return {name: int(level) for name, _, level in pairs if name and level.isdecimal()}


def features_text() -> str:
    """Return what this node tells the others."""
    return ",".join(f"{name}={level}" for name, level in FEATURES.items())
