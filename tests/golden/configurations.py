"""Commands on the configuration and on shards as scripts write them: COMMAND NAME=VALUE…"""

from dataclasses import MISSING, fields
from typing import Any

from kvarts.raft.ids import NodeId
from kvarts.shardmap.shard import Epoch
from kvarts.statemachine import checks, joins, shards, verdicts
from kvarts.statemachine.configuration import (
    AdmitNode,
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
    if words[0] in verdicts.COMMANDS:
        named = dict(word.split("=", 1) for word in words[1:])
        return verdicts.encode(verdicts.DecideMove(epoch=Epoch(int(named["epoch"])), ending=named["ending"]))
    if words[0] in checks.COMMANDS:
        return checks.encode(checks.ComputeDigest())
    if words[0] in joins.COMMANDS:
        return joins.encode(_parse_of_joins(words))
    if words[0] in shards.COMMANDS:
        return shards.encode(_parse_of_shards(words))
    return encode(_parse(words))


def _parse_of_joins(words: list[str]) -> joins.JoinCommand:
    """A key is its one byte in hexadecimal, of which all are alike; so is the id of a token."""
    named = dict(word.split("=", 1) for word in words[1:])
    match words[0]:
        case "require-tokens":
            return joins.RequireTokens(key=named["key"] * joins.KEY_BYTES, renew=named.get("renew") == "yes")
        case "waive-tokens":
            return joins.WaiveTokens()
    return joins.AdmitByToken(
        addresses=tuple(named["addresses"].split(",")),
        id=named["id"] * joins.ID_BYTES,
        ticket=named["ticket"],
        made_with=joins.fingerprint(bytes.fromhex(named.get("key", "ab") * joins.KEY_BYTES)),
        **{name: int(named[name]) for name in ("above", "expires_ms", "now_ms")},
    )


def _parse_of_shards(words: list[str]) -> shards.ShardCommand:
    """Numbers are numbers, yes and no are flags, `voters=1,2;2,3` are lists of lists, and bounds lie between commas."""
    command = shards.COMMANDS[words[0]]
    named = dict(word.split("=", 1) for word in words[1:])
    values: dict[str, Any] = {}
    for name, text in named.items():
        if name == "voters":
            values[name] = tuple(tuple(NodeId(int(each)) for each in kept.split(",")) for kept in text.split(";"))
        elif name == "bounds":
            values[name] = tuple(text.split(",")) if text else ()
        elif text in ("yes", "no"):
            values[name] = text == "yes"
        else:
            values[name] = int(text) if text.isdigit() and name != "at" else text
    missing = [each.name for each in fields(command) if each.default is MISSING and each.name not in values]
    assert not missing, f"{words[0]} lacks {missing}"
    return command(**values)


def _parse(words: list[str]) -> ConfigCommand:
    named = dict(word.split("=", 1) for word in words[1:])

    def levels(name: str) -> dict[str, Any]:
        pairs = (pair.split(":") for pair in named.get(name, "").split(",") if pair)
        return {key: int(value) if value.isdigit() else value for key, value in pairs}

    match words[0]:
        case "set-node":
            addresses = tuple(named["addresses"].split(","))
            return SetNode(node=NodeId(int(named["node"])), addresses=addresses, features=levels("features"))
        case "admit-node":
            return AdmitNode(addresses=tuple(named["addresses"].split(",")), above=int(named["above"]))
        case "remove-node":
            return RemoveNode(node=NodeId(int(named["node"])))
        case "create-keyspace":
            return CreateKeyspace(name=named["name"], key=named["key"], value=named["value"], options=levels("options"))
        case "drop-keyspace":
            return DropKeyspace(name=named["name"], id=int(named["id"]))
    return SetFeature(name=named["name"], level=int(named["level"]))
