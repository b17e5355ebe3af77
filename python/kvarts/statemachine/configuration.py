"""The configuration of a cluster: its nodes, keyspaces and features, kept in the meta group's system keys.

Pure: the same command on the same rows gives the same decision on every node.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from kvarts.base.canonical import pack_json
from kvarts.raft.ids import NodeId
from kvarts.statemachine.python_commands import CommandKind, Decision, UnreadableCommand, pack_command

NODE, REMOVED, KEYSPACE, FEATURE = b"config/node/", b"config/removed-node/", b"config/keyspace/", b"config/feature/"
LAST_KEYSPACE = b"config/last-keyspace"
NAME_BYTES_MAX = 255
ID_MAX = 2**63 - 1

Option = str | int | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNode:
    """A node joins, or tells anew where it listens and up to which level it knows each feature."""

    node: NodeId
    addresses: tuple[str, ...]
    features: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitNode:
    """A node that has no id yet joins. Answers with its id: above `above`, and above every id there ever was."""

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
_NAMES = {command: name for name, command in COMMANDS.items()}


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
            for name, row in self._under(NODE)
        }

    @property
    def keyspaces(self) -> dict[str, tuple[int, CreateKeyspace]]:
        """The id and the making of every keyspace, by name."""
        return {
            name: (row["id"], CreateKeyspace(name=name, key=row["key"], value=row["value"], options=row["options"]))
            for name, row in self._under(KEYSPACE)
        }

    @property
    def features(self) -> dict[str, int]:
        """The level of every feature in use."""
        return dict(self._under(FEATURE))

    def _under(self, prefix: bytes) -> Iterator[tuple[str, Any]]:
        for key, value in sorted(self._rows.items()):
            if key.startswith(prefix):
                yield key.removeprefix(prefix).decode(), json.loads(value)


def encode(command: ConfigCommand) -> bytes:
    """Return a command as it stands in the log. Raises UnreadableCommand if it could not be read there."""
    record = {"do": _NAMES[type(command)], **asdict(command)}
    try:
        packed = pack_command(CommandKind.CONFIGURATION, record)
        decode(json.loads(pack_json(record)))
    except (TypeError, ValueError) as error:
        raise UnreadableCommand(str(error)) from None
    return packed


def decode(record: Mapping[str, object]) -> ConfigCommand:
    """Return the command of unpacked fields. Raises UnreadableCommand."""
    values = dict(record)
    command = COMMANDS.get(str(values.pop("do", None)))
    if command is None or set(values) != {each.name for each in fields(command)}:
        raise UnreadableCommand(f"no configuration command has these fields: {sorted(record)}")
    wrong = sorted(name for name, value in values.items() if not _SOUND[name](value))
    if wrong:
        raise UnreadableCommand(f"unfit values of {', '.join(wrong)}")
    if "addresses" in values:
        values["addresses"] = tuple(values["addresses"])  # type: ignore[arg-type]  # a list, as was checked
    return command(**values)  # type: ignore[arg-type]  # names and values were checked


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


def _set_node(rows: Mapping[bytes, bytes], command: SetNode) -> Decision:
    if _node_key(REMOVED, command.node) in rows:
        return Decision(refusal="node-removed")
    in_use = Configuration(rows).features
    if any(command.features.get(name, 0) < level for name, level in in_use.items()):
        return Decision(refusal="node-lacks-feature")
    row = {"addresses": command.addresses, "features": command.features}
    return Decision(((_node_key(NODE, command.node), pack_json(row)),))


def _admit_node(rows: Mapping[bytes, bytes], command: AdmitNode) -> Decision:
    used = [int(key.rpartition(b"/")[2]) for key in rows if key.startswith((NODE, REMOVED))]
    node = NodeId(max([command.above, *used]) + 1)
    row = {"addresses": command.addresses, "features": {}}
    return Decision(((_node_key(NODE, node), pack_json(row)),), value=node)


def _remove_node(rows: Mapping[bytes, bytes], node: NodeId) -> Decision:
    if _node_key(NODE, node) not in rows:
        return Decision(refusal="no-such-node")
    return Decision(((_node_key(NODE, node), None), (_node_key(REMOVED, node), b"{}")))


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
    return Decision(((key, None),))


def _set_feature(rows: Mapping[bytes, bytes], name: str, level: int) -> Decision:
    configuration = Configuration(rows)
    if level < configuration.features.get(name, 0):
        return Decision(refusal="feature-lowered")
    if any(node.features.get(name, 0) < level for node in configuration.nodes.values()):
        return Decision(refusal="node-lacks-feature")
    return Decision(((FEATURE + name.encode(), b"%d" % level),))


def _node_key(prefix: bytes, node: NodeId) -> bytes:
    # All digits of the largest id, so that rows lie in the order of ids.
    return prefix + b"%019d" % node


def _is_number(value: object) -> bool:
    return type(value) is int and 1 <= value <= ID_MAX


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and 1 <= len(value.encode()) <= NAME_BYTES_MAX


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_name, value))


def _are_levels(value: object) -> bool:
    return isinstance(value, dict) and all(_is_name(name) and _is_number(level) for name, level in value.items())


def _are_options(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    return all(_is_name(name) and isinstance(option, Option) for name, option in value.items())


_SOUND: Mapping[str, Callable[[object], bool]] = {
    "node": _is_number,
    "above": _is_number,
    "id": _is_number,
    "level": _is_number,
    "name": _is_name,
    "key": _is_name,
    "value": _is_name,
    "addresses": _are_names,
    "features": _are_levels,
    "options": _are_options,
}
