"""Verbs of the desk for who copies all rows, out of a cluster or into one: history that is kept, layouts, the clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kvarts.base.errors import InvalidArgument
from kvarts.node.asker import Asker, Verb
from kvarts.replication.events import Event
from kvarts.shardmap.shard import KeyspaceId

NOTHING: Iterable[Event] = ()
HOLD_MS_MAX = 10 * 60_000


def hold(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Keep what this node's groups hold from being forgotten, under `number`, for `for_ms`: until then renew it.

    `since_ms`: from which time on; left out it is that of what the groups hold now. `for_ms` 0 ends it.
    """
    yield NOTHING
    number, since_ms, for_ms = (int(arguments.get(name) or 0) for name in ("number", "since_ms", "for_ms"))
    if not 0 <= for_ms <= HOLD_MS_MAX:
        raise InvalidArgument(f"for_ms={for_ms} is out of range", hint=f"0 to {HOLD_MS_MAX}; renew it")
    if not for_ms:
        asker.keeper.release(number)
        return {"now_ms": asker.keeper.unix_ms()}
    return {"since_ms": asker.keeper.hold(number, since_ms, for_ms), "now_ms": asker.keeper.unix_ms()}


def clock(asker: Asker, _arguments: Mapping[str, Any]) -> Verb:
    """Answer with the node's clock, by which rows expire where it leads."""
    yield NOTHING
    return {"now_ms": asker.keeper.unix_ms()}


def layouts(asker: Asker, _arguments: Mapping[str, Any]) -> Verb:
    """Answer with all keyspaces and what their shards are like: null for one that lies in the meta group."""
    yield NOTHING
    asker.check_leads()
    shard_map = asker.configuration.shard_map
    found = []
    for name, (number, made) in asker.configuration.keyspaces.items():
        space = shard_map.spaces.get(KeyspaceId(number))
        layout = None
        if space is not None:
            line = shard_map.shards_in(KeyspaceId(number))
            bounds = [each.start.hex() for each in line[1:]] if space.ordered else []
            partition = "" if space.ordered else space.partition.text
            layout = {"shards": len(line), "partition": partition, "ordered": space.ordered, "bounds": bounds}
        found.append({"id": number, "name": name, "key": made.key, "value": made.value, "layout": layout})
    return {"keyspaces": found}
