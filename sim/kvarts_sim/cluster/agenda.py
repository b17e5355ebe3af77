"""Virtual time: what happens when. The clock jumps from one event to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable

MS = 1000
SECOND = 1000 * MS


class Agenda:
    """Events by time in microseconds; those of one moment happen in the order in which they were planned."""

    def __init__(self) -> None:
        self.now_us = 0
        self._count = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []

    def after(self, delay_us: int, action: Callable[[], None]) -> None:
        """Plan an action."""
        self._count += 1
        heapq.heappush(self._events, (self.now_us + max(0, delay_us), self._count, action))

    def step(self) -> bool:
        """Let the next event happen; return False if there is none."""
        if not self._events:
            return False
        self.now_us, _, action = heapq.heappop(self._events)
        action()
        return True
