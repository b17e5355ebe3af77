"""The map of all shards at one version: every token of every keyspace has exactly one owner.

Immutable; a lookup is a bisection.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NewType

from kvarts.base.ids import NodeId
from kvarts.shardmap.shard import EPOCH_FIRST, KeyspaceId, Shard, ShardId
from kvarts.shardmap.space import Space

MapVersion = NewType("MapVersion", int)
"""Grows by one with every change of the map. 0: there is no shard yet."""


class MapBroken(ValueError):  # noqa: N818  # says what is wrong, as in kvarts.base.errors
    """Shards that do not cover their spaces exactly once, or that are none. No map is made of them."""


class UnknownKeyspace(LookupError):  # noqa: N818
    """The map has no shards of this keyspace: it is older than the keyspace, or the keyspace is gone."""


@dataclass(frozen=True, slots=True)
class _Line:
    """The shards of one keyspace in the order of their ranges, and where each starts."""

    space: Space
    shards: tuple[Shard, ...]
    starts: list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapDifference:
    """What leads from one version of a map to another. `shards`: new and changed ones, as they are now."""

    before: MapVersion
    after: MapVersion
    spaces: Mapping[KeyspaceId, Space]
    shards: tuple[Shard, ...]
    gone: tuple[ShardId, ...]


class ShardMap:
    """Invariant: the shards of each keyspace cover its token space from end to end, without overlap; ids are unique."""

    __slots__ = ("_lines", "_shards", "version")

    def __init__(self, version: MapVersion, spaces: Mapping[KeyspaceId, Space], shards: Iterable[Shard]) -> None:
        """Raises MapBroken."""
        ordered = sorted(shards, key=lambda each: (each.keyspace, each.start))
        lines = {keyspace: tuple(line) for keyspace, line in groupby(ordered, key=lambda each: each.keyspace)}
        if spaces.keys() != lines.keys():
            raise MapBroken(f"keyspaces {sorted(spaces)} have shards in {sorted(lines)}")
        self.version = version
        self._lines = {keyspace: _line(spaces[keyspace], line) for keyspace, line in lines.items()}
        self._shards = {each.id: each for each in ordered}
        if len(self._shards) != len(ordered):
            raise MapBroken("two shards have one id")

    @property
    def spaces(self) -> dict[KeyspaceId, Space]:
        """The token space of every keyspace."""
        return {keyspace: line.space for keyspace, line in self._lines.items()}

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards, by keyspace and range."""
        return tuple(each for line in self._lines.values() for each in line.shards)

    def get(self, shard: ShardId) -> Shard | None:
        """Return a shard by its id."""
        return self._shards.get(shard)

    def shards_in(self, keyspace: KeyspaceId) -> tuple[Shard, ...]:
        """Return the shards of a keyspace in the order of their ranges. Raises UnknownKeyspace."""
        return self._line(keyspace).shards

    def lookup(self, keyspace: KeyspaceId, key: bytes) -> Shard:
        """Return the owner of a key. Raises UnknownKeyspace."""
        line = self._line(keyspace)
        return line.shards[bisect_right(line.starts, line.space.token(key)) - 1]

    def owner(self, keyspace: KeyspaceId, token: bytes) -> Shard:
        """Return the owner of a token. Raises UnknownKeyspace."""
        line = self._line(keyspace)
        return line.shards[bisect_right(line.starts, token) - 1]

    def shards_of(self, keyspace: KeyspaceId, start: bytes = b"", stop: bytes = b"") -> tuple[Shard, ...]:
        """Return the shards that may hold keys of [start, stop), in the order of their ranges; empty bounds are open.

        In an ordered keyspace the scan of each follows on the one before; in a hashed one they are merged.
        Raises UnknownKeyspace.
        """
        line = self._line(keyspace)
        if stop and start >= stop:
            return ()
        if line.space.ordered:
            first = bisect_right(line.starts, start) - 1
            last = bisect_left(line.starts, stop) if stop else len(line.shards)
            return line.shards[first:last]
        token = line.space.scan_token(start, stop)
        return line.shards if token is None else (self.owner(keyspace, token),)

    def by_shard(self, keyspace: KeyspaceId, keys: Sequence[bytes]) -> dict[ShardId, list[int]]:
        """Return, for each shard that owns some of `keys`, their places in the sequence. Raises UnknownKeyspace."""
        places: dict[ShardId, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(self.lookup(keyspace, key).id, []).append(place)
        return places

    def held_by(self, node: NodeId) -> tuple[Shard, ...]:
        """Return the shards that a node keeps a replica of, or is to keep one of."""
        return tuple(each for each in self.shards if node in each.voters or node == each.learner)

    def difference(self, newer: ShardMap) -> MapDifference:
        """Return what leads from this map to `newer`."""
        return MapDifference(
            before=self.version,
            after=newer.version,
            spaces=newer.spaces,
            shards=tuple(each for each in newer.shards if self.get(each.id) != each),
            gone=tuple(sorted(self._shards.keys() - newer._shards.keys())),
        )

    def patched(self, difference: MapDifference) -> ShardMap:
        """Return the map that a difference to this one leads to. Raises MapBroken: it belongs to another version."""
        if difference.before != self.version:
            raise MapBroken(f"a difference to version {difference.before} does not fit version {self.version}")
        kept = self._shards | {each.id: each for each in difference.shards}
        gone = set(difference.gone)
        return ShardMap(difference.after, difference.spaces, (each for each in kept.values() if each.id not in gone))

    def _line(self, keyspace: KeyspaceId) -> _Line:
        line = self._lines.get(keyspace)
        if line is None:
            raise UnknownKeyspace(keyspace)
        return line

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShardMap):
            return NotImplemented
        return (self.version, self.spaces, self._shards) == (other.version, other.spaces, other._shards)

    __hash__ = None  # type: ignore[assignment]  # compared by what it says; nobody keeps maps in a set

    def __repr__(self) -> str:
        return f"<ShardMap v{self.version} {len(self._lines)} keyspaces {len(self._shards)} shards>"


EMPTY = ShardMap(MapVersion(0), {}, ())


def initial(
    keyspace: KeyspaceId, space: Space, bounds: Sequence[bytes], voters: Sequence[Sequence[NodeId]], first: ShardId
) -> list[Shard]:
    """Return the first shards of a keyspace, cut at `bounds`, kept by `voters`, with ids from `first` on."""
    cuts = [b"", *bounds, b""]
    return [
        Shard(
            id=ShardId(first + place),
            keyspace=keyspace,
            start=cuts[place],
            stop=cuts[place + 1],
            epoch=EPOCH_FIRST,
            voters=tuple(sorted(voters[place])),
        )
        for place in range(len(cuts) - 1)
    ]


def broken_cover(space: Space, shards: Sequence[Shard]) -> str | None:
    """Return the rule that shards in the order of their starts break as the shards of one space, if they break one."""
    for each in shards:
        rule = each.broken_rule()
        if rule is None and each.start and not space.is_bound(each.start):
            rule = f"{each.start.hex()} is no bound of this space"
        if rule is not None:
            return f"s{each.id}: {rule}"
    if shards[0].start or shards[-1].stop:
        return "the ends of the space have no owner"
    for lower, upper in pairwise(shards):
        if lower.stop != upper.start:
            return f"s{lower.id} and s{upper.id} do not meet"
    return None


def _line(space: Space, shards: tuple[Shard, ...]) -> _Line:
    rule = broken_cover(space, shards)
    if rule is not None:
        raise MapBroken(rule)
    return _Line(space, shards, [each.start for each in shards])
