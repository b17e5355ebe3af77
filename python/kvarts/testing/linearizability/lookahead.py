"""Sees early that a state which is still needed cannot come back. Cuts branches only; never decides alone."""

from bisect import bisect_left
from collections.abc import Hashable
from itertools import chain

from kvarts.testing.linearizability.timeline import Timeline


class Lookahead:
    """For each state: the operations that need it, and those that may bring it about."""

    def __init__(self, timeline: Timeline) -> None:
        self._line = timeline
        self._needs: dict[Hashable, list[int]] = {}
        self._leaves = {
            event.index: timeline.model.leaves(timeline.operations[event.index]) for event in timeline.events
        }
        self._source_positions: dict[Hashable, list[int]] = {}
        self._lingering: dict[Hashable, list[int]] = {}
        never = len(timeline.events)
        for position, event in enumerate(timeline.events):
            operation = timeline.operations[event.index]
            if event.is_return and event.index not in timeline.optional:
                for state in timeline.model.needs(operation):
                    self._needs.setdefault(state, []).append(event.index)
            if not event.is_return:
                for state in self._leaves[event.index]:
                    self._source_positions.setdefault(state, []).append(position)
                    if timeline.return_position[event.index] == never:
                        self._lingering.setdefault(state, []).append(event.index)

    def hopeless(self, start: Hashable) -> bool:
        """Tell whether an operation needs a state that is neither at the start nor brought about in time."""
        return any(state != start and self.lost(state, 0, 0) for state in self._needs)

    def lost(self, state: Hashable, position: int, done: int) -> bool:
        """Tell whether an operation still needs the state, which is not there now, and nothing can bring it back.

        `position` is that of a return, `done` the bits of the pending operations that have taken effect.
        """
        line = self._line
        need = self._next_need(state, position, done)
        if need is None:
            return False
        invoked = self._source_positions.get(state, [])
        if bisect_left(invoked, line.return_position[need]) > bisect_left(invoked, position):
            return False
        pending = (index for index in line.pending.get(position, ()) if state in self._leaves[index])
        lingering = (index for index in self._lingering.get(state, ()) if line.invoked_position[index] < position)
        return not any(not done & line.bits[index] for index in chain(pending, lingering))

    def _next_need(self, state: Hashable, position: int, done: int) -> int | None:
        """Return the first to return of those that need the state and have not taken effect."""
        line = self._line
        needs = self._needs.get(state, [])
        for place in range(bisect_left(needs, position, key=line.return_position.__getitem__), len(needs)):
            index = needs[place]
            if line.invoked_position[index] > position or not done & line.bits[index]:
                return index
        return None
