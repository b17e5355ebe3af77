"""The command by which a shard's own log splits the shard, and the row that says what is the shard's own since then.

A shard that never was split has no such row: all that comes to it is its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from kvarts.base.canonical import pack_json
from kvarts.base.errors import InvalidArgument
from kvarts.shardmap.partition import partition_of
from kvarts.shardmap.shard import Epoch, KeyspaceId, Refusal, ShardId
from kvarts.shardmap.space import BOUND_BYTES_MAX, Space
from kvarts.statemachine.python_commands import CommandKind, Decision, Founding, UnreadableCommand
from kvarts.statemachine.rows import Rows
from kvarts.statemachine.vocabulary import Vocabulary, is_id, is_name

RANGE = b"config/range"
ALREADY_SPLIT = "already-split"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitShard:
    """The shard ends at `at` from here on; what is behind it, up to `stop`, is the group `child`'s, founded here.

    `start` and `stop`: the shard's range before; bounds are hexadecimal. `epoch`: the one that both halves will have.
    Refused where the shard's range is another by now, or the child has been split off already.
    """

    keyspace: KeyspaceId
    ordered: bool
    partition: str
    hash: int
    start: str
    at: str
    stop: str
    epoch: Epoch
    child: ShardId


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Which tokens are a shard's own. `epoch`: the one it had, or was to have, when that came to be so.

    `children`: the groups that were split off it, in their order.
    """

    keyspace: KeyspaceId
    space: Space
    start: bytes
    stop: bytes
    epoch: Epoch
    children: tuple[ShardId, ...] = ()

    def owns(self, key: bytes) -> bool:
        """Return whether a key is the shard's own."""
        token = self.space.token(key)
        return self.start <= token and (not self.stop or token < self.stop)

    def row(self) -> bytes:
        """Return the range as it is stored."""
        space = self.space
        return pack_json(
            {
                "keyspace": self.keyspace,
                "ordered": space.ordered,
                "partition": space.partition.text,
                "hash": space.hash,
                "start": self.start.hex(),
                "stop": self.stop.hex(),
                "epoch": self.epoch,
                "children": list(self.children),
            }
        )


def range_in(rows: Rows) -> Range | None:
    """Return what is a shard's own, if it was split or is a half."""
    row = rows.get(RANGE)
    if row is None:
        return None
    said = json.loads(row)
    return Range(
        keyspace=said["keyspace"],
        space=_space(said["ordered"], said["partition"], said["hash"]),
        start=bytes.fromhex(said["start"]),
        stop=bytes.fromhex(said["stop"]),
        epoch=said["epoch"],
        children=tuple(said["children"]),
    )


def has_split(rows: Rows, child: ShardId) -> bool:
    """Return whether a shard's log has split a child off."""
    own = range_in(rows)
    return own is not None and child in own.children


def encode(command: SplitShard) -> bytes:
    """Return a command as it stands in the log. Raises UnreadableCommand if it could not be read there."""
    return _WORDS.encode(command)


def decode(record: Mapping[str, object]) -> SplitShard:
    """Return the command of unpacked fields. Raises UnreadableCommand."""
    command = _WORDS.decode(record)
    try:
        space = _space(command.ordered, command.partition, command.hash)
    except InvalidArgument as error:
        raise UnreadableCommand(error.message) from None
    if not space.is_bound(bytes.fromhex(command.at)):
        raise UnreadableCommand(f"{command.at} is no bound of this space")
    return command


def decide(rows: Rows, record: Mapping[str, object]) -> Decision:
    """Return what a split comes to on the rows of the shard. Raises UnreadableCommand."""
    command = decode(record)
    before = range_in(rows) or _whole(command)
    if command.child in before.children:
        return Decision(refusal=ALREADY_SPLIT, value=command.child)
    at = bytes.fromhex(command.at)
    if _bounds(before) != _bounds(_whole(command)) or at <= before.start or (before.stop and at >= before.stop):
        return Decision(refusal=Refusal.NOT_INSIDE.value)
    epoch, space = command.epoch, before.space
    children = (*before.children, command.child)
    lower = Range(keyspace=before.keyspace, space=space, start=before.start, stop=at, epoch=epoch, children=children)
    upper = Range(keyspace=before.keyspace, space=space, start=at, stop=before.stop, epoch=epoch)
    founding = Founding(command.child, ((RANGE, upper.row()),))
    return Decision(((RANGE, lower.row()),), value=command.child, founding=founding)


def _whole(command: SplitShard) -> Range:
    return Range(
        keyspace=command.keyspace,
        space=_space(command.ordered, command.partition, command.hash),
        start=bytes.fromhex(command.start),
        stop=bytes.fromhex(command.stop),
        epoch=command.epoch,
    )


def _bounds(own: Range) -> tuple[KeyspaceId, Space, bytes, bytes]:
    return own.keyspace, own.space, own.start, own.stop


def _space(ordered: bool, partition: str, version: int) -> Space:
    return Space(ordered=ordered, partition=partition_of(partition), hash=version)


def _is_bound(value: object) -> bool:
    """Whether this is a bound, or the empty one of an end of the space."""
    if not isinstance(value, str) or len(value) > 2 * BOUND_BYTES_MAX:
        return False
    try:
        return bytes.fromhex(value).hex() == value
    except ValueError:
        return False


_WORDS: Vocabulary[SplitShard] = Vocabulary(
    CommandKind.SHARD_RANGE,
    "shard",
    {"split-shard": SplitShard},
    {
        "keyspace": is_id,
        "ordered": lambda value: type(value) is bool,
        "partition": is_name,
        "hash": is_id,
        "start": _is_bound,
        "at": _is_bound,
        "stop": _is_bound,
        "epoch": is_id,
        "child": is_id,
    },
)
