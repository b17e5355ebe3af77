"""Verbs of the desk about what there is: status and keyspaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kvarts import _native
from kvarts.base.errors import InvalidArgument
from kvarts.node.asker import Asker, CommandSays, Verb
from kvarts.replication.events import Event
from kvarts.statemachine.configuration import CreateKeyspace, encode

NOTHING: Iterable[Event] = ()


def status(asker: Asker, _arguments: Mapping[str, Any]) -> Verb:
    """Answer with this node's view of itself, its groups and the cluster."""
    yield NOTHING
    raft = asker.replica.raft.status()
    members = sorted(raft.membership.members | set(asker.configuration.nodes))
    groups = [
        {
            "group": each.group,
            "role": each.role.name.lower(),
            "term": each.term,
            "leader": each.leader,
            "last": each.last,
            "committed": each.committed,
            "applied": each.applied,
        }
        for each in asker.replicator.status()
    ]
    nodes = [
        {
            "id": node,
            "address": asker.address_of(node),
            "voter": node in raft.membership.voters.voters,
            "learner": node in raft.membership.learners,
            "leader": node == raft.lead,
        }
        for node in members
    ]
    return {
        "node": raft.node,
        "version": _native.__version__,
        "leader": raft.lead,
        "term": raft.term,
        "joint": raft.membership.is_joint,
        "groups": groups,
        "nodes": nodes,
    }


def keyspaces(asker: Asker, _arguments: Mapping[str, Any]) -> Verb:
    """Answer with the keyspaces, as this node has applied them."""
    yield NOTHING
    return {"keyspaces": [_shown(number, made) for number, made in asker.configuration.keyspaces.values()]}


def make_keyspace(asker: Asker, arguments: Mapping[str, Any]) -> Verb:
    """Answer with the keyspace of a name, made if absent and `create`; whether the codecs fit is the asker's to see."""
    name = str(arguments["name"])
    asker.check_leads()
    found = asker.configuration.keyspaces.get(name)
    if found is None and not arguments.get("create", True):
        raise InvalidArgument(f"no keyspace {name!r}", hint="keyspaces() lists them; create=True makes one")
    if found is None:
        command = CreateKeyspace(name=name, key=str(arguments["key_codec"]), value=str(arguments["value_codec"]))
        try:
            yield from asker.command(encode(command))
        except CommandSays as says:
            # Somebody else was faster.
            if says.refusal != "keyspace-exists":
                raise
        found = asker.configuration.keyspaces[name]
    return _shown(*found)


def _shown(number: int, made: CreateKeyspace) -> dict[str, object]:
    return {"id": number, "name": made.name, "key_codec": made.key, "value_codec": made.value}
