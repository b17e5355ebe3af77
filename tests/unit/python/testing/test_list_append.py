"""ListAppend: each anomaly by a history made by hand, and tiny histories judged as brute force judges them."""

import random
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import pytest

from kvarts.testing.linearizability import ABORTED, ListAppend, Operation, Outcome, Verdict, check
from tests.unit.python.testing.histories import Request, has_serial_order, lists, run

SERIALIZABLE = ListAppend(realtime=False, sessions=False)


def add(key: str, value: int) -> Request:
    return ("append", key, value)


def read(key: str) -> Request:
    return ("read", key)


def txn(number: int, request: Request, output: Any, moment: tuple[float, float | None] = (0, 100)) -> Operation:
    """A transaction of a client of its own; all at one time unless said."""
    return Operation(number, moment[0], moment[1], request, output)


def names(verdict: Verdict) -> set[str]:
    return {str(anomaly).split(":")[0] for anomaly in verdict.anomalies}


X1, X2, Y1, Y2 = add("x", 1), add("x", 2), add("y", 1), add("y", 2)
RX, RY = read("x"), read("y")

ANOMALIES = {
    "G0": [
        txn(1, (X1, Y1), (None, None)),
        txn(2, (X2, Y2), (None, None)),
        txn(3, (RX,), ([1, 2],)),
        txn(4, (RY,), ([2, 1],)),
    ],
    "G1a": [txn(1, (X1,), ABORTED), txn(2, (RX,), ([1],))],
    "G1b": [txn(1, (X1, X2), (None, None)), txn(2, (RX,), ([1],))],
    "G1c": [txn(1, (X1, RY), (None, [1])), txn(2, (Y1, RX), (None, [1]))],
    "G-single": [txn(1, (X1, Y1), (None, None)), txn(2, (RX, RY), ([1], []))],
    "G2": [txn(1, (RX, Y1), ([], None)), txn(2, (RY, X1), ([], None)), txn(3, (RX, RY), ([1], [1]))],
    "lost-update": [txn(1, (RX, X1), ([], None)), txn(2, (RX, X2), ([], None)), txn(3, (RX,), ([1, 2],))],
    "incompatible-order": [
        txn(1, (X1,), (None,)),
        txn(2, (X2,), (None,)),
        txn(3, (RX,), ([1, 2],)),
        txn(4, (RX,), ([2, 1],)),
    ],
    "duplicate-element": [txn(1, (X1,), (None,)), txn(2, (RX,), ([1, 1],))],
    "garbage-read": [txn(1, (RX,), ([7],))],
    "internal": [txn(1, (X1, RX), (None, []))],
}


@pytest.mark.parametrize("name", ANOMALIES)
def test_each_anomaly_is_called_by_its_name(name: str) -> None:
    verdict = check(ANOMALIES[name], SERIALIZABLE)
    assert verdict.outcome is Outcome.NOT_LINEARIZABLE
    assert name in names(verdict)
    assert not has_serial_order(ANOMALIES[name], realtime=False, sessions=False)


@pytest.mark.parametrize("name", ["G0", "G1c", "G-single", "G2"])
def test_a_pure_cycle_has_no_other_name(name: str) -> None:
    assert names(check(ANOMALIES[name], SERIALIZABLE)) == {name}


def test_a_read_that_changes_within_a_transaction_is_internal() -> None:
    history = [txn(1, (X1,), (None,)), txn(2, (RX, RX), ([], [1]))]
    assert names(check(history, SERIALIZABLE)) >= {"internal"}


@pytest.mark.parametrize("answers", [([1], None), ([2, 1], None)])
def test_a_read_of_what_the_transaction_appends_only_later_is_internal(answers: Any) -> None:
    history = [txn(1, (X2,), (None,)), txn(2, (RX, X1), answers)]
    assert names(check(history, SERIALIZABLE)) >= {"internal"}
    assert not has_serial_order(history, realtime=False, sessions=False)


def test_appends_of_one_transaction_are_read_in_their_order() -> None:
    history = [txn(1, (X1, X2), (None, None)), txn(2, (RX,), ([2, 1],))]
    assert "incompatible-order" in names(check(history, SERIALIZABLE))


def test_a_lost_update_is_found_though_nobody_reads_it() -> None:
    history = [txn(1, (RX, X1), ([], None)), txn(2, (RX, X2), ([], None))]
    assert names(check(history, SERIALIZABLE)) == {"lost-update", "G2"}


def test_a_cycle_is_told_step_by_step() -> None:
    (anomaly,) = check(ANOMALIES["G1c"], SERIALIZABLE).anomalies
    assert str(anomaly).splitlines() == [
        "G1c: each comes after the one before it, and the first after the last:",
        "  T0 <client 1 [0, 100] append 'x' 1; read 'y' -> (None, [1])>",
        "  T1 <client 2 [0, 100] append 'y' 1; read 'x' -> (None, [1])>",
        "  T0 -wr-> T1: read 'x' with 1 of the former",
        "  T1 -wr-> T0: read 'y' with 1 of the former",
    ]
    assert anomaly.operations == tuple(ANOMALIES["G1c"])


def test_a_stale_read_breaks_only_the_order_of_time() -> None:
    history = [txn(1, (X1,), (None,), (0, 1)), txn(2, (RX,), ([],), (2, 3))]
    assert names(check(history, ListAppend())) == {"G-single-realtime"}
    assert check(history, ListAppend(realtime=False))
    own = [replace(operation, client=1) for operation in history]
    assert names(check(own, ListAppend(realtime=False))) == {"G-single-session"}
    assert check(own, SERIALIZABLE)


def test_an_unknown_outcome_counts_only_if_it_was_seen() -> None:
    unknown = txn(1, (X1, Y1), None, (0, None))
    assert check([unknown, txn(2, (RX, RY), ([], []), (5, 6))], ListAppend())
    assert check([unknown, txn(2, (RX, RY), ([1], [1]), (5, 6))], ListAppend())
    assert names(check([unknown, txn(2, (RX, RY), ([1], []), (5, 6))], ListAppend())) == {"G-single"}


@pytest.mark.parametrize(
    ("history", "why"),
    [
        ([txn(1, (X1,), (None,)), txn(2, (X1,), (None,))], "which another did before"),
        ([txn(1, (X1, X1), (None, None))], "which another did before"),
        ([txn(1, (("r", "x"),), ([],))], "neither"),
        ([txn(1, (X1, RX), (None,))], "not as long"),
        ([txn(1, (RX,), (None,))], "returns a list"),
        ([txn(1, (RX,), ("ab",))], "returns a list"),
        ([txn(1, None, ())], "no tuple"),  # type: ignore[arg-type]  # wrong on purpose
        ([txn(1, (("append", ["x"], 1),), (None,))], "hashable"),
        ([txn(1, (("append", "x", [1]),), None, (0, None))], "hashable"),
        ([txn(1, (RX,), ([[1]],))], "hashable"),
        ([txn(1, (RX,), None, (float("nan"), None))], "no moment"),
    ],
)
def test_a_malformed_history_is_refused(history: list[Operation], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check(history, ListAppend())


def _transactions(keys: int, size: int) -> Callable[[random.Random], Request]:
    """Draws transactions; no value is appended twice."""
    values = iter(range(1_000_000))

    def draw_request(draw: random.Random) -> Request:
        def micro() -> Request:
            key = f"k{draw.randrange(keys)}"
            return read(key) if draw.random() < 0.5 else add(key, next(values))

        return tuple(micro() for _ in range(draw.randint(1, size)))

    return draw_request


def _spoil(history: list[Operation], draw: random.Random) -> list[Operation]:
    """Take away, swap, move or add to what one read saw; or call a transaction aborted."""
    spoiled = list(history)
    index = draw.randrange(len(history))
    operation = history[index]
    if operation.returned is None or operation.output is ABORTED:
        return spoiled
    if draw.random() < 0.1:
        spoiled[index] = replace(operation, output=ABORTED)
        return spoiled
    answers = [list(answer) if answer is not None else None for answer in operation.output]
    seen = draw.choice(answers)
    if seen is not None and draw.random() < 0.3:
        appended = [micro[2] for each in history for micro in each.input if micro[0] == "append"]
        seen.append(draw.choice(appended or [0]))
    elif seen:
        match draw.randrange(3):
            case 0:
                seen.pop()
            case 1:
                seen.reverse()
            case _:
                seen.insert(0, seen.pop())
    spoiled[index] = replace(operation, output=tuple(answers))
    return spoiled


@pytest.mark.parametrize("seed", range(20))
def test_histories_of_a_machine_are_accepted(seed: int) -> None:
    history = run(f"lists-{seed}", 150, 6, _transactions(4, 4), lists, lost=0.05 * (seed % 2), ticks=seed % 3)
    verdict = check(history, ListAppend())
    assert verdict, f"seed={seed} {verdict}"


@pytest.mark.parametrize("model", [ListAppend(), ListAppend(realtime=False), SERIALIZABLE], ids=repr)
@pytest.mark.parametrize("ticks", [0, 3])
def test_verdicts_on_tiny_histories_are_those_of_brute_force(model: ListAppend, ticks: int) -> None:
    answers = {True: 0, False: 0}
    for seed in range(400):
        name = f"tiny-lists-{ticks}-{seed}"
        draw = random.Random(name)
        history = run(name, 5, 3, _transactions(2, 3), lists, lost=0.15, ticks=ticks)
        for _ in range(seed % 4):
            history = _spoil(history, draw)
        expected = has_serial_order(history, realtime=model.realtime, sessions=model.sessions)
        answers[expected] += 1
        verdict = check(history, model)
        assert bool(verdict) is expected, f"seed={name} {history} {verdict}"
    assert min(answers.values()) >= 40, answers


def test_ten_thousand_transactions_take_seconds(figure: Callable[[str], None]) -> None:
    history = run("many lists", 10_000, 16, _transactions(300, 4), lists)
    began = perf_counter()
    assert check(history, ListAppend())
    figure(f"checked 10,000 list-append transactions, 16 clients, 300 keys in {perf_counter() - began:.2f} s")
