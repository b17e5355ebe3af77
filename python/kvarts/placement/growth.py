"""Shards that have grown too large, and where each is to be cut.

A cut is good if about half of the bytes lie in front of it. Where that is, the replica that leads has measured; where
all that it has looked at belongs together, there is no cut, however large the shard is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvarts.shardmap.map import ShardMap
from kvarts.shardmap.shard import Epoch, KeyspaceId, Shard, ShardId
from kvarts.shardmap.space import SHARDS_MAX


@dataclass(frozen=True, slots=True)
class Measure:
    """How large a shard was when it had this epoch."""

    epoch: Epoch
    size: int
    """Bytes of tables, old versions too, about."""
    middle: bytes | None
    """The token with half of them in front of it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A shard is to be split, at a bound inside it."""

    shard: ShardId
    epoch: Epoch
    at: bytes


def cuts(
    shard_map: ShardMap, limits: Mapping[KeyspaceId, int], measures: Mapping[ShardId, Measure], room: int
) -> list[Cut]:
    """Return the cuts to begin now: at most `room`, the shards first that are furthest beyond their limit.

    `limits`: bytes, of keyspaces whose shards are to be split. Nothing is cut that moves or splits, or was measured
    when its range or its voters were others, nor in a keyspace of SHARDS_MAX shards.
    """
    crowded = _crowded(shard_map, limits)
    found = [
        (-measure.size / limits[shard.keyspace], shard.id, Cut(shard.id, shard.epoch, measure.middle))
        for shard, measure in _beyond(shard_map, limits, measures)
        if shard.keyspace not in crowded and measure.middle is not None and _is_inside(shard_map, shard, measure.middle)
    ]
    return [cut for _, _, cut in sorted(found, key=lambda each: each[:2])[: max(0, room)]]


def whole(
    shard_map: ShardMap, limits: Mapping[KeyspaceId, int], measures: Mapping[ShardId, Measure]
) -> dict[ShardId, int]:
    """Return the bytes of shards beyond their limit that have no cut: all of it belongs together."""
    return {
        shard.id: measure.size
        for shard, measure in _beyond(shard_map, limits, measures)
        if measure.middle is None or not _is_inside(shard_map, shard, measure.middle)
    }


def full(shard_map: ShardMap, limits: Mapping[KeyspaceId, int], measures: Mapping[ShardId, Measure]) -> set[KeyspaceId]:
    """Return the keyspaces with shards beyond their limit that may have no more of them."""
    crowded = _crowded(shard_map, limits)
    return {shard.keyspace for shard, _ in _beyond(shard_map, limits, measures)} & crowded


def _crowded(shard_map: ShardMap, limits: Mapping[KeyspaceId, int]) -> frozenset[KeyspaceId]:
    return frozenset(keyspace for keyspace in limits if len(shard_map.shards_in(keyspace)) >= SHARDS_MAX)


def _beyond(
    shard_map: ShardMap, limits: Mapping[KeyspaceId, int], measures: Mapping[ShardId, Measure]
) -> list[tuple[Shard, Measure]]:
    return [
        (shard, measures[shard.id])
        for shard in shard_map.shards
        if shard.id in measures
        and shard.keyspace in limits
        and not shard.busy
        and shard.epoch == measures[shard.id].epoch
        and measures[shard.id].size > limits[shard.keyspace]
    ]


def _is_inside(shard_map: ShardMap, shard: Shard, at: bytes) -> bool:
    return shard_map.spaces[shard.keyspace].is_bound(at) and shard.start < at and (not shard.stop or at < shard.stop)
