"""Commands on the shard map, kept in the meta group's system keys: shards are made, split, moved, step by step.

Pure, and each touches the rows of the shards it names and no others. What is repeated, or comes late, is refused and
changes nothing: each step of a move names the epoch that it was decided on, each of a split what is under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from kvarts.base.canonical import pack_json
from kvarts.base.errors import InvalidArgument
from kvarts.raft.ids import NODE_NONE, NodeId
from kvarts.shardmap.map import broken_cover, initial
from kvarts.shardmap.partition import partition_of
from kvarts.shardmap.shard import (
    Epoch,
    KeyspaceId,
    Refusal,
    Shard,
    ShardId,
    ShardRefused,
    begin_move,
    begin_split,
    cancel_move,
    cancel_split,
    finish_move,
    finish_split,
    promote,
    raise_epoch,
    settle_move,
)
from kvarts.shardmap.space import BOUND_BYTES_MAX, HASH_VERSION, SHARDS_MAX, Space
from kvarts.statemachine.python_commands import CommandKind, Decision, UnreadableCommand
from kvarts.statemachine.rows import (
    DRAINING,
    KEYSPACE,
    LAST_SHARD,
    META_GROUP,
    NODE,
    SHARD_LIMIT,
    SPACE,
    Rows,
    next_version,
    numbered,
    shard_in,
    shard_row,
    space_in,
    under,
)
from kvarts.statemachine.vocabulary import ID_MAX, Vocabulary, is_id, is_name

REPLICAS_MAX = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateShards:
    """The first shards of a keyspace, cut at `bounds` (hexadecimal), kept by `voters`. Answers with the first id."""

    keyspace: KeyspaceId
    bounds: tuple[str, ...]
    voters: tuple[tuple[NodeId, ...], ...]
    ordered: bool = False
    partition: str = "whole"
    hash: int = HASH_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginSplit:
    """A shard is to be split at a bound (hexadecimal). Answers with the id of the upper half."""

    shard: ShardId
    epoch: Epoch
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishSplit:
    """The shard's group has split: both halves own what is theirs."""

    shard: ShardId
    child: ShardId


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSplit:
    """The shard's group has not split and will not. The id of the upper half is not used again."""

    shard: ShardId
    child: ShardId


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginMove:
    """A replica is to go from `source` to `target`: a learner first. 0: it is only added, or only taken away."""

    shard: ShardId
    epoch: Epoch
    source: NodeId
    target: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteMove:
    """The target has caught up and votes in the shard's group."""

    shard: ShardId
    epoch: Epoch
    target: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishMove:
    """The source has left the shard's group."""

    shard: ShardId
    epoch: Epoch
    source: NodeId
    target: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelMove:
    """The target has left the shard's group, or never came."""

    shard: ShardId
    epoch: Epoch
    source: NodeId
    target: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleMove:
    """Source and target both stay: to take the source away would lose the quorum, since another voter is gone."""

    shard: ShardId
    epoch: Epoch
    source: NodeId
    target: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseEpoch:
    """Whoever knows the shard by an older map must ask again."""

    shard: ShardId
    epoch: Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainNode:
    """A node is to be emptied, first towards `successor` if not 0, or no longer. `lost`: it is gone for good."""

    node: NodeId
    draining: bool = True
    successor: NodeId = NODE_NONE
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitShards:
    """Shards of a keyspace are split once they take more than `bytes` of a node's tables. 0: none are by themselves."""

    keyspace: KeyspaceId
    bytes: int


ShardStep = (
    BeginSplit | FinishSplit | CancelSplit | BeginMove | PromoteMove | FinishMove | CancelMove | SettleMove | RaiseEpoch
)
ShardCommand = CreateShards | DrainNode | LimitShards | ShardStep

COMMANDS: Mapping[str, type[ShardCommand]] = {
    "create-shards": CreateShards,
    "begin-split": BeginSplit,
    "finish-split": FinishSplit,
    "cancel-split": CancelSplit,
    "begin-move": BeginMove,
    "promote-move": PromoteMove,
    "finish-move": FinishMove,
    "cancel-move": CancelMove,
    "settle-move": SettleMove,
    "raise-epoch": RaiseEpoch,
    "drain-node": DrainNode,
    "limit-shards": LimitShards,
}


def encode(command: ShardCommand) -> bytes:
    """Return a command as it stands in the log. Raises UnreadableCommand if it could not be read there."""
    return _WORDS.encode(command)


def decode(record: Mapping[str, object]) -> ShardCommand:
    """Return the command of unpacked fields. Raises UnreadableCommand."""
    command = _WORDS.decode(record)
    if isinstance(command, CreateShards):
        _check_shape(command)
    return command


def decide(rows: Rows, record: Mapping[str, object]) -> Decision:
    """Return what a command comes to on these rows. Raises UnreadableCommand."""
    match decode(record):
        case CreateShards() as command:
            return _create(rows, command)
        case DrainNode() as command:
            return _drain(rows, command)
        case LimitShards(keyspace=keyspace, bytes=limit):
            return _limit(rows, keyspace, limit)
        case command:
            return _step(rows, command)


def _create(rows: Rows, command: CreateShards) -> Decision:
    if all(row["id"] != command.keyspace for _, row in under(rows, KEYSPACE)):
        return Decision(refusal="no-such-keyspace")
    if space_in(rows, command.keyspace) is not None:
        return Decision(refusal="shards-exist")
    missing = sorted({node for kept in command.voters for node in kept if numbered(NODE, node) not in rows})
    if missing:
        return Decision(refusal="no-such-node", value=missing[0])
    first = ShardId(_last_shard(rows) + 1)
    space, shards = _made(command, first)
    last = LAST_SHARD, b"%d" % shards[-1].id
    of_space = numbered(SPACE, command.keyspace), pack_json(space.options())
    return Decision((last, of_space, *map(shard_row, shards), next_version(rows)), value=first)


def _drain(rows: Rows, command: DrainNode) -> Decision:
    for node in (command.node, command.successor):
        if node and numbered(NODE, node) not in rows:
            return Decision(refusal="no-such-node", value=node)
    if command.node == command.successor:
        return Decision(refusal="its-own-successor")
    row = pack_json({"lost": command.lost, "successor": command.successor}) if command.draining else None
    return Decision(((numbered(DRAINING, command.node), row),))


def _limit(rows: Rows, keyspace: KeyspaceId, limit: int) -> Decision:
    if space_in(rows, keyspace) is None:
        return Decision(refusal="keyspace-without-shards")
    return Decision(((numbered(SHARD_LIMIT, keyspace), b"%d" % limit if limit else None),))


def _step(rows: Rows, command: ShardStep) -> Decision:
    """Take a step with one shard."""
    shard = shard_in(rows, command.shard)
    if shard is None:
        return Decision(refusal="no-such-shard")
    try:
        changed, value = _stepped(rows, shard, command)
    except ShardRefused as refused:
        return Decision(refusal=refused.refusal.value, value=refused.value)
    last = ((LAST_SHARD, b"%d" % value),) if value is not None else ()
    return Decision((*last, *map(shard_row, changed), next_version(rows)), value=value)


def _stepped(rows: Rows, shard: Shard, command: ShardStep) -> tuple[tuple[Shard, ...], int | None]:
    """Return what becomes of the shard, and the id that was given. Raises ShardRefused."""
    changed: tuple[Shard, ...]
    given: int | None = None
    match command:
        case BeginSplit(epoch=epoch, at=at):
            given = _last_shard(rows) + 1
            changed = (_split(rows, shard, bytes.fromhex(at), ShardId(given), epoch),)
        case FinishSplit(child=child):
            changed = finish_split(shard, child)
        case CancelSplit(child=child):
            changed = (cancel_split(shard, child),)
        case BeginMove(epoch=epoch, source=source, target=target):
            if target and numbered(NODE, target) not in rows:
                raise ShardRefused(Refusal.NO_NODE, target)
            changed = (begin_move(shard, source, target, epoch),)
        case PromoteMove(epoch=epoch, target=target):
            changed = (promote(shard, target, epoch),)
        case FinishMove(epoch=epoch, source=source, target=target):
            changed = (finish_move(shard, source, target, epoch),)
        case CancelMove(epoch=epoch, source=source, target=target):
            changed = (cancel_move(shard, source, target, epoch),)
        case SettleMove(epoch=epoch, source=source, target=target):
            changed = (settle_move(shard, source, target, epoch),)
        case RaiseEpoch(epoch=epoch):
            changed = (raise_epoch(shard, epoch),)
    return changed, given


def _split(rows: Rows, shard: Shard, at: bytes, child: ShardId, epoch: Epoch) -> Shard:
    begun = begin_split(shard, at, child, epoch)
    space = space_in(rows, shard.keyspace)
    if space is None or not space.is_bound(at):
        raise ShardRefused(Refusal.NOT_INSIDE)
    return begun


def _last_shard(rows: Rows) -> int:
    return int(rows.get(LAST_SHARD, b"%d" % META_GROUP))


def _made(command: CreateShards, first: ShardId) -> tuple[Space, list[Shard]]:
    space = Space(ordered=command.ordered, partition=partition_of(command.partition), hash=command.hash)
    bounds = [bytes.fromhex(each) for each in command.bounds]
    return space, initial(command.keyspace, space, bounds, command.voters, first)


def _check_shape(command: CreateShards) -> None:
    """Raises UnreadableCommand: what it asks for is no cover of a token space, whatever the rows say."""
    if len(command.voters) != len(command.bounds) + 1:
        raise UnreadableCommand(f"{len(command.voters)} shards do not lie between {len(command.bounds)} bounds")
    if any(lower >= upper for kept in command.voters for lower, upper in pairwise(kept)):
        raise UnreadableCommand("voters are nodes, each once, in order")
    try:
        space, shards = _made(command, ShardId(META_GROUP + 1))
    except InvalidArgument as error:
        raise UnreadableCommand(error.message) from None
    rule = broken_cover(space, shards)
    if rule is not None:
        raise UnreadableCommand(rule)


def _is_id_or_none(value: object) -> bool:
    return type(value) is int and 0 <= value <= ID_MAX


def _is_bound(value: object) -> bool:
    if not isinstance(value, str) or not 2 <= len(value) <= 2 * BOUND_BYTES_MAX:
        return False
    try:
        return bytes.fromhex(value).hex() == value
    except ValueError:
        return False


def _are_bounds(value: object) -> bool:
    return isinstance(value, list) and len(value) < SHARDS_MAX and all(map(_is_bound, value))


def _are_replicas(value: object) -> bool:
    if not isinstance(value, list) or len(value) > SHARDS_MAX:
        return False
    return all(isinstance(kept, list) and 1 <= len(kept) <= REPLICAS_MAX and all(map(is_id, kept)) for kept in value)


def _is_flag(value: object) -> bool:
    return type(value) is bool


_WORDS: Vocabulary[ShardCommand] = Vocabulary(
    CommandKind.SHARD_MAP,
    "shard map",
    COMMANDS,
    {
        "keyspace": is_id,
        "bounds": _are_bounds,
        "voters": _are_replicas,
        "ordered": _is_flag,
        "partition": is_name,
        "hash": is_id,
        "shard": is_id,
        "epoch": is_id,
        "at": _is_bound,
        "child": is_id,
        "source": _is_id_or_none,
        "target": _is_id_or_none,
        "node": is_id,
        "draining": _is_flag,
        "lost": _is_flag,
        "successor": _is_id_or_none,
        "bytes": _is_id_or_none,
    },
)
