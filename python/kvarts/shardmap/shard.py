"""One shard: its range, replicas and epoch, and what may become of it, step by step. Each step is a pure function.

The epoch of a key's owner never falls: it grows by one whenever the range or the voters of a shard change, and at the
end of every move. So what begins has an epoch of its own, and a step that comes late is known by the epoch it names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NewType

from kvarts.base.ids import NODE_NONE, NodeId

ShardId = NewType("ShardId", int)
"""A shard, and the Raft group of its replicas. Never reused."""

SHARD_NONE = ShardId(0)

KeyspaceId = NewType("KeyspaceId", int)

Epoch = NewType("Epoch", int)
"""Counts changes of range and voters, and ends of moves. A new shard has 1, a split's halves have one more."""

EPOCH_FIRST = Epoch(1)


class Refusal(Enum):
    """Why a shard does not take a step."""

    EPOCH_MOVED = "epoch-moved"
    """It is another shard by now than the one that was looked at."""
    BUSY = "shard-busy"
    """A split or a move is under way."""
    NOT_INSIDE = "bound-outside"
    """It cannot be split there: the bound is not strictly within, or is none of this space."""
    NO_SPLIT = "no-such-split"
    NO_MOVE = "no-such-move"
    """None is under way, or another one: what is repeated or late changes nothing."""
    NO_NODE = "no-such-node"
    ALREADY_REPLICA = "already-replica"
    NOT_REPLICA = "not-a-replica"
    LAST_REPLICA = "last-replica"
    NOT_PROMOTED = "target-not-promoted"
    """The newcomer does not vote yet: the old replica must stay."""
    PROMOTED = "target-promoted"


class ShardRefused(Exception):  # noqa: N818  # an answer, not a failure of this program
    """The step may not be taken; `value` is what stands in the way, where that is a number."""

    def __init__(self, refusal: Refusal, value: int | None = None) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal
        self.value = value


@dataclass(frozen=True, slots=True)
class Split:
    """A split under way: at `at` the shard `child` is to begin."""

    at: bytes
    child: ShardId


@dataclass(frozen=True, slots=True)
class Move:
    """A replica under way from `source` to `target`. Without a source it is added, without a target taken away.

    The target is a learner until it is `promoted`.
    """

    source: NodeId
    target: NodeId
    promoted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A range [start, stop) of a keyspace's tokens and who keeps it. Empty bounds are the ends of the space."""

    id: ShardId
    keyspace: KeyspaceId
    start: bytes
    stop: bytes
    epoch: Epoch
    voters: tuple[NodeId, ...]
    move: Move | None = None
    split: Split | None = None
    origin: ShardId = SHARD_NONE
    """The shard that it was split off, if it was."""

    @property
    def learner(self) -> NodeId:
        """The node that catches up before it votes, or NODE_NONE."""
        return self.move.target if self.move and not self.move.promoted else NODE_NONE

    @property
    def busy(self) -> bool:
        """True while a split or a move is under way."""
        return self.move is not None or self.split is not None

    def owns(self, token: bytes) -> bool:
        """Return whether a token lies in the range."""
        return self.start <= token and (not self.stop or token < self.stop)

    def broken_rule(self) -> str | None:
        """Return the rule that this shard breaks, if it breaks one."""
        if self.stop and self.start >= self.stop:
            return "a shard's range is not empty"
        if not self.voters or list(self.voters) != sorted(set(self.voters)) or min(self.voters) <= NODE_NONE:
            return "voters are nodes, each once, in order"
        if self.epoch < EPOCH_FIRST or self.id < 1 or self.keyspace < 1:
            return "ids and epochs count from one"
        if self.split and (self.move or self.split.at <= self.start or not self.owns(self.split.at)):
            return "a split lies strictly within the range, and no move is under way beside it"
        if self.move and not self._move_fits(self.move):
            return "a move takes a voter to a node that is none, until it is promoted"
        return None

    def _move_fits(self, move: Move) -> bool:
        if move.source == move.target or (move.source and move.source not in self.voters):
            return False
        if not move.target:
            return not move.promoted and len(self.voters) > 1
        return (move.target in self.voters) is move.promoted

    def __repr__(self) -> str:
        voters = ",".join(map(str, self.voters))
        under_way = f" {self.move}" if self.move else f" {self.split}" if self.split else ""
        bounds = f"{self.start.hex() or '…'}..{self.stop.hex() or '…'}"
        return f"<Shard s{self.id} of k{self.keyspace} {bounds} epoch={self.epoch} voters={voters}{under_way}>"


def begin_split(shard: Shard, at: bytes, child: ShardId, epoch: Epoch) -> Shard:
    """Intend to split at `at`: from there on `child` is to own the range. Raises ShardRefused."""
    _check(shard, epoch)
    if at <= shard.start or not shard.owns(at):
        raise ShardRefused(Refusal.NOT_INSIDE)
    return replace(shard, split=Split(at, child))


def finish_split(shard: Shard, child: ShardId) -> tuple[Shard, Shard]:
    """Return both halves, once the shard's own group has split. The lower one keeps the id. Raises ShardRefused."""
    split = _split(shard, child)
    epoch = Epoch(shard.epoch + 1)
    lower = replace(shard, stop=split.at, epoch=epoch, split=None)
    return lower, replace(shard, id=child, start=split.at, epoch=epoch, split=None, origin=shard.id)


def cancel_split(shard: Shard, child: ShardId) -> Shard:
    """Give up a split that the shard's group has not carried out. Raises ShardRefused."""
    _split(shard, child)
    return replace(shard, split=None)


def begin_move(shard: Shard, source: NodeId, target: NodeId, epoch: Epoch) -> Shard:
    """Intend to move a replica: the target is a learner from here on. Raises ShardRefused."""
    _check(shard, epoch)
    if source and source not in shard.voters:
        raise ShardRefused(Refusal.NOT_REPLICA, source)
    if target in shard.voters:
        raise ShardRefused(Refusal.ALREADY_REPLICA, target)
    if not target and (not source or len(shard.voters) == 1):
        raise ShardRefused(Refusal.LAST_REPLICA if source else Refusal.NO_MOVE)
    return replace(shard, move=Move(source, target))


def promote(shard: Shard, target: NodeId, epoch: Epoch) -> Shard:
    """Let the target vote, once it does in the shard's own group. Raises ShardRefused."""
    move = _move(shard, target, epoch)
    if move.promoted or not target:
        raise ShardRefused(Refusal.PROMOTED if target else Refusal.NO_MOVE)
    voters = tuple(sorted((*shard.voters, target)))
    return replace(shard, voters=voters, epoch=Epoch(shard.epoch + 1), move=replace(move, promoted=True))


def finish_move(shard: Shard, source: NodeId, target: NodeId, epoch: Epoch) -> Shard:
    """Take the source away: the move is done. Raises ShardRefused."""
    move = _move(shard, target, epoch)
    if move.source != source:
        raise ShardRefused(Refusal.NO_MOVE)
    if target and not move.promoted:
        raise ShardRefused(Refusal.NOT_PROMOTED, target)
    return _ended(shard, source)


def cancel_move(shard: Shard, source: NodeId, target: NodeId, epoch: Epoch) -> Shard:
    """Take the target away, promoted or not: the voters are those from before. Raises ShardRefused."""
    move = _move(shard, target, epoch)
    if move.source != source:
        raise ShardRefused(Refusal.NO_MOVE)
    return _ended(shard, target if move.promoted else NODE_NONE)


def settle_move(shard: Shard, source: NodeId, target: NodeId, epoch: Epoch) -> Shard:
    """Keep both source and target as voters: the move is done as far as it goes. Raises ShardRefused."""
    move = _move(shard, target, epoch)
    if move.source != source:
        raise ShardRefused(Refusal.NO_MOVE)
    if target and not move.promoted:
        raise ShardRefused(Refusal.NOT_PROMOTED, target)
    return _ended(shard, NODE_NONE)


def raise_epoch(shard: Shard, epoch: Epoch) -> Shard:
    """Make every map that is older than this one out of date for the shard. Raises ShardRefused."""
    if shard.epoch != epoch:
        raise ShardRefused(Refusal.EPOCH_MOVED, shard.epoch)
    if shard.split is not None:
        # The shard's log names the epoch that its halves will have.
        raise ShardRefused(Refusal.BUSY, shard.split.child)
    return replace(shard, epoch=Epoch(epoch + 1))


def _ended(shard: Shard, leaving: NodeId) -> Shard:
    """Return the shard after its move, without the node that leaves, if one does."""
    voters = tuple(each for each in shard.voters if each != leaving)
    return replace(shard, voters=voters, epoch=Epoch(shard.epoch + 1), move=None)


def _check(shard: Shard, epoch: Epoch) -> None:
    if shard.epoch != epoch:
        raise ShardRefused(Refusal.EPOCH_MOVED, shard.epoch)
    if shard.busy:
        raise ShardRefused(Refusal.BUSY, shard.split.child if shard.split else None)


def _split(shard: Shard, child: ShardId) -> Split:
    if shard.split is None or shard.split.child != child:
        raise ShardRefused(Refusal.NO_SPLIT)
    return shard.split


def _move(shard: Shard, target: NodeId, epoch: Epoch) -> Move:
    if shard.epoch != epoch:
        raise ShardRefused(Refusal.EPOCH_MOVED, shard.epoch)
    if shard.move is None or shard.move.target != target:
        raise ShardRefused(Refusal.NO_MOVE)
    return shard.move
