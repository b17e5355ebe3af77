"""The rows of the configuration: which keys there are, and what they are read as. All lie under `config/`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from kvarts.base.canonical import pack_json
from kvarts.shardmap.coding import shard_fields, shard_of
from kvarts.shardmap.map import MapVersion, ShardMap
from kvarts.shardmap.shard import KeyspaceId, Shard, ShardId
from kvarts.shardmap.space import Space, space_of
from kvarts.statemachine.python_commands import SystemWrite

NODE, REMOVED, KEYSPACE, FEATURE = b"config/node/", b"config/removed-node/", b"config/keyspace/", b"config/feature/"
LAST_KEYSPACE = b"config/last-keyspace"
DRAINING, SHARD, SPACE = b"config/draining-node/", b"config/shard/", b"config/space/"
JOIN_KEY, TOKENS_REQUIRED = b"config/join-key", b"config/join-tokens-required"
SPENT, SPENT_FORGOTTEN = b"config/spent-token/", b"config/spent-tokens-forgotten"
"""Who may join: see kvarts.statemachine.joins. JOIN_KEY is secret."""
LAST_SHARD, MAP_VERSION = b"config/last-shard", b"config/shard-map"
SHARD_LIMIT = b"config/shard-limit/"
"""How large shards of a keyspace may grow before they are split: bytes."""

META_GROUP = 1
"""The group that holds these rows. Shards are groups too, and their ids go on behind it."""

Rows = Mapping[bytes, bytes]


def numbered(prefix: bytes, number: int) -> bytes:
    """Return the key of a row that has an id: all digits of the largest one, so that rows lie in the order of ids."""
    return prefix + b"%019d" % number


def under(rows: Rows, prefix: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the rest of the key and the value of every row under a prefix, in order."""
    for key in sorted(each for each in rows if each.startswith(prefix)):
        yield key.removeprefix(prefix).decode(), json.loads(rows[key])


def shard_in(rows: Rows, shard: ShardId) -> Shard | None:
    """Return a shard by its id."""
    row = rows.get(numbered(SHARD, shard))
    return None if row is None else shard_of(shard, json.loads(row))


def space_in(rows: Rows, keyspace: KeyspaceId) -> Space | None:
    """Return the token space of a keyspace that has shards."""
    row = rows.get(numbered(SPACE, keyspace))
    return None if row is None else space_of(json.loads(row))


def shards_in(rows: Rows) -> list[Shard]:
    """Return all shards, by id."""
    return [shard_of(int(name), row) for name, row in under(rows, SHARD)]


def limits_in(rows: Rows) -> dict[KeyspaceId, int]:
    """Return beyond how many bytes shards are split, of keyspaces where they are."""
    return {KeyspaceId(int(name)): int(limit) for name, limit in under(rows, SHARD_LIMIT)}


def shard_map_in(rows: Rows) -> ShardMap:
    """Return the shard map that the rows hold."""
    spaces = {KeyspaceId(int(name)): space_of(row) for name, row in under(rows, SPACE)}
    return ShardMap(MapVersion(int(rows.get(MAP_VERSION, b"0"))), spaces, shards_in(rows))


def shard_row(shard: Shard) -> SystemWrite:
    """Return the write that stores a shard."""
    return numbered(SHARD, shard.id), pack_json(shard_fields(shard))


def next_version(rows: Rows) -> SystemWrite:
    """Return the write that goes with every change of the map."""
    return MAP_VERSION, b"%d" % (int(rows.get(MAP_VERSION, b"0")) + 1)
