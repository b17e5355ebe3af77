"""Words between nodes: what one wants another to know or to do. They may be lost, late, or said twice."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from kvarts.base.canonical import pack_json
from kvarts.shardmap.shard import ShardId
from kvarts.statemachine.python_commands import CommandKind

WORD_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Word:
    """From the leaders of shards to that of the meta group; `led` to any node."""

    steps: tuple[bytes, ...] = ()
    """Commands on the shard map that the logs of the shards' groups bear out."""
    behind: dict[ShardId, int] = field(default_factory=dict)
    """Of shards whose newcomer catches up: how many entries it lacks."""
    fenced: tuple[int, frozenset[ShardId]] | None = None
    """The node that says it, and the shards whose replicas it has fenced."""
    led: tuple[int, frozenset[ShardId]] | None = None
    """The node that says it, and the shards that it leads and that the receiver keeps no replica of."""


def encode(word: Word) -> bytes:
    """Return a word as it is sent."""
    behind = {str(shard): entries for shard, entries in word.behind.items()}
    said: dict[str, object] = {"behind": behind, "steps": [each.hex() for each in word.steps]}
    for name, told in (("fenced", word.fenced), ("led", word.led)):
        if told is not None:
            said[name] = {"node": told[0], "shards": sorted(told[1])}
    return pack_json(said)


def decode(data: bytes) -> Word | None:
    """Return a word; None for what cannot be read, which comes from a newer node and is not for this one."""
    if len(data) > WORD_BYTES_MAX:
        return None
    try:
        fields = json.loads(data.decode())
        steps = tuple(bytes.fromhex(each) for each in fields["steps"])
        behind = {ShardId(int(shard)): int(entries) for shard, entries in fields["behind"].items()}
        fenced, led = (_shards_of(fields.get(name)) for name in ("fenced", "led"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if any(each[:1] != bytes((CommandKind.SHARD_MAP,)) for each in steps):
        return None
    return Word(steps, behind, fenced, led)


def _shards_of(told: dict[str, Any] | None) -> tuple[int, frozenset[ShardId]] | None:
    return None if told is None else (int(told["node"]), frozenset(ShardId(int(each)) for each in told["shards"]))
