"""The configuration of a cluster: its nodes, keyspaces and features, kept in the meta group's system keys.

Pure: the same command on the same rows gives the same decision on every node.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kvarts.base.canonical import pack_json
from kvarts.raft.ids import NodeId
from kvarts.shardmap.map import ShardMap
from kvarts.statemachine.python_commands import CommandKind, Decision, SystemWrite
from kvarts.statemachine.rows import (
    DRAINING,
    FEATURE,
    KEYSPACE,
    LAST_KEYSPACE,
    NODE,
    REMOVED,
    SHARD,
    SHARD_LIMIT,
    SPACE,
    TOKENS_REQUIRED,
    next_version,
    numbered,
    shard_map_in,
    shards_in,
    under,
)
from kvarts.statemachine.vocabulary import Vocabulary, is_id, is_name

Option = str | int | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNode:
    """A node joins, or tells anew where it listens and up to which level it knows each feature."""

    node: NodeId
    addresses: tuple[str, ...]
    features: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitNode:
    """A node that has no id yet joins. Answers with its id: above `above`, and above every id there ever was.

    Refused once nodes need a token: see kvarts.statemachine.joins.
    """

    addresses: tuple[str, ...]
    above: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveNode:
    """A node is gone for good: its id is never taken again."""

    node: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKeyspace:
    """A new keyspace under a name that is free; `key` and `value` name its codecs. Answers with its id."""

    name: str
    key: str
    value: str
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropKeyspace:
    """The end of a keyspace. The id keeps a repeated command from dropping a successor of the same name."""

    name: str
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFeature:
    """From here on a feature is used up to `level`. Levels only rise, and only where every node knows them."""

    name: str
    level: int


ConfigCommand = SetNode | AdmitNode | RemoveNode | CreateKeyspace | DropKeyspace | SetFeature

COMMANDS: Mapping[str, type[ConfigCommand]] = {
    "set-node": SetNode,
    "admit-node": AdmitNode,
    "remove-node": RemoveNode,
    "create-keyspace": CreateKeyspace,
    "drop-keyspace": DropKeyspace,
    "set-feature": SetFeature,
}


class Configuration:
    """What the rows say, for people and programs. It keeps nothing but the rows: a restart needs no more."""

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        self._rows = rows

    @property
    def nodes(self) -> dict[NodeId, SetNode]:
        """Every node as it last told of itself."""
        return {
            NodeId(int(name)): SetNode(
                node=NodeId(int(name)), addresses=tuple(row["addresses"]), features=row["features"]
            )
            for name, row in under(self._rows, NODE)
        }

    @property
    def keyspaces(self) -> dict[str, tuple[int, CreateKeyspace]]:
        """The id and the making of every keyspace, by name."""
        return {
            name: (row["id"], CreateKeyspace(name=name, key=row["key"], value=row["value"], options=row["options"]))
            for name, row in under(self._rows, KEYSPACE)
        }

    @property
    def features(self) -> dict[str, int]:
        """The level of every feature in use."""
        return dict(under(self._rows, FEATURE))

    @property
    def draining(self) -> dict[NodeId, NodeId]:
        """Nodes that are to be emptied, each with the node that should take their replicas, or NODE_NONE."""
        return {NodeId(int(name)): NodeId(row["successor"]) for name, row in under(self._rows, DRAINING)}

    @property
    def lost(self) -> frozenset[NodeId]:
        """Those of `draining` that never come back."""
        return frozenset(NodeId(int(name)) for name, row in under(self._rows, DRAINING) if row["lost"])

    @property
    def removed(self) -> frozenset[NodeId]:
        """Nodes that left for good."""
        return frozenset(NodeId(int(name)) for name, _ in under(self._rows, REMOVED))

    @property
    def shard_map(self) -> ShardMap:
        """All shards. Read anew each time: keep it while its version stands."""
        return shard_map_in(self._rows)


def encode(command: ConfigCommand) -> bytes:
    """Return a command as it stands in the log. Raises UnreadableCommand if it could not be read there."""
    return _WORDS.encode(command)


def decode(record: Mapping[str, object]) -> ConfigCommand:
    """Return the command of unpacked fields. Raises UnreadableCommand."""
    return _WORDS.decode(record)


def decide(rows: Mapping[bytes, bytes], record: Mapping[str, object]) -> Decision:
    """Return what a command comes to on these rows. Raises UnreadableCommand."""
    match decode(record):
        case SetNode() as command:
            return _set_node(rows, command)
        case AdmitNode() as command:
            return _admit_node(rows, command)
        case RemoveNode(node=node):
            return _remove_node(rows, node)
        case CreateKeyspace() as command:
            return _create_keyspace(rows, command)
        case DropKeyspace(name=name, id=number):
            return _drop_keyspace(rows, name, number)
        case SetFeature(name=name, level=level):
            return _set_feature(rows, name, level)


def new_node(rows: Mapping[bytes, bytes], addresses: tuple[str, ...], above: int) -> tuple[NodeId, SystemWrite]:
    """Return an id above `above` and above every one there ever was, and the write that lists its node."""
    used = [int(key.rpartition(b"/")[2]) for key in rows if key.startswith((NODE, REMOVED))]
    node = NodeId(max([above, *used]) + 1)
    return node, (numbered(NODE, node), pack_json({"addresses": addresses, "features": {}}))


def are_names(value: object) -> bool:
    """Return whether this is a list of names."""
    return isinstance(value, list) and all(map(is_name, value))


def _set_node(rows: Mapping[bytes, bytes], command: SetNode) -> Decision:
    if numbered(REMOVED, command.node) in rows:
        return Decision(refusal="node-removed")
    in_use = Configuration(rows).features
    if any(command.features.get(name, 0) < level for name, level in in_use.items()):
        return Decision(refusal="node-lacks-feature")
    row = {"addresses": command.addresses, "features": command.features}
    return Decision(((numbered(NODE, command.node), pack_json(row)),))


def _admit_node(rows: Mapping[bytes, bytes], command: AdmitNode) -> Decision:
    if TOKENS_REQUIRED in rows:
        return Decision(refusal="token-needed")
    node, listed = new_node(rows, command.addresses, command.above)
    return Decision((listed,), value=node)


def _remove_node(rows: Mapping[bytes, bytes], node: NodeId) -> Decision:
    if numbered(NODE, node) not in rows:
        return Decision(refusal="no-such-node")
    kept = [each.id for each in shards_in(rows) if node in (*each.voters, each.learner)]
    if kept:
        return Decision(refusal="node-keeps-shards", value=kept[0])
    drained = ((numbered(DRAINING, node), None),) if numbered(DRAINING, node) in rows else ()
    return Decision(((numbered(NODE, node), None), (numbered(REMOVED, node), b"{}"), *drained))


def _create_keyspace(rows: Mapping[bytes, bytes], command: CreateKeyspace) -> Decision:
    key = KEYSPACE + command.name.encode()
    if key in rows:
        return Decision(refusal="keyspace-exists", value=json.loads(rows[key])["id"])
    number = int(rows.get(LAST_KEYSPACE, b"0")) + 1
    row = {"id": number, "key": command.key, "value": command.value, "options": command.options}
    return Decision(((LAST_KEYSPACE, b"%d" % number), (key, pack_json(row))), value=number)


def _drop_keyspace(rows: Mapping[bytes, bytes], name: str, number: int) -> Decision:
    key = KEYSPACE + name.encode()
    if key not in rows or json.loads(rows[key])["id"] != number:
        return Decision(refusal="no-such-keyspace")
    return Decision(((key, None), *_without_shards(rows, number)))


def _without_shards(rows: Mapping[bytes, bytes], keyspace: int) -> Iterator[SystemWrite]:
    space = numbered(SPACE, keyspace)
    if space in rows:
        yield space, None
        if numbered(SHARD_LIMIT, keyspace) in rows:
            yield numbered(SHARD_LIMIT, keyspace), None
        yield from ((numbered(SHARD, each.id), None) for each in shards_in(rows) if each.keyspace == keyspace)
        yield next_version(rows)


def _set_feature(rows: Mapping[bytes, bytes], name: str, level: int) -> Decision:
    configuration = Configuration(rows)
    if level < configuration.features.get(name, 0):
        return Decision(refusal="feature-lowered")
    if any(node.features.get(name, 0) < level for node in configuration.nodes.values()):
        return Decision(refusal="node-lacks-feature")
    return Decision(((FEATURE + name.encode(), b"%d" % level),))


def _are_levels(value: object) -> bool:
    return isinstance(value, dict) and all(is_name(name) and is_id(level) for name, level in value.items())


def _are_options(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    return all(is_name(name) and isinstance(option, Option) for name, option in value.items())


_WORDS: Vocabulary[ConfigCommand] = Vocabulary(
    CommandKind.CONFIGURATION,
    "configuration",
    COMMANDS,
    {
        "node": is_id,
        "above": is_id,
        "id": is_id,
        "level": is_id,
        "name": is_name,
        "key": is_name,
        "value": is_name,
        "addresses": are_names,
        "features": _are_levels,
        "options": _are_options,
    },
)
