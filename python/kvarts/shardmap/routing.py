"""What a request may touch: the shard it names must own its keys, and some verbs must stay within one shard."""

from __future__ import annotations

from collections.abc import Iterable

from kvarts.base.errors import CrossShard, WrongShard
from kvarts.shardmap.map import ShardMap
from kvarts.shardmap.shard import Epoch, KeyspaceId, Shard, ShardId


def admit(shard_map: ShardMap, keyspace: KeyspaceId, shard: ShardId, epoch: Epoch, keys: Iterable[bytes]) -> Shard:
    """Return the shard that a request names, if it owns all keys. Raises WrongShard, UnknownKeyspace.

    An older epoch is no reason to refuse: a shard that owns the keys today owns them. A newer one is: the asker knows
    of a change that has not come here yet, after which the keys may have another owner.
    """
    named = shard_map.get(shard)
    for key in keys:
        owner = shard_map.lookup(keyspace, key)
        if owner is not named:
            raise _wrong(shard, owner, "is not the owner of the key")
    if named is None or named.keyspace != keyspace:
        raise WrongShard(f"shard {shard} is not one of keyspace {keyspace}", shard=shard, version=shard_map.version)
    if epoch > named.epoch:
        raise _wrong(shard, named, "is known here with an older epoch only")
    return named


def one_shard(shard_map: ShardMap, keyspace: KeyspaceId, keys: Iterable[bytes], verb: str) -> Shard | None:
    """Return the shard of all keys; None if there are none. Raises CrossShard, UnknownKeyspace."""
    found: Shard | None = None
    for key in keys:
        owner = shard_map.lookup(keyspace, key)
        if found is not None and owner is not found:
            raise _crossing(shard_map, keyspace, {found.id, owner.id}, verb)
        found = owner
    return found


def one_shard_of_range(shard_map: ShardMap, keyspace: KeyspaceId, start: bytes, stop: bytes, verb: str) -> Shard | None:
    """Return the shard of a range; None if the range is empty. Raises CrossShard, UnknownKeyspace."""
    owners = shard_map.shards_of(keyspace, start, stop)
    if len(owners) > 1:
        raise _crossing(shard_map, keyspace, {each.id for each in owners}, verb)
    return owners[0] if owners else None


def _wrong(asked: ShardId, owner: Shard, why: str) -> WrongShard:
    message = f"shard {asked} {why}; it lies in shard {owner.id}, epoch {owner.epoch}"
    return WrongShard(message, shard=owner.id, epoch=owner.epoch)


def _crossing(shard_map: ShardMap, keyspace: KeyspaceId, shards: set[ShardId], verb: str) -> CrossShard:
    space = shard_map.spaces[keyspace]
    hint = "create the keyspace with shards=1, or do it shard by shard"
    if not space.ordered:
        hint = 'create the keyspace with partition=, such as Until(b"/"), so that keys used together lie together'
    listed = sorted(shards)
    few = ", ".join(str(each) for each in listed[:4]) + (", …" if len(listed) > 4 else "")
    return CrossShard(f"{verb} spans {len(listed)} shards ({few})", hint=hint, shards=tuple(listed))
