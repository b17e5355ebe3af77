"""How shards split: an operator's wish becomes a row of the map, and whoever leads what takes each step from there.

begin-split in the meta group -> split-shard in the shard's own log -> the child has a leader -> finish-split.

Each step is seen in rows and proposed again until it is, so any of the nodes may stop, and another one goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from kvarts.base.errors import InvalidArgument
from kvarts.node.asker import Asker, CommandSays, Verb
from kvarts.node.conductor import SPLITS_MAX
from kvarts.node.features import agree
from kvarts.node.moves import NOBODY_WAITS, Teller
from kvarts.node.shards import META, SPLITS, Shards
from kvarts.node.words import Word
from kvarts.node.words import encode as encode_word
from kvarts.raft.ids import NODE_NONE
from kvarts.raft.messages import Role
from kvarts.replication.events import CommandRequested, Event, GroupId
from kvarts.replication.replica import Replica
from kvarts.replication.replicator import Replicator
from kvarts.shardmap.map import ShardMap
from kvarts.shardmap.shard import KeyspaceId, Shard, ShardId
from kvarts.shardmap.space import TOKENS, Space
from kvarts.statemachine import ranges, shards
from kvarts.statemachine.ranges import SplitShard, has_split
from kvarts.statemachine.rows import MAP_VERSION

ASK_AGAIN_MS = 300
PASSING = ("shard-busy", "epoch-moved", "bound-outside")
"""Why a shard does not split that others split or move at the same time."""
NEWS_MS = 1_000
FOUNDED = 1
"""The index at which every group begins; what is committed behind it, a majority of its members holds."""


class Splits:
    """Takes the steps of this node in the splits that are under way. Called by the loop, once per turn."""

    def __init__(self, teller: Teller, replicator: Replicator, kept: Shards) -> None:
        self._teller = teller
        self._replicator = replicator
        self._kept = kept
        self._map: ShardMap | None = None
        self._pending: tuple[Shard, ...] = ()
        self._due_ms: dict[tuple[str, int], int] = {}
        """Steps that were proposed, by name and child, and when they are proposed again."""

    def work(self, now_ms: int) -> list[Event]:
        """Return what is to be proposed now."""
        if self._kept.map is not self._map:
            self._map = self._kept.map
            self._pending = tuple(each for each in self._map.shards if each.split is not None)
            if not self._pending:
                self._due_ms.clear()
        if not self._pending:
            return []
        return [event for each in self._pending for event in self._step(each, now_ms)]

    def _step(self, shard: Shard, now_ms: int) -> Iterable[Event]:
        assert shard.split is not None
        child = shard.split.child
        parent = self._replicator.replicas.get(GroupId(shard.id))
        if parent is not None and _leads(parent) and not has_split(parent.system.rows, child):
            yield from self._split(shard, parent, now_ms)
        born = self._replicator.replicas.get(GroupId(child))
        # Committed behind its beginning: a majority holds the child, and it has a leader.
        if born is not None and born.raft.committed > FOUNDED:
            done = shards.FinishSplit(shard=shard.id, child=child)
            yield from self._tell_meta("finish", done, child, now_ms, speaks=_leads(born))

    def _split(self, shard: Shard, parent: Replica, now_ms: int) -> Iterable[Event]:
        command = split_command(shard, self._kept.map.spaces[shard.keyspace])
        packed = ranges.encode(command)
        if parent.system.decide(packed).refusal is not None:
            # Its log will never carry that out: the shard's range is another than the map says.
            gone = shards.CancelSplit(shard=shard.id, child=command.child)
            yield from self._tell_meta("cancel", gone, command.child, now_ms, speaks=True)
        elif self._is_due("split", command.child, now_ms):
            yield CommandRequested(GroupId(shard.id), NOBODY_WAITS, packed)

    def _tell_meta(
        self,
        step: str,
        command: shards.FinishSplit | shards.CancelSplit,
        child: ShardId,
        now_ms: int,
        *,
        speaks: bool,
    ) -> Iterable[Event]:
        """Propose to the meta group if this node leads it; else, if it speaks for the shard, tell who does."""
        meta = self._replicator.replicas[META]
        if _leads(meta):
            if self._is_due(step, child, now_ms):
                yield CommandRequested(META, NOBODY_WAITS, shards.encode(command))
        elif speaks and meta.leader != NODE_NONE and self._is_due(step, child, now_ms):
            self._teller.tell(meta.leader, encode_word(Word((shards.encode(command),))))

    def _is_due(self, step: str, child: ShardId, now_ms: int) -> bool:
        if now_ms < self._due_ms.get((step, child), 0):
            return False
        self._due_ms[step, child] = now_ms + ASK_AGAIN_MS
        return True


def split_command(shard: Shard, space: Space) -> SplitShard:
    """Return the command for a shard's own log of the split that the map has begun."""
    assert shard.split is not None
    return SplitShard(
        keyspace=shard.keyspace,
        ordered=space.ordered,
        partition=space.partition.text,
        hash=space.hash,
        start=shard.start.hex(),
        at=shard.split.at.hex(),
        stop=shard.stop.hex(),
        epoch=shard.epoch + 1,  # type: ignore[arg-type]  # what finish-split gives both halves
        child=shard.split.child,
    )


class Busy(InvalidArgument):
    """A shard moves or splits, or has done so just now."""


def split(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Begin splits, until the range has `into` shards or as many are under way as may be; or one, at the key `at`.

    Answers, when the map changes or after a second, with what it began, how many shards the range has, and how many of
    those split: whoever asks asks again until there are enough and none does. `watch`: begins nothing.
    """
    asker.check_leads()
    keyspace = sharded(asker, arguments)
    shard_map = asker.configuration.shard_map
    yield from agree(asker, SPLITS)
    at = arguments.get("at")
    begun = []
    if not arguments.get("watch"):
        if at is not None:
            begun.append((yield from _begin(asker, *_cut(shard_map, keyspace, arguments))))
        else:
            for shard, bound in _cuts(shard_map, keyspace, arguments):
                # Somebody else may ask for the same: there are enough when there are enough.
                with suppress(Busy):
                    begun.append((yield from _begin(asker, shard, bound)))
    yield from _await_news(asker)
    line = _within(asker.configuration.shard_map.shards_in(keyspace), arguments)
    return {"begun": begun, "shards": len(line), "splitting": sum(each.split is not None for each in line)}


def sharded(asker: Asker, arguments: Mapping[str, Any]) -> KeyspaceId:
    """Return the keyspace that is named. Raises InvalidArgument where it has no shards."""
    name = str(arguments["keyspace"])
    made = asker.configuration.keyspaces.get(name)
    if made is None:
        raise InvalidArgument(f"no keyspace {name!r}", hint="`kvarts cluster shards` lists those with shards")
    keyspace = KeyspaceId(made[0])
    if keyspace not in asker.configuration.shard_map.spaces:
        raise InvalidArgument(
            f"keyspace {name!r} has no shards of its own: it lies in the meta group",
            hint="make a keyspace with shards=, partition= or ordered=, and copy the rows into it",
        )
    return keyspace


def _await_news(asker: Asker) -> Iterator[Iterable[Event]]:
    """Wait until the map changes, or for a second: whoever asks again and again is not to hurry."""
    since_ms, version = asker.now_ms, asker.replica.system.rows.get(MAP_VERSION)
    while asker.now_ms < since_ms + NEWS_MS and asker.replica.system.rows.get(MAP_VERSION) == version:
        yield ()


def _begin(asker: Asker, shard: Shard, bound: bytes) -> Any:
    command = shards.BeginSplit(shard=shard.id, epoch=shard.epoch, at=bound.hex())
    try:
        child = yield from asker.command(shards.encode(command))
    except CommandSays as says:
        kind = Busy if says.refusal in PASSING else InvalidArgument
        raise kind(
            f"shard {shard.id} does not split now: {says.message}", hint="wait until what is under way is done"
        ) from None
    return {"shard": shard.id, "child": child, "at": bound.hex()}


def _cut(shard_map: ShardMap, keyspace: KeyspaceId, arguments: Mapping[str, Any]) -> tuple[Shard, bytes]:
    """Return the shard that owns the key `at`, and the bound before it. Raises InvalidArgument outside of the range."""
    space = shard_map.spaces[keyspace]
    bound = space.token(bytes.fromhex(arguments["at"]))
    if not space.is_bound(bound):
        raise InvalidArgument("no shard begins at this key", hint="give another key")
    shard = shard_map.owner(keyspace, bound)
    if bound == shard.start:
        raise InvalidArgument(f"shard {shard.id} begins there already", hint="give a key inside a shard")
    if shard not in _within(shard_map.shards_in(keyspace), arguments):
        raise InvalidArgument(f"the key lies in shard {shard.id}", hint="name that one, or none")
    return shard, bound


def _cuts(shard_map: ShardMap, keyspace: KeyspaceId, arguments: Mapping[str, Any]) -> Iterable[tuple[Shard, bytes]]:
    """Return the widest shards that may split now, as many as are wanted, each with its middle."""
    space, into = shard_map.spaces[keyspace], int(arguments["into"])
    line = _within(shard_map.shards_in(keyspace), arguments)
    if space.ordered and len(line) < into:
        raise InvalidArgument(
            "the shards of an ordered keyspace are split at keys",
            hint="name one; `kvarts cluster split` finds the middle by itself",
        )
    under_way = sum(each.split is not None for each in line)
    free = sorted((each for each in line if not each.busy), key=lambda each: (-_width(each), each.start))
    count = min(into - len(line) - under_way, SPLITS_MAX - under_way)
    return [(each, space.middle(each.start, each.stop)) for each in free[: max(0, count)]]


def _within(line: Iterable[Shard], arguments: Mapping[str, Any]) -> list[Shard]:
    """Return the shards of the range that the arguments name; all without one."""
    start, stop = (bytes.fromhex(str(arguments.get(name) or "")) for name in ("start", "stop"))
    return [each for each in line if each.start >= start and (not stop or (each.stop and each.stop <= stop))]


def _width(shard: Shard) -> int:
    stop = int.from_bytes(shard.stop, "big") if shard.stop else TOKENS
    return stop - int.from_bytes(shard.start, "big")


def _leads(replica: Replica) -> bool:
    return replica.raft.role is Role.LEADER
