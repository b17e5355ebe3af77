"""Cuts a failed history down to what a person has to read."""

import time
from collections.abc import Hashable
from typing import Any

from kvarts.testing.linearizability.models import Anything
from kvarts.testing.linearizability.operations import Operation
from kvarts.testing.linearizability.search import Budget, Search
from kvarts.testing.linearizability.timeline import Event, Timeline
from kvarts.testing.linearizability.verdict import Counterexample, Outcome

READS_TRIED_MAX = 100
WINDOW_STEPS_MAX = 20_000
"""Budget of each try to shorten the window; a try that runs out leaves the window longer."""


def explain(key: Hashable, timeline: Timeline, search: Search) -> Counterexample:
    """Return the counterexample at which the search ended."""
    operations, stuck_at = timeline.operations, search.deepest
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
        states=tuple(search.states),
        from_start=window is None,
    )


def _by_time(operation: Operation) -> tuple[bool, float, float]:
    never = operation.returned is None
    return (not never, operation.invoked if never else operation.returned or 0, operation.invoked)


def _shortest(timeline: Timeline, stuck_at: int) -> tuple[list[Event], set[int]] | None:
    """Return events and optional operations of the latest cut from which no state leads past the stuck return.

    None if there is none. A later cut allows whatever an earlier one allows, so the latest is found by halving.
    """
    cuts = [0, *(position + 1 for position in range(stuck_at) if timeline.events[position].is_return)]
    best, low, high = None, 0, len(cuts) - 1
    while low <= high:
        middle = (low + high) // 2
        tried = _events_after(timeline, cuts[middle], stuck_at)
        if _fails(timeline, *tried, Anything()):
            best, low = tried, middle + 1
        else:
            high = middle - 1
    return best


def _fails(timeline: Timeline, events: list[Event], optional: set[int], state: Any) -> bool:
    line = Timeline(timeline.model, timeline.operations, events, optional)
    return Search(line, state, Budget(WINDOW_STEPS_MAX, None, time.monotonic)).run() is Outcome.NOT_LINEARIZABLE


def _without_reads(timeline: Timeline, events: list[Event], optional: set[int], state: Any) -> list[Event]:
    """Return the events without the reads that the failure does not need: leaving out a read only allows more."""
    reads = dict.fromkeys(event.index for event in events if timeline.reads[event.index])
    for index in list(reads)[:READS_TRIED_MAX]:
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
