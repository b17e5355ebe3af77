"""Random programs against the model: at least 50,000 operations in CI, the same ones each time.

`KVARTS_SEED=n` explores others; `KVARTS_MODEL_STEPS=1000000` goes on for longer. A failure prints its steps as a
program, and the seed's line replays it.
"""

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conformance.machine import StoreMachine
from tests.conformance.model import Model

STEPS = int(os.environ.get("KVARTS_MODEL_STEPS", "30000"))
STEPS_PER_EXAMPLE = 50
OPERATIONS_MIN = STEPS * 50 // 30


def test_store_answers_as_the_model_does(figure: Callable[[str], None]) -> None:
    StoreMachine.operations = 0
    start = os.environ.get("KVARTS_SEED")
    chosen = settings(
        max_examples=STEPS // STEPS_PER_EXAMPLE,
        stateful_step_count=STEPS_PER_EXAMPLE,
        derandomize=start is None,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    machine = StoreMachine if start is None else seed(int(start))(StoreMachine)
    replay = f"KVARTS_MODEL_STEPS={STEPS} KVARTS_SEED={start or ''} nox -s test -- tests/conformance/test_model.py"
    print(f"seed={start or 'derandomized'} replay: {replay}")
    run_state_machine_as_test(machine, settings=chosen)
    figure(f"model test: {StoreMachine.operations} operations in {STEPS // STEPS_PER_EXAMPLE} programs")
    assert StoreMachine.operations >= OPERATIONS_MIN


class _ModelThatForgetsDeletes(Model):
    def delete(self, space: str, key: bytes) -> None:
        pass


class _CanaryMachine(StoreMachine):
    model_type = _ModelThatForgetsDeletes


def test_the_alarm_rings_where_store_and_model_differ() -> None:
    """A canary: the run above must be able to fail."""
    short = settings(max_examples=50, derandomize=True, deadline=None, database=None, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(_CanaryMachine, settings=short)
