"""`check`: the door to both judges."""

import time
from collections.abc import Callable, Hashable, Iterable

from kvarts.testing.linearizability.list_append import ListAppend, judge
from kvarts.testing.linearizability.models import SequentialModel, of_interest
from kvarts.testing.linearizability.operations import Operation, checked
from kvarts.testing.linearizability.search import Budget, Search
from kvarts.testing.linearizability.timeline import Timeline, events_of
from kvarts.testing.linearizability.verdict import Counterexample, Outcome, Verdict
from kvarts.testing.linearizability.window import explain, refuted_near

STEPS_MAX = 1_000_000
PROBE_STEPS = 2_000


def check(
    operations: Iterable[Operation],
    model: SequentialModel | ListAppend,
    *,
    steps_max: int = STEPS_MAX,
    seconds_max: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Verdict:
    """Judge a history against a model.

    A hard history can need exponential time; the search ends with UNKNOWN after `steps_max` steps (about 20 us each;
    the same history always ends in the same way) or after `seconds_max`. Each part of the model gets an even share
    of the steps that are left; a step costs more the more operations are open at once: 500 puts of one key that all
    overlap take 3 s, and 2,000 end UNKNOWN after minutes. ListAppend needs no budget. Raises ValueError for a history
    that is malformed.
    """
    listed = checked(operations)
    if isinstance(model, ListAppend):
        return judge(listed, model)
    parts: dict[Hashable, list[Operation]] = {}
    for operation in of_interest(model, listed):
        parts.setdefault(model.key(operation), []).append(operation)
    deadline = None if seconds_max is None else clock() + seconds_max
    left, spent, undecided = steps_max, 0, False
    for number, (key, part) in enumerate(parts.items()):
        budget = Budget(left // (len(parts) - number), deadline, clock)
        outcome, counterexample = _check_part(key, part, model, budget)
        left, spent = left - budget.spent, spent + budget.spent
        if outcome is Outcome.NOT_LINEARIZABLE:
            return Verdict(outcome, spent, counterexample)
        undecided |= outcome is Outcome.UNKNOWN
    return Verdict(Outcome.UNKNOWN if undecided else Outcome.LINEARIZABLE, spent)


def _check_part(
    key: Hashable, operations: list[Operation], model: SequentialModel, budget: Budget
) -> tuple[Outcome, Counterexample | None]:
    events = events_of(operations)
    unknown = {index for index, operation in enumerate(operations) if operation.returned is None}
    timeline = Timeline(model, operations, events, unknown)
    search = Search(timeline, model.initial)
    probe = Budget(min(budget.steps_left, PROBE_STEPS + len(events)), None, lambda: 0.0)
    outcome = search.run(probe)
    more = budget.spend(probe.spent) and outcome is Outcome.UNKNOWN
    if more and model.knows_anything and refuted_near(timeline, search.deepest):
        # A whole history without an order is long to search; a piece that fails from every state is proof enough.
        outcome = Outcome.NOT_LINEARIZABLE
    elif more:
        outcome = search.run(budget)
    return outcome, explain(key, timeline) if outcome is Outcome.NOT_LINEARIZABLE else None
