"""What a shard's own group has decided about the move that is under way.

A move has an end of its own only in the group's log: whoever leads the group next, and however old its map is, it finds
there what was decided, and decides nothing else. Two verdicts of one epoch have an order: the later one takes the place
of one that has not been carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kvarts.shardmap.shard import Epoch


class Ending(Enum):
    """What is to become of a move."""

    PROMOTE = "promote"
    """The target votes."""
    CANCEL = "cancel"
    """The target leaves."""
    FINISH = "finish"
    """The source leaves."""
    SETTLE = "settle"
    """Both stay."""


RANK = {Ending.PROMOTE: 0, Ending.CANCEL: 1, Ending.FINISH: 1, Ending.SETTLE: 2}
"""A promotion that cannot come about any more is cancelled; an end that would cost the quorum leaves both."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`epoch`: of the shard when it was decided, which no other move ever has."""

    epoch: Epoch
    ending: Ending

    def follows(self, earlier: Verdict | None) -> bool:
        """Return whether this may be decided after `earlier`."""
        if earlier is None or self.epoch != earlier.epoch:
            return earlier is None or self.epoch > earlier.epoch
        return RANK[self.ending] > RANK[earlier.ending]
