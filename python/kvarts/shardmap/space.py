"""The token space of a keyspace: from key to token.

A token is bytes, so that shards of both kinds are ranges of bytes: the key itself where the keyspace is ordered, else
the 64-bit hash of the key's partition part, big endian. An empty bound is the end of the space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvarts.base.errors import InvalidArgument
from kvarts.base.rapidhash import prepare, rapidhash_prepared
from kvarts.shardmap.partition import Partition, WholeKey, partition_of

TOKEN_BYTES = 8
TOKENS = 2**64
BOUND_BYTES_MAX = 64 * 1024
SHARDS_MAX = 4096
"""Shards that a keyspace may be created with; splits may go beyond."""

HASH_VERSION = 1
TOKEN_SEED = 0x6B76617274730001
"""Of hash version 1: `kvarts`, 0, 1.

Not the seed of filters: they take a hash's upper bits too, and all keys of a shard would meet in few of their lines.
"""

_PREPARED = prepare(TOKEN_SEED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """How a keyspace's keys become tokens. Fixed for good when the keyspace is created."""

    ordered: bool = False
    partition: Partition = WholeKey
    hash: int = HASH_VERSION

    def __post_init__(self) -> None:
        if self.ordered and self.partition != WholeKey:
            raise InvalidArgument(
                "partition= has no meaning in an ordered keyspace",
                hint="keys that share a prefix are neighbours there: leave partition= out",
            )
        if self.hash != HASH_VERSION:
            raise InvalidArgument(f"token hash {self.hash} is not known here", hint="upgrade kvarts")

    def token(self, key: bytes) -> bytes:
        """Return the token of a key."""
        if self.ordered:
            return key
        part = key if self.partition is WholeKey else key[: self.partition.part_bytes(key)]
        return rapidhash_prepared(part, _PREPARED).to_bytes(TOKEN_BYTES, "big")

    def scan_token(self, start: bytes, stop: bytes) -> bytes | None:
        """Return the one token that all keys of [start, stop) of a hashed space have; None if there may be others."""
        if stop == start + b"\x00":
            return self.token(start)
        end = self.partition.span_end(start)
        if end is None or (end and not stop) or (end and stop > end):
            return None
        return self.token(start)

    def is_bound(self, bound: bytes) -> bool:
        """Return whether a shard may begin here."""
        return 1 <= len(bound) <= BOUND_BYTES_MAX if self.ordered else len(bound) == TOKEN_BYTES and any(bound)

    def even_bounds(self, shards: int) -> tuple[bytes, ...]:
        """Return the bounds that cut a hashed space into equal shards. Raises InvalidArgument."""
        if not 1 <= shards <= SHARDS_MAX:
            raise InvalidArgument(f"a keyspace has 1 to {SHARDS_MAX} shards at first, not {shards}")
        if self.ordered and shards > 1:
            raise InvalidArgument(
                "an ordered keyspace begins with one shard", hint="it splits as it grows, or give the keys to split at"
            )
        return tuple((TOKENS * each // shards).to_bytes(TOKEN_BYTES, "big") for each in range(1, shards))

    def middle(self, start: bytes, stop: bytes) -> bytes:
        """Return the bound that halves [start, stop) of a hashed space. Raises InvalidArgument."""
        if self.ordered:
            raise InvalidArgument("an ordered shard has no middle but that of its keys", hint="give a key to split at")
        low, high = int.from_bytes(start, "big"), int.from_bytes(stop, "big") if stop else TOKENS
        if high - low < 2:
            raise InvalidArgument("a shard of one token cannot be split")
        return ((low + high) // 2).to_bytes(TOKEN_BYTES, "big")

    def options(self) -> dict[str, str | int | bool]:
        """Return the space as options of a keyspace."""
        return {"ordered": True} if self.ordered else {"hash": self.hash, "partition": self.partition.text}


def space_of(options: Mapping[str, object]) -> Space:
    """Return the space that a keyspace's options describe; what is absent is the default. Raises InvalidArgument."""
    ordered, version, text = options.get("ordered", False), options.get("hash", HASH_VERSION), options.get("partition")
    if type(ordered) is not bool or type(version) is not int or not isinstance(text, str | None):
        raise InvalidArgument("ordered= is a bool, hash= a number and partition= a word in a keyspace's options")
    return Space(ordered=ordered, partition=WholeKey if text is None else partition_of(text), hash=version)
