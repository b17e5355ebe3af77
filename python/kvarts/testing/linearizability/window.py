"""Cuts a failed history down to what a person has to read."""

from collections.abc import Hashable
from typing import Any

from kvarts.testing.linearizability.models import Anything
from kvarts.testing.linearizability.operations import Operation
from kvarts.testing.linearizability.search import Budget, Search
from kvarts.testing.linearizability.timeline import Event, Timeline
from kvarts.testing.linearizability.verdict import Counterexample, Outcome

EVENTS_THINNED_MAX = 400
PROBED_EVENTS = (32, 128, 512)
WINDOW_STEPS_MAX = 10_000
"""Budget of each try to shorten the window; a try that runs out leaves the window longer."""


def explain(key: Hashable, timeline: Timeline) -> Counterexample:
    """Return the counterexample of a timeline that has no order."""
    operations, stuck_at = timeline.operations, _stuck_at(timeline)
    returned = [event.index for event in timeline.events[:stuck_at] if event.is_return]
    window = _shortest(timeline, stuck_at) if timeline.model.knows_anything else None
    events, optional = _events_after(timeline, 0, stuck_at) if window is None else window
    state = timeline.model.initial if window is None else Anything()
    indices = dict.fromkeys(event.index for event in _without_reads(timeline, events, optional, state))
    return Counterexample(
        key=key,
        stuck=operations[timeline.events[stuck_at].index],
        prefix=tuple(operations[index] for index in returned),
        window=tuple(sorted((operations[index] for index in indices), key=_by_time)),
        states=_states_before(timeline, stuck_at),
        from_start=window is None,
    )


def _by_time(operation: Operation) -> tuple[bool, float, float]:
    never = operation.returned is None
    return (not never, operation.invoked if never else operation.returned or 0, operation.invoked)


def refuted_near(timeline: Timeline, position: int) -> bool:
    """Tell whether a piece around the position fails from every state; such a piece proves that there is no order."""
    for size in PROBED_EVENTS:
        if _fails(timeline, *_events_after(timeline, max(0, position - size), position + size), Anything()):
            return True
        if position - size <= 0:
            break
    return False


def _stuck_at(timeline: Timeline) -> int:
    """Return the position of the first return up to which no order is found; by halving."""
    returns = [position for position, event in enumerate(timeline.events) if event.is_return]
    low, high = 0, len(returns) - 1
    while low < high:
        middle = (low + high) // 2
        tried = _events_after(timeline, 0, returns[middle])
        if _outcome(timeline, *tried, timeline.model.initial) is Outcome.LINEARIZABLE:
            low = middle + 1
        else:
            high = middle
    return returns[low]


def _states_before(timeline: Timeline, stuck_at: int) -> tuple[Any, ...]:
    """Return the states in which the stuck return was reached; empty if there are too many ways to reach it."""
    events, optional = _events_after(timeline, 0, stuck_at)
    line = Timeline(timeline.model, timeline.operations, events, optional)
    search = Search(line, timeline.model.initial, foresight=False)
    failed = search.run(_budget(events)) is Outcome.NOT_LINEARIZABLE
    return tuple(search.states) if failed else ()


def _shortest(timeline: Timeline, stuck_at: int) -> tuple[list[Event], set[int]] | None:
    """Return events and optional operations of the latest cut from which no state leads past the stuck return.

    None if there is none. A later cut allows whatever an earlier one allows. Longer and longer pieces are tried until
    one fails, then the latest cut is found by halving.
    """
    cuts = [0, *(position + 1 for position in range(stuck_at) if timeline.events[position].is_return)]
    low, length = len(cuts) - 1, 1
    best = _events_after(timeline, cuts[low], stuck_at)
    while not _fails(timeline, *best, Anything()):
        if low == 0:
            return None
        length *= 2
        low = max(0, len(cuts) - length)
        best = _events_after(timeline, cuts[low], stuck_at)
    high = len(cuts) - (length // 2 if length > 1 else 0)
    while high - low > 1:
        middle = (low + high) // 2
        tried = _events_after(timeline, cuts[middle], stuck_at)
        if _fails(timeline, *tried, Anything()):
            best, low = tried, middle
        else:
            high = middle
    return best


def _budget(events: list[Event]) -> Budget:
    return Budget(WINDOW_STEPS_MAX + len(events), None, lambda: 0.0)


def _outcome(timeline: Timeline, events: list[Event], optional: set[int], state: Any) -> Outcome:
    numbers = {index: number for number, index in enumerate(sorted({event.index for event in events}))}
    renumbered = [Event(numbers[event.index], event.is_return) for event in events]
    operations = [timeline.operations[index] for index in numbers]
    line = Timeline(timeline.model, operations, renumbered, {numbers[index] for index in optional if index in numbers})
    return Search(line, state).run(_budget(events))


def _fails(timeline: Timeline, events: list[Event], optional: set[int], state: Any) -> bool:
    return _outcome(timeline, events, optional, state) is Outcome.NOT_LINEARIZABLE


def _without_reads(timeline: Timeline, events: list[Event], optional: set[int], state: Any) -> list[Event]:
    """Return the events without the reads that the failure does not need: leaving out a read only allows more."""
    reads = dict.fromkeys(event.index for event in events if timeline.reads[event.index])
    for index in reads if len(events) <= EVENTS_THINNED_MAX else ():
        fewer = [event for event in events if event.index != index]
        if _fails(timeline, fewer, optional, state):
            events = fewer
    return events


def _events_after(timeline: Timeline, cut: int, stuck_at: int) -> tuple[list[Event], set[int]]:
    """Return events from a cut to the stuck return, and which operations are optional in them.

    Optional are those that were pending at the cut, since they may have taken effect before it, and those that have
    not returned at the end. Reads among them say nothing and are left out.
    """
    invoked_before = {event.index for event in timeline.events[:cut] if not event.is_return}
    kept = timeline.events[cut : stuck_at + 1]
    gone = {event.index for event in timeline.events[:cut] if event.is_return}
    straddling = invoked_before - gone
    ended = {event.index for event in kept if event.is_return}
    invoked = straddling | {event.index for event in kept if not event.is_return}
    optional = straddling | (invoked - ended)
    dropped = {index for index in optional if timeline.reads[index]}
    begun = [Event(index, False) for index in sorted(straddling)]
    events = [event for event in [*begun, *kept] if event.index not in dropped]
    return events, optional - dropped
