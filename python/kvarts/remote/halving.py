"""Where a shard of an ordered keyspace is to be cut: its keys say nothing of where its middle lies, its tables do."""

from collections.abc import Collection, Mapping
from typing import Any

from kvarts.base.errors import InvalidArgument, KvartsError, Unavailable
from kvarts.remote.operator import Operator


def fullest(cluster: Operator, shards: Collection[Mapping[str, Any]]) -> tuple[int, bytes]:
    """Return which of these shards has most rows, and the key with about half of their bytes in front of it.

    `shards`: as the verb `shards` lists them. Nodes that do not answer are left out. Raises InvalidArgument where tables are
    too small to tell, Unavailable where no node that keeps one of the shards answers.
    """
    ranges = {int(each["id"]): (bytes.fromhex(each["start"]), bytes.fromhex(each["stop"])) for each in shards}
    found: dict[int, tuple[int, bytes | None]] = {}
    for address in cluster.addresses():
        try:
            told = cluster.ask("middles", {}, address)
        except KvartsError:
            continue
        for each in told.get("groups", ()):
            group, rows = int(each["group"]), int(each["rows"])
            if group in ranges:
                middle = _within(each["middle"], *ranges[group])
                found[group] = max(
                    found.get(group, (0, None)), (rows, middle), key=lambda one: (one[1] is not None, one[0])
                )
    if not found:
        raise Unavailable("no node that keeps these shards answers", hint="`kvarts cluster status` shows them")
    group, (_, key) = max(found.items(), key=lambda one: (one[1][1] is not None, one[1][0]))
    if key is None:
        raise InvalidArgument("there are too few rows to tell where the middle is", hint="say it with --at KEY")
    return group, key


def _within(middle: str | None, start: bytes, stop: bytes) -> bytes | None:
    """Return the key, unless a shard may not be cut there: a node may still know an older range."""
    key = bytes.fromhex(middle or "")
    return key if start < key and (not stop or key < stop) else None
