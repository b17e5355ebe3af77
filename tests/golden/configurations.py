"""Configuration commands as scripts write them: COMMAND NAME=VALUE…"""

from typing import Any

from kvarts.raft.ids import NodeId
from kvarts.statemachine.configuration import (
    ConfigCommand,
    CreateKeyspace,
    DropKeyspace,
    RemoveNode,
    SetFeature,
    SetNode,
    encode,
)


def encoded(words: list[str]) -> bytes:
    """Return the command as it stands in the log."""
    return encode(_parse(words))


def _parse(words: list[str]) -> ConfigCommand:
    named = dict(word.split("=", 1) for word in words[1:])

    def levels(name: str) -> dict[str, Any]:
        pairs = (pair.split(":") for pair in named.get(name, "").split(",") if pair)
        return {key: int(value) if value.isdigit() else value for key, value in pairs}

    match words[0]:
        case "set-node":
            addresses = tuple(named["addresses"].split(","))
            return SetNode(node=NodeId(int(named["node"])), addresses=addresses, features=levels("features"))
        case "remove-node":
            return RemoveNode(node=NodeId(int(named["node"])))
        case "create-keyspace":
            return CreateKeyspace(name=named["name"], key=named["key"], value=named["value"], options=levels("options"))
        case "drop-keyspace":
            return DropKeyspace(name=named["name"], id=int(named["id"]))
    return SetFeature(name=named["name"], level=int(named["level"]))
