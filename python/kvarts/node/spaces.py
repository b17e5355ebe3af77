"""The verb of the desk that makes keyspaces, with their shards where they are to have some."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from typing import Any

from kvarts.base.errors import InvalidArgument
from kvarts.node.asker import Asker, CommandSays, Verb
from kvarts.node.features import agree
from kvarts.node.shards import FEATURE
from kvarts.node.verbs import shown
from kvarts.placement.level import place
from kvarts.placement.nodes import REPLICATION, Duty
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.replication.events import Event, GroupId
from kvarts.shardmap.shard import KeyspaceId, ShardId
from kvarts.shardmap.space import SHARDS_MAX, Space, space_of
from kvarts.statemachine import shards
from kvarts.statemachine.configuration import CreateKeyspace, Option, encode
from kvarts.statemachine.rows import LAST_SHARD, META_GROUP

NOTHING: Iterable[Event] = ()
LEAD_MS = 5_000
"""How long new shards have to find a leader."""

Steps = Generator[Iterable[Event], None, None]


def make_keyspace(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Answer with the keyspace of a name, made if absent and `create`; whether the codecs fit is the asker's to see.

    `space`: what its shards are to be like, if it is made.
    """
    name = str(arguments["name"])
    asker.check_leads()
    found = asker.configuration.keyspaces.get(name)
    if found is None and not arguments.get("create", True):
        raise InvalidArgument(f"no keyspace {name!r}", hint="keyspaces() lists them; create=True makes one")
    if found is None:
        options = options_of(arguments.get("space"))
        if options:
            yield from agree(asker, FEATURE)
        key, value = str(arguments["key_codec"]), str(arguments["value_codec"])
        try:
            yield from asker.command(encode(CreateKeyspace(name=name, key=key, value=value, options=options)))
        except CommandSays as says:
            # Somebody else was faster.
            if says.refusal != "keyspace-exists":
                raise
        found = asker.configuration.keyspaces[name]
    number, made = found
    _demand_alike(name, made.options, arguments.get("space"))
    if made.options.get("shards"):
        yield from _make_shards(asker, KeyspaceId(number), made.options)
        yield from _await_leaders(asker, KeyspaceId(number))
    return shown(number, made)


def _demand_alike(name: str, made: Mapping[str, Option], asked: Mapping[str, Any] | None) -> None:
    """Raises InvalidArgument where a keyspace is another than is asked for. How many shards it has changes, and may."""
    if not asked:
        return
    wished = options_of(asked)
    if not made.get("shards"):
        raise InvalidArgument(
            f"keyspace {name!r} was made without shards of its own",
            hint="open it without shards=, partition= and ordered=, or copy its rows into another",
        )
    if wished.get("ordered") and not made.get("ordered"):
        raise InvalidArgument(f"keyspace {name!r} is not ordered", hint="open it without ordered=")
    if asked.get("partition") and made.get("partition") != wished["partition"]:
        found = made.get("partition") or "none"
        raise InvalidArgument(f"keyspace {name!r} has another partition= ({found})", hint="open it without partition=")


def options_of(given: Mapping[str, Any] | None) -> dict[str, Option]:
    """Return the options of a keyspace that is to have shards; none where it is not. Raises InvalidArgument."""
    if given is None:
        return {}
    ordered, bounds = bool(given.get("ordered")), [str(each) for each in given.get("bounds", ())]
    if bounds and not ordered:
        raise InvalidArgument("bounds are keys of an ordered keyspace", hint="ordered=True, or give shards=")
    count = int(given.get("shards") or len(bounds) + 1)
    if bounds and count != len(bounds) + 1:
        raise InvalidArgument(f"{len(bounds)} bounds do not make {count} shards", hint="leave shards= out")
    if not 1 <= count <= SHARDS_MAX:
        raise InvalidArgument(f"shards={count} is out of range", hint=f"1 to {SHARDS_MAX}")
    asked: dict[str, Option] = {"ordered": True} if ordered else {}
    if given.get("partition"):
        asked["partition"] = str(given["partition"])
    space = space_of(asked)
    if not bounds:
        space.even_bounds(count)
    if sorted(set(bounds)) != bounds or not all(space.is_bound(bytes.fromhex(each)) for each in bounds):
        raise InvalidArgument("bounds are keys, each once, in order")
    return {**space.options(), "shards": count, **({"bounds": ",".join(bounds)} if bounds else {})}


def _make_shards(asker: Asker, keyspace: KeyspaceId, options: Mapping[str, Option]) -> Steps:
    """Have the shards of a keyspace made, unless they are there. A later leader goes on where one stopped."""
    shard_map = asker.configuration.shard_map
    if keyspace in shard_map.spaces:
        return
    space, count = space_of(options), int(options["shards"])
    listed = str(options.get("bounds", ""))
    bounds = [bytes.fromhex(each) for each in listed.split(",")] if listed else space.even_bounds(count)
    command = shards.CreateShards(
        keyspace=keyspace,
        bounds=tuple(each.hex() for each in bounds),
        voters=(yield from _voters(asker, count)),
        **_fields(space),
    )
    try:
        yield from asker.command(shards.encode(command))
    except CommandSays as says:
        if says.refusal != "shards-exist":
            raise


def _fields(space: Space) -> dict[str, Any]:
    return {"ordered": True} if space.ordered else {"partition": space.partition.text, "hash": space.hash}


def _voters(asker: Asker, count: int) -> Generator[Iterable[Event], None, tuple[tuple[NodeId, ...], ...]]:
    """Return who is to keep each of the new shards: nodes that vote in the meta group, do not drain, and answer.

    Only where too few answer for all replicas are some given to nodes that may come back.
    """
    while asker.conductor is None or not asker.conductor.has_heard(asker.now_ms):
        asker.check_leads()
        yield NOTHING
    shard_map = asker.configuration.shard_map
    voting = asker.replica.raft.status().membership.voters.voters
    found = [each for each in asker.conductor.nodes(asker.now_ms) if each.id in voting]
    lacking = REPLICATION - sum(each.duty is Duty.SERVES for each in found)
    away = sorted(each.id for each in found if each.duty is Duty.AWAY)[: max(0, lacking)]
    nodes = [replace(each, duty=Duty.SERVES) if each.id in away else each for each in found]
    first = int(asker.replica.system.rows.get(LAST_SHARD, b"%d" % META_GROUP)) + 1
    new = [ShardId(first + each) for each in range(count)]
    others = {each.id: frozenset(each.voters) for each in shard_map.shards}
    placed = place(new, nodes, REPLICATION, others)
    return tuple(tuple(sorted(placed[each])) for each in new)


def _await_leaders(asker: Asker, keyspace: KeyspaceId) -> Steps:
    """Wait until the shards that this node keeps have leaders, so that the first request need not."""
    since_ms = asker.now_ms
    while asker.now_ms <= since_ms + LEAD_MS:
        shard_map = asker.configuration.shard_map
        own = [each for each in shard_map.shards_in(keyspace) if asker.replicator.node in each.voters]
        replicas = [asker.replicator.replicas.get(GroupId(each.id)) for each in own]
        if all(each is not None and each.leader != NODE_NONE for each in replicas):
            return
        yield NOTHING
