"""Register and Map: histories made by hand, made by a machine, spoiled, and tiny ones tried by force."""

import random
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import pytest

from kvarts.testing.linearizability import ABORTED, ILLEGAL, Map, Operation, Outcome, Register, SequentialModel, check
from tests.unit.python.testing.histories import Request, cell, has_order, register_request, run, spoil_cell

R, W = ("read",), "write"


def op(client: int, invoked: float, returned: float | None, request: Request, output: Any = None) -> Operation:
    return Operation(client, invoked, returned, request, output)


@pytest.mark.parametrize(
    "history",
    [
        [],
        [op(1, 0, 1, R, None)],
        [op(1, 0, 1, (W, 1)), op(2, 2, 3, R, 1)],
        [op(1, 0, 5, (W, 1)), op(2, 1, 2, R, 1), op(3, 1, 2, R, None)],
        [op(1, 0, 9, (W, 1)), op(1 + 1, 0, 9, (W, 2)), op(3, 1, 2, R, 1), op(3, 3, 4, R, 2)],
        [op(1, 0, None, (W, 1)), op(2, 50, 51, R, None), op(2, 52, 53, R, 1)],
        [op(1, 0, None, ("cas", None, 1)), op(2, 1, 2, R, 1)],
        [op(1, 0, 1, ("cas", 1, 2), False), op(1, 2, 3, (W, 1)), op(2, 4, 5, ("cas", 1, 2), True)],
        [op(1, 0, 1, (W, 1), ABORTED), op(2, 2, 3, R, None)],
        [op(1, 0, 5, (W, 1)), op(2, 5, 6, R, None)],
    ],
    ids=["empty", "initial", "sequential", "concurrent", "two", "late", "cas-lost", "cas", "aborted", "equal-moments"],
)
def test_a_history_with_an_order_is_linearizable(history: list[Operation]) -> None:
    assert check(history, Register()).outcome is Outcome.LINEARIZABLE


@pytest.mark.parametrize(
    ("history", "stuck"),
    [
        ([op(1, 0, 1, (W, 1)), op(2, 2, 3, R, None)], 1),
        ([op(1, 0, 1, (W, 1)), op(1, 2, 3, (W, 2)), op(2, 4, 5, R, 1)], 2),
        ([op(1, 0, 9, (W, 1)), op(2, 1, 2, R, 1), op(3, 3, 4, R, None)], 2),
        ([op(1, 0, 1, R, 7)], 0),
        ([op(1, 0, 1, ("cas", None, 1), True), op(2, 0, 2, ("cas", None, 2), True)], 1),
        ([op(1, 0, 1, (W, 1)), op(2, 2, 3, ("cas", 1, 2), False)], 1),
        ([op(1, 0, None, (W, 1)), op(2, 1, 2, R, 1), op(2, 3, 4, R, None)], 2),
        ([op(1, 0, 1, (W, 1), ABORTED), op(2, 2, 3, R, 1)], 1),
        ([op(1, 0, 5, (W, 1)), op(1, 5, 6, R, None)], 1),
        ([op(1, 0, None, (W, 1)), op(2, 1, 2, R, 1), op(2, 3, 4, (W, 2)), op(3, 5, 6, R, 2), op(3, 7, 8, R, 1)], 4),
    ],
    ids=["stale", "overwritten", "back", "nobody", "two-cas", "refused", "undone", "aborted", "own", "twice"],
)
def test_a_history_without_an_order_names_the_operation_that_has_no_place(history: list[Operation], stuck: int) -> None:
    verdict = check(history, Register())
    assert verdict.outcome is Outcome.NOT_LINEARIZABLE
    assert verdict.counterexample is not None
    assert verdict.counterexample.stuck is history[stuck]


def test_counterexample_shows_the_shortest_window() -> None:
    early = [op(1, 10 * n, 10 * n + 5, (W, n)) for n in range(50)]
    last = [op(1, 900, 905, (W, 1)), op(2, 910, 915, (W, 2)), op(3, 920, 925, R, 1)]
    found = check([*early, *last], Register()).counterexample
    assert found is not None
    assert found.window == (last[1], last[2])
    assert found.states == (2,)
    assert len(found.prefix) == 52
    assert str(found).splitlines() == [
        "<client 3 [920, 925] read -> 1> has no place; 52 operations before it have one",
        "from any state, these cannot be ordered:",
        "  <client 2 [910, 915] write 2 -> None>",
        "  <client 3 [920, 925] read -> 1>   <- no place",
        "possible states at its return: 2",
    ]


def test_window_of_a_failure_that_needs_the_initial_state_begins_there() -> None:
    found = check([op(1, 0, 1, R, 7), op(1, 2, 3, (W, 7))], Register()).counterexample
    assert found is not None
    assert found.from_start


def test_map_names_the_key() -> None:
    history = [op(1, 0, 1, ("put", "a", 1)), op(1, 2, 3, ("put", "b", 1)), op(2, 4, 5, ("get", "b"), None)]
    found = check(history, Map()).counterexample
    assert found is not None
    assert found.key == "b"
    assert check([*history[:2], op(2, 4, 5, ("delete", "b")), op(2, 6, 7, ("get", "b"), None)], Map())


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (op(1, 2, 1, R), "returns before it is invoked"),
        (op(1, 1, float("nan"), R), "returns before it is invoked"),
        (op(1, 0, 1, ("get",)), "input must begin with one of read, write, cas"),
        (op(1, 0, 1, (W,)), "write takes 1 arguments"),
        (op(1, 0, 1, ("cas", 1, 2), "OK"), "the output of cas is True or False"),
        (op(1, 0, 1, (W, [1])), "hashable"),
        (op(1, None, 1, R), "a moment that is no number"),  # type: ignore[arg-type]  # wrong on purpose
        (op(1, 0, "1", R), "a moment that is no number"),  # type: ignore[arg-type]  # wrong on purpose
        (op([1], 0, 1, R), "a client that is not hashable"),  # type: ignore[arg-type]  # wrong on purpose
        (("read",), "is no Operation"),
    ],
)
def test_a_malformed_history_is_refused(bad: Operation, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check([bad], Register())


@pytest.mark.parametrize("seed", range(30))
def test_histories_of_a_machine_are_accepted(seed: int) -> None:
    history = run(f"accept-{seed}", 200, 8, register_request, cell, lost=0.03 * (seed % 3), ticks=seed % 4)
    assert check(history, Register()).outcome is Outcome.LINEARIZABLE, f"seed={seed}"


def test_spoiled_histories_are_mostly_refused() -> None:
    refused = 0
    for seed in range(60):
        draw = random.Random(f"spoil-{seed}")
        history = run(f"spoil-{seed}", 60, 4, lambda draw: register_request(draw, 8), cell)
        refused += check(spoil_cell(history, draw, 8), Register()).outcome is Outcome.NOT_LINEARIZABLE
    assert refused >= 48


@pytest.mark.parametrize("ticks", [0, 2, 5])
@pytest.mark.parametrize("lost", [0.0, 0.3])
def test_verdicts_on_tiny_histories_are_those_of_brute_force(ticks: int, lost: float) -> None:
    answers = {True: 0, False: 0}
    for seed in range(400):
        name = f"tiny-{ticks}-{lost}-{seed}"
        history = run(name, 7, 4, register_request, cell, lost=lost, ticks=ticks)
        if seed % 4:
            history = spoil_cell(history, random.Random(name))
        expected = has_order(history, Register())
        answers[expected] += 1
        assert bool(check(history, Register())) is expected, f"seed={name} {history}"
    assert min(answers.values()) >= 40, answers


def test_the_window_of_a_counterexample_has_no_order_from_any_state() -> None:
    shorter = 0
    for seed in range(100):
        # One client: no operation is pending when the window opens, so all of it must have an order.
        history = spoil_cell(run(f"window-{seed}", 12, 1, register_request, cell), random.Random(seed))
        found = check(history, Register()).counterexample
        if found is None or found.from_start:
            continue
        shorter += len(found.window) < len(found.prefix) + 1
        assert not any(has_order(found.window, Register(start)) for start in (None, *range(3), 99)), f"seed={seed}"
        assert any(has_order(found.window[1:], Register(start)) for start in (None, *range(3), 99)), f"seed={seed}"
    assert shorter >= 20


@pytest.mark.parametrize("ticks", [0, 3])
def test_the_prefix_of_a_counterexample_has_an_order(ticks: int) -> None:
    for seed in range(200):
        name = f"prefix-{ticks}-{seed}"
        history = spoil_cell(run(name, 7, 4, register_request, cell, lost=0.2, ticks=ticks), random.Random(name))
        found = check(history, Register()).counterexample
        if found is None:
            continue
        end = found.stuck.returned or 0
        others = [
            op for op in history if op not in found.prefix and op.invoked <= end and not Register().reads_only(op)
        ]
        kept = [
            op if op in found.prefix else replace(op, returned=None) for op in history if op in [*found.prefix, *others]
        ]
        assert has_order(kept, Register()), f"seed={name} {history} {found}"


class _Counter(SequentialModel):
    """A model of a user's own: only what must be there."""

    initial = 0

    def step(self, state: Any, operation: Operation) -> Any:
        fits = operation.returned is None or operation.output == state + 1
        return state + 1 if fits else ILLEGAL

    def shape(self, operation: Operation) -> str | None:
        return None if operation.input == ("next",) else "only next"


def test_a_model_of_ones_own_is_judged() -> None:
    good = [op(1, 0, 5, ("next",), 2), op(2, 1, 2, ("next",), 1), op(3, 3, None, ("next",)), op(2, 6, 7, ("next",), 4)]
    assert check(good, _Counter())
    bad = check([op(1, 0, 5, ("next",), 1), op(2, 1, 2, ("next",), 1)], _Counter())
    assert bad.outcome is Outcome.NOT_LINEARIZABLE


def _hard(count: int) -> list[Operation]:
    """Comparisons, all pending at once, that all took place: 0 was found more often than it was brought about."""
    steps = ([(0, 1)] * 3 + [(1, 2), (2, 3), (3, 0), (3, 2), (2, 1)]) * (count // 8)
    return [op(n, 0, 100 + n, ("cas", old, new), True) for n, (old, new) in enumerate(steps)]


def test_a_search_beyond_its_steps_ends_undecided() -> None:
    verdict = check(_hard(48), Register(0), steps_max=50)
    assert verdict.outcome is Outcome.UNKNOWN
    assert not verdict
    assert verdict.steps <= 60


def test_a_search_beyond_its_time_ends_undecided() -> None:
    moments = iter(range(10))
    verdict = check(_hard(48), Register(0), seconds_max=0.5, clock=lambda: float(next(moments)))
    assert verdict.outcome is Outcome.UNKNOWN


def test_a_refusal_in_one_part_counts_more_than_a_doubt_in_another() -> None:
    doubt = [op(n, 0, 100 + n, ("cas", "a", n % 4, (n * 3 + 1) % 4), True) for n in range(40)]
    doubt += [op(97, 0, 50, ("put", "a", 0))]
    history = [*doubt, op(98, 0, 1, ("get", "b"), 1)]
    assert check(history, Map(), steps_max=100).outcome is Outcome.NOT_LINEARIZABLE
    assert check(doubt, Map(), steps_max=20).outcome is Outcome.UNKNOWN


def _map_request(keys: int) -> Callable[[random.Random], Request]:
    def draw_request(draw: random.Random) -> Request:
        key, value, other = draw.randrange(keys), draw.randrange(5), draw.randrange(5)
        return draw.choice([("get", key), ("get", key), ("put", key, value), ("cas", key, other, value)])

    return draw_request


@pytest.mark.parametrize("keys", [100, 1])
def test_ten_thousand_operations_of_16_clients_take_less_than_ten_seconds(
    keys: int, figure: Callable[[str], None]
) -> None:
    history = run("ten thousand", 10_000, 16, _map_request(keys), cell, lost=0.002 if keys > 1 else 0)
    began = perf_counter()
    verdict = check(history, Map())
    took = perf_counter() - began
    figure(f"checked 10,000 operations, 16 clients, {keys} keys in {took:.2f} s, {verdict.steps} steps")
    assert verdict.outcome is Outcome.LINEARIZABLE
    assert took < 10
