"""Shards and maps as bytes: canonical JSON, so that one map has one encoding; bounds are hexadecimal.

A map, as it is sent whole, is a byte for its format and its JSON object. A reader refuses what it would not write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kvarts.base.canonical import pack_json
from kvarts.base.errors import InvalidArgument
from kvarts.base.ids import NodeId
from kvarts.shardmap.map import MapBroken, MapVersion, ShardMap
from kvarts.shardmap.shard import Epoch, KeyspaceId, Move, Shard, ShardId, Split
from kvarts.shardmap.space import space_of

FORMAT = 1


class UnreadableMap(ValueError):  # noqa: N818  # says what is wrong, as in kvarts.base.errors
    """Bytes that are no shard or map of ours, or one of a later format."""


def shard_fields(shard: Shard) -> dict[str, object]:
    """Return a shard, without its id, as it stands in a row."""
    fields: dict[str, object] = {
        "epoch": shard.epoch,
        "keyspace": shard.keyspace,
        "start": shard.start.hex(),
        "stop": shard.stop.hex(),
        "voters": list(shard.voters),
    }
    if shard.move is not None:
        fields["move"] = [shard.move.source, shard.move.target, shard.move.promoted]
    if shard.split is not None:
        fields["split"] = [shard.split.at.hex(), shard.split.child]
    if shard.origin:
        fields["origin"] = shard.origin
    return fields


def shard_of(number: int, fields: Mapping[str, Any]) -> Shard:
    """Return the shard of a row. Raises UnreadableMap."""
    try:
        move, split = fields.get("move"), fields.get("split")
        shard = Shard(
            id=ShardId(number),
            keyspace=KeyspaceId(_number(fields["keyspace"])),
            start=bytes.fromhex(fields["start"]),
            stop=bytes.fromhex(fields["stop"]),
            epoch=Epoch(_number(fields["epoch"])),
            voters=tuple(NodeId(_number(each)) for each in fields["voters"]),
            move=Move(NodeId(_number(move[0])), NodeId(_number(move[1])), move[2] is True) if move else None,
            split=Split(bytes.fromhex(split[0]), ShardId(_number(split[1]))) if split else None,
            origin=ShardId(_number(fields.get("origin", 0))),
        )
        rule = shard.broken_rule()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableMap(f"s{number}: {error!r}") from None
    if rule is not None or shard_fields(shard) != fields:
        raise UnreadableMap(f"s{number}: {rule or 'not the fields of a shard'}")
    return shard


def encode(shard_map: ShardMap) -> bytes:
    """Return the one encoding of a map."""
    record = {
        "version": shard_map.version,
        "spaces": {str(keyspace): space.options() for keyspace, space in shard_map.spaces.items()},
        "shards": {str(each.id): shard_fields(each) for each in shard_map.shards},
    }
    return bytes((FORMAT,)) + pack_json(record)


def decode(encoded: bytes) -> ShardMap:
    """Return the map of its encoding. Raises UnreadableMap."""
    try:
        if encoded[0] != FORMAT:
            raise UnreadableMap(f"format {encoded[0]} is not known here")
        record = json.loads(encoded[1:].decode())
        spaces = {KeyspaceId(int(keyspace)): space_of(options) for keyspace, options in record["spaces"].items()}
        shards = [shard_of(int(number), fields) for number, fields in record["shards"].items()]
        decoded = ShardMap(MapVersion(_number(record["version"])), spaces, shards)
        canonical = encode(decoded)
    except UnreadableMap:
        raise
    except (
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        InvalidArgument,
        MapBroken,
    ) as error:
        raise UnreadableMap(f"no map that is known here: {error}") from None
    if canonical != encoded:
        raise UnreadableMap("not the encoding that this map has")
    return decoded


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise UnreadableMap(f"{value!r} is no number of ours")
    return value
