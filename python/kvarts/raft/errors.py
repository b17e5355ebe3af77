# ruff: noqa: N818  # the names say what is wrong, as in kvarts.base.errors
"""Errors of the core, and the check that stays alive under `python -O`."""

from __future__ import annotations

from enum import Enum


class RaftError(Exception):
    """Base of what the core raises for its caller to handle."""


class ProposalDropped(RaftError):
    """The proposal was not taken: no leader, a transfer under way, removed from the group, or too much uncommitted."""


class Busy(ProposalDropped):
    """Too much is uncommitted: this leader will take proposals again."""


class UnknownPeer(RaftError):
    """A response came from a node that is not, or no longer, a member."""


class Compacted(RaftError):
    """The entries asked for have been compacted away; a snapshot covers them."""


class Refusal(Enum):
    """Why a change of membership was refused."""

    ALREADY_JOINT = "a change is already under way"
    NOT_JOINT = "no change is under way"
    SIMPLE_WHILE_JOINT = "only leaving is possible while a change is under way"
    NO_VOTERS = "the change would leave no voter"
    JOINT_WITHOUT_VOTERS = "there is no voter to start from"
    TWO_VOTERS_AT_ONCE = "two voters at once need joint consensus"


class ConfigChangeRefused(RaftError):
    """The change would break a rule of membership; nothing was changed."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


class InvariantBroken(AssertionError):
    """Raft's own rules were broken: a bug here or a store that lost what it acknowledged. The node must stop."""


def invariant(holds: bool, *context: object) -> None:
    """Raise InvariantBroken with `context` unless `holds`."""
    if not holds:
        raise InvariantBroken(*context)
