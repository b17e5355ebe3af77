"""The search for an order of one part's operations.

After Wing & Gong 1993 ("Testing and verifying concurrent objects") with Lowe's improvements of 2017 ("Testing for
linearizability"): operations are placed just in time, when one of them returns, and configurations that were
visited are remembered. A configuration is a position in the row of events, a state, and for each pending operation
whether it is *done*, still *required* before its return, or *optional*: may take effect, need not.

Four observations keep the number of configurations small; each keeps the answer exact.

- A pending operation that reads what is there now can be placed now: it disturbs nobody.
- When an overwrite is placed, every other pending overwrite might have been placed right before it, unseen. It becomes
  optional.
- A configuration is as good as another, or better, at the same position and state if each operation that is done in
  it is done in the other, and each that is required in it is required in the other. If the better one has failed,
  the other need not be tried.
- A state that some operation still needs must not be left, nor its last source given up, if nothing can bring it back.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from kvarts.testing.linearizability.lookahead import Lookahead
from kvarts.testing.linearizability.models import ILLEGAL, Anything
from kvarts.testing.linearizability.timeline import Timeline
from kvarts.testing.linearizability.verdict import Outcome


class Budget:
    """Work that may still be done: `spend` returns False when it is used up.

    A step is a configuration, or 16 comparisons with remembered ones. The clock is looked at every 64 calls.
    """

    def __init__(self, steps: int, deadline: float | None, clock: Callable[[], float]) -> None:
        self.steps_left = steps
        self.spent = 0
        self._deadline = deadline
        self._clock = clock
        self._calls = 0

    def spend(self, steps: int) -> bool:
        """Take that many steps from the budget."""
        self.spent += steps
        self.steps_left -= steps
        self._calls += 1
        late = self._deadline is not None and self._calls % 64 == 1 and self._clock() > self._deadline
        if late:
            self.steps_left = -1
        return self.steps_left >= 0


class _Configuration(NamedTuple):
    position: int
    state: Any
    done: int
    required: int


class Search:
    """One depth-first search over a timeline.

    Without `foresight` a failed search gets as far as it can: `deepest` and `states` then tell where it ended.
    """

    def __init__(self, timeline: Timeline, state: Any, *, foresight: bool = True) -> None:
        self._line = timeline
        self._ahead = Lookahead(timeline) if foresight else None
        self._start = state
        self._stack: list[_Configuration] = []
        self._visited: dict[tuple[int, Any], list[tuple[int, int]]] = {}
        self.deepest = -1
        """Furthest position reached: that of the return that no configuration gets past."""
        self.states: dict[Any, None] = {}
        """States in which it was reached."""

    def run(self, budget: Budget) -> Outcome:
        """Search until an order is found, there is none, or the budget is spent; then it may be called again."""
        end = len(self._line.events)
        stack = self._stack
        if not self._visited and not stack:
            if self._ahead is not None and not isinstance(self._start, Anything) and self._ahead.hopeless(self._start):
                return Outcome.NOT_LINEARIZABLE
            stack.append(self._advance(_Configuration(0, self._start, 0, 0)))
        while stack:
            here = stack.pop()
            if here.position == end:
                return Outcome.LINEARIZABLE
            failed = self._visited.setdefault((here.position, here.state), [])
            if not budget.spend(1 + (len(failed) >> 4)):
                stack.append(here)
                return Outcome.UNKNOWN
            if any(not done & ~here.done and not required & ~here.required for done, required in failed):
                continue
            failed.append((here.done, here.required))
            self._note(here)
            stack.extend(self._next(here))
        return Outcome.NOT_LINEARIZABLE

    def _note(self, here: _Configuration) -> None:
        if here.position > self.deepest:
            self.deepest = here.position
            self.states = {}
        if here.position == self.deepest:
            self.states[here.state] = None

    def _advance(self, here: _Configuration) -> _Configuration:
        """Go on to the next return of an operation that is not done: there is something to decide."""
        line = self._line
        position, state, done, required = here
        events, end = line.events, len(line.events)
        while position < end:
            index, bit = events[position].index, line.bits[events[position].index]
            if events[position].is_return:
                if not done & bit:
                    break
                done ^= bit
            elif index not in line.optional:
                if line.reads[index] and self._fits_now(index, state, position, done):
                    done |= bit
                else:
                    required |= bit
            position += 1
        return _Configuration(position, state, done, required)

    def _fits_now(self, index: int, state: Any, position: int, done: int) -> bool:
        before = self._line.tie[index]
        if before is not None and self._line.return_position[before] >= position and not done & self._line.bits[before]:
            return False
        # A read of Anything changes the state: it makes it known.
        return bool(self._line.model.step(state, self._line.operations[index]) == state)

    def _next(self, here: _Configuration) -> list[_Configuration]:
        """Return the configurations that follow, the most promising last."""
        line = self._line
        returning = line.events[here.position].index
        bit = line.bits[returning]
        direct, detours = [], []
        for index in self._candidates(here):
            after = self._place(here, index)
            if after is None:
                continue
            if after.done & bit:
                direct.append(self._advance(after))
            else:
                detours.append(after)
        if not here.required & bit:
            dropped = here._replace(done=here.done | bit)
            given_up = line.model.leaves(line.operations[returning])
            if not any(state != here.state and self._loses(dropped, here.state, state) for state in given_up):
                direct.append(self._advance(dropped))
        return detours[::-1] + direct

    def _loses(self, after: _Configuration, before: Any, state: Any) -> bool:
        """Tell whether the state is needed later and gone for good. What was Anything may have been that state."""
        if self._ahead is None or isinstance(before, Anything):
            return False
        return self._ahead.lost(state, after.position, after.done)

    def _candidates(self, here: _Configuration) -> Iterator[int]:
        line = self._line
        for index in line.pending[here.position]:
            if not here.done & line.bits[index]:
                yield index
        # Of lingering operations with one request any will do; always taking the first keeps configurations few.
        asked = set()
        for index in line.lingering[: line.lingering_count[here.position]]:
            alike = line.alike[index]
            if not here.done & line.bits[index] and alike not in asked:
                if line.tie[index] is None:
                    asked.add(alike)
                yield index

    def _place(self, here: _Configuration, index: int) -> _Configuration | None:
        """Let the operation take effect, and every pending read that fits then; None if it cannot."""
        line = self._line
        state = line.model.step(here.state, line.operations[index])
        bit = line.bits[index]
        if state is ILLEGAL or (state == here.state and not here.required & bit):
            return None
        done, required = here.done | bit, here.required & ~bit
        # Former operations of the client that have not returned yet, in this very moment: their chance ends.
        before = line.tie[index]
        while before is not None and line.return_position[before] >= here.position:
            if required & line.bits[before]:
                return None
            done |= line.bits[before]
            before = line.tie[before]
        if line.overwrites[index]:
            required &= ~line.overwriting[here.position]
        for other in line.pending[here.position]:
            waiting = line.reads[other] and required & line.bits[other]
            if waiting and self._fits_now(other, state, here.position, done):
                done |= line.bits[other]
                required &= ~line.bits[other]
        after = _Configuration(here.position, state, done, required)
        return None if state != here.state and self._loses(after, here.state, here.state) else after
