"""Shard maps that tests make: from a few words, or drawn at random by a walk of splits and moves."""

from hypothesis import strategies as st

from kvarts.base.ids import NodeId
from kvarts.shardmap.map import MapVersion, ShardMap, initial
from kvarts.shardmap.partition import FirstItem, Partition, Prefix, Until, WholeKey
from kvarts.shardmap.shard import (
    KeyspaceId,
    Shard,
    ShardId,
    begin_move,
    begin_split,
    finish_move,
    finish_split,
    promote,
)
from kvarts.shardmap.space import Space

K1 = KeyspaceId(1)
N = [NodeId(each) for each in range(10)]

PARTITIONS: list[Partition] = [WholeKey, Until(b"/"), Until(b"ab"), Prefix(2), FirstItem]
SPACES = [Space(ordered=True), *(Space(partition=each) for each in PARTITIONS)]

KEYS = st.binary(min_size=1, max_size=24) | st.text("ab/\0ÿ", min_size=1, max_size=6).map(
    lambda text: text.encode("latin-1")
)


def hashed(shards: int = 8, partition: Partition = WholeKey) -> ShardMap:
    """Return a map of one hashed keyspace."""
    space = Space(partition=partition)
    voters = [(N[1], N[2], N[3])] * shards
    return ShardMap(MapVersion(1), {K1: space}, initial(K1, space, space.even_bounds(shards), voters, ShardId(2)))


def ordered(*bounds: bytes) -> ShardMap:
    """Return a map of one ordered keyspace, cut at `bounds`."""
    space = Space(ordered=True)
    voters = [(N[1], N[2], N[3])] * (len(bounds) + 1)
    return ShardMap(MapVersion(1), {K1: space}, initial(K1, space, bounds, voters, ShardId(2)))


def with_shards(shard_map: ShardMap, *changed: Shard) -> ShardMap:
    """Return the next version, in which some shards are other ones or new."""
    shards = {each.id: each for each in shard_map.shards} | {each.id: each for each in changed}
    return ShardMap(MapVersion(shard_map.version + 1), shard_map.spaces, shards.values())


@st.composite
def walks(draw: st.DrawFn) -> list[ShardMap]:
    """Draw a map and what becomes of it step by step."""
    space = draw(st.sampled_from(SPACES))
    if space.ordered:
        bounds = tuple(sorted(draw(st.sets(KEYS, max_size=4))))
    else:
        bounds = space.even_bounds(draw(st.integers(1, 9)))
    voters = [(N[1], N[2], N[3])] * (len(bounds) + 1)
    walk = [ShardMap(MapVersion(1), {K1: space}, initial(K1, space, bounds, voters, ShardId(2)))]
    for _ in range(draw(st.integers(0, 8))):
        shard = draw(st.sampled_from(walk[-1].shards))
        walk.append(with_shards(walk[-1], *draw(_steps(walk[-1], shard))))
    return walk


@st.composite
def _steps(draw: st.DrawFn, shard_map: ShardMap, shard: Shard) -> tuple[Shard, ...]:
    if shard.split:
        return finish_split(shard, shard.split.child)
    if shard.move:
        move = shard.move
        if move.promoted or not move.target:
            return (finish_move(shard, move.source, move.target, shard.epoch),)
        return (promote(shard, move.target, shard.epoch),)
    at = shard_map.spaces[K1].token(draw(KEYS))
    if draw(st.booleans()) and shard.owns(at) and at > shard.start:
        children = [each.split.child for each in shard_map.shards if each.split]
        child = ShardId(max([each.id for each in shard_map.shards] + children) + 1)
        return (begin_split(shard, at, child, shard.epoch),)
    source = draw(st.sampled_from(shard.voters))
    target = draw(st.sampled_from([each for each in N[1:] if each not in shard.voters]))
    return (begin_move(shard, source, target, shard.epoch),)
