"""Where a shard of an ordered keyspace is to be cut: its keys say nothing of where its middle lies, its tables do."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from kvarts.base.errors import InvalidArgument, KvartsError, Unavailable
from kvarts.remote.operator import Operator


class Middle(NamedTuple):
    """What one replica says of its shard. The larger of two is the better one to go by."""

    is_known: bool
    size: int
    key: bytes


def fullest(cluster: Operator, shards: Collection[Mapping[str, Any]]) -> bytes:
    """Return the key to cut at of the shard with most bytes: about half of them lie before it.

    `shards`: as the verb `shards` lists them. Nodes that do not answer are left out.

    Raises InvalidArgument where tables are too small to tell, Unavailable where no node that keeps one of the shards
    answers.
    """
    ranges = {int(each["id"]): (bytes.fromhex(each["start"]), bytes.fromhex(each["stop"])) for each in shards}
    found = []
    for address in cluster.addresses():
        try:
            told = cluster.ask("middles", {}, address)
        except KvartsError:
            continue
        found += [_middle(each, *ranges[int(each["group"])]) for each in told["groups"] if each["group"] in ranges]
    if not found:
        raise Unavailable("no node that keeps these shards answers", hint="`kvarts cluster status` shows them")
    best = max(found)
    if not best.is_known:
        raise InvalidArgument("there are too few rows to tell where the middle is", hint="say it with --at KEY")
    return best.key


def _middle(said: Mapping[str, Any], start: bytes, stop: bytes) -> Middle:
    """Return the middle, unknown where a shard may not be cut there: a node may still know an older range."""
    key = bytes.fromhex(said["middle"] or "")
    return Middle(start < key and (not stop or key < stop), int(said["bytes"]), key)
