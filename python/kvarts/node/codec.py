"""Memberships and changes of membership as bytes: in the log, in snapshots and beside the applied position.

Canonical JSON, so that equal values are equal bytes on every node.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from kvarts.raft.confchange import ChangeKind, ConfigChange, NodeChange, Transition
from kvarts.raft.ids import NodeId
from kvarts.raft.membership import Membership
from kvarts.raft.quorum import JointConfig, MajorityConfig


class UnreadableMembership(ValueError):  # noqa: N818  # says what is wrong, as in kvarts.base.errors
    """Bytes that are no membership, or no change of one: whoever meets them in the log must stop."""


def encode_membership(membership: Membership) -> bytes:
    """Return the one encoding of a membership."""
    halves = membership.voters
    fields: dict[str, object] = {
        "voters": sorted(halves.incoming.voters),
        "outgoing": sorted(halves.outgoing.voters),
        "learners": sorted(membership.learners),
        "learners_next": sorted(membership.learners_next),
        "auto_leave": membership.auto_leave,
    }
    return _pack(fields)


def decode_membership(data: bytes) -> Membership:
    """Return a membership; of no bytes the empty one. Raises UnreadableMembership."""
    if not data:
        return Membership()
    fields = _unpack(data)
    try:
        voters = JointConfig(MajorityConfig(_nodes(fields["voters"])), MajorityConfig(_nodes(fields["outgoing"])))
        membership = Membership(
            voters, _nodes(fields["learners"]), _nodes(fields["learners_next"]), bool(fields["auto_leave"])
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableMembership(f"no membership: {error!r}") from None
    broken = membership.broken_rule()
    if broken is not None:
        raise UnreadableMembership(broken)
    return membership


def encode_change(change: ConfigChange) -> bytes:
    """Return a change of membership as it stands in the log. Its context is not kept: it belongs to the proposer."""
    return _pack({"changes": [str(each) for each in change.changes], "transition": change.transition.value})


def decode_change(data: bytes) -> ConfigChange:
    """Return a change of membership. Raises UnreadableMembership."""
    fields = _unpack(data)
    try:
        changes = tuple(NodeChange(ChangeKind(text[0]), NodeId(int(text[1:]))) for text in fields["changes"])
        return ConfigChange(changes, Transition(fields["transition"]))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UnreadableMembership(f"no change of membership: {error!r}") from None


def _nodes(ids: Iterable[int]) -> frozenset[NodeId]:
    return frozenset(NodeId(int(each)) for each in ids)


def _pack(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _unpack(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UnreadableMembership(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise UnreadableMembership("not a JSON object")
    return fields
