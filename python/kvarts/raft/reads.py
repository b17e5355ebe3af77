"""Heartbeat rounds of a leader, the reads that wait for one, and the lease that a round gives.

A round is one heartbeat to everyone. When a quorum has answered round n, the leader was still the leader when round n
was sent: reads asked for before may be served, and no other leader can arise until an election timeout after that.
Source: Raft thesis 6.4.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from kvarts.raft.ids import LogIndex, NodeId


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A linearizable read that waits; `asker` is the node whose client asked."""

    asker: NodeId
    context: object


class Reads:
    """What a leader keeps for reads during one term. Nothing of it survives the term."""

    __slots__ = ("acked", "confirmed_tick", "lease_void", "parked", "round", "round_wanted", "sent_ticks", "waiting")

    def __init__(self, round_number: int = 0) -> None:
        self.round = round_number
        """Round sent last. Rounds go on counting from one term to the next."""
        self.acked: dict[NodeId, int] = {}
        self.sent_ticks: deque[tuple[int, int]] = deque()
        """Rounds not yet confirmed and when they were sent; filled only where leases are used."""
        self.confirmed_tick: int | None = None
        """When the latest confirmed round was sent."""
        self.lease_void = False
        """No lease for the rest of the term: another node was told to take over and may do so at any time."""
        self.waiting: deque[tuple[int, LogIndex, ReadRequest]] = deque()
        self.parked: list[ReadRequest] = []
        """Reads asked for before an entry of this term was committed: until then the commit index may be old."""
        self.round_wanted = False

    def add(self, request: ReadRequest, index: LogIndex) -> None:
        """Let a read of everything up to `index` wait for the next round."""
        self.waiting.append((self.round + 1, index, request))
        self.round_wanted = True

    def begin_round(self, leader: NodeId, tick: int, *, keep_tick: bool) -> int:
        """Count a heartbeat that is sent to everyone at `tick`; return its number."""
        self.round += 1
        self.round_wanted = False
        self.acked[leader] = self.round
        if keep_tick:
            self.sent_ticks.append((self.round, tick))
        return self.round

    def answer(self, node: NodeId, round_number: int) -> None:
        """Note that `node` answered a round."""
        self.acked[node] = max(self.acked.get(node, 0), round_number)

    def confirm(self, round_number: int) -> list[tuple[LogIndex, ReadRequest]]:
        """Note that a quorum answered `round_number`; return the reads that may be served."""
        while self.sent_ticks and self.sent_ticks[0][0] <= round_number:
            self.confirmed_tick = self.sent_ticks.popleft()[1]
        served = []
        while self.waiting and self.waiting[0][0] <= round_number:
            _, index, request = self.waiting.popleft()
            served.append((index, request))
        return served

    def forget_lease(self) -> None:
        """Give the lease up until a round sent from now on is confirmed."""
        self.sent_ticks.clear()
        self.confirmed_tick = None

    def abandoned(self) -> list[ReadRequest]:
        """Return the reads that this term will not answer."""
        return [*self.parked, *(request for _, _, request in self.waiting)]
