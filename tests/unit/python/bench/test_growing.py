"""The bench of a cluster that changes: the open loop on a clock of its own, the report, and a real run."""

import asyncio
import json
from pathlib import Path

import pytest

import kvarts
from kvarts.bench.cluster import growing, growing_report
from kvarts.bench.cluster.growing import CHANGES, FIGURES, PHASES, QUIET, Outcome, Plan, Stream
from kvarts.bench.plot import is_possible

CONTEXT = {"when": "2025-01-01", "commit": "abc", "machine": {"processor": "X", "cores": 2}, "versions": {}}


def canned(ratio: float = 2.0, errors: float = 0.0) -> Outcome:
    outcome = Outcome()
    for _ in range(3):
        phases = {phase: dict.fromkeys(FIGURES, 10.0) | {"errors": 0.0} for phase in PHASES}
        phases[CHANGES] |= {"p99": 10.0 * ratio, "errors": errors}
        timeline = {"p99": [[0, 10.0], [1, 30.0]], "marks": [[QUIET, 0.0], ["split", 0.5]], "failed": {}}
        outcome.add({}, {"phases": phases, "timeline": timeline})
    return outcome


@pytest.mark.parametrize(
    ("ratio", "errors", "verdict"), [(2.0, 0.0, "holds"), (4.0, 0.0, "missed"), (2.0, 1.0, "missed")]
)
def test_bar_is_three_times_the_quiet_p99_and_no_error(ratio: float, errors: float, verdict: str) -> None:
    assert growing.verdict(canned(ratio, errors)).verdict == verdict


def test_report_has_a_row_per_phase() -> None:
    page = growing_report.markdown(canned(), CONTEXT)
    assert all(f"| {phase} | {what} |" in page for phase, what in PHASES.items())
    assert "- holds: p99 while the cluster changes: 2.00 [2.00, 2.00] times the quiet one, asked: at most 3" in page
    whole = json.loads(json.dumps(growing_report.document(Plan(), canned(), CONTEXT)))
    assert growing_report.history_line(whole)["median"][CHANGES]["p99"] == 20


def test_plot_is_drawn_where_matplotlib_is(tmp_path: Path) -> None:
    if not is_possible():
        pytest.skip("matplotlib is not installed")
    assert [path.name for path in growing_report.draw(canned(), "title", tmp_path)] == ["growing.png", "growing.svg"]
    assert (tmp_path / "growing.png").read_bytes().startswith(b"\x89PNG")


def test_a_pause_counts_for_every_request_that_was_due_in_it() -> None:
    async def run() -> dict[str, dict[str, float]]:
        is_open = asyncio.Event()
        is_open.set()

        async def ask(number: int) -> None:
            await is_open.wait()
            if number == 7:
                raise kvarts.Unavailable("nobody leads")

        stream = Stream(ask, rate=200)

        async def shut() -> None:
            is_open.clear()
            await asyncio.sleep(0.3)
            is_open.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(stream.run())
            with stream.stopped_after():
                await stream.phase(QUIET, asyncio.sleep(0), 0.3)
                await stream.phase("split", shut(), 0.3)
        phases: dict[str, dict[str, float]] = stream.found()["phases"]
        return phases

    found = asyncio.run(run())
    assert sum(found[phase]["errors"] for phase in (QUIET, "split")) == 1
    # Requests went on coming: half of them were due in the pause's first half, and waited for the rest of it.
    assert found["split"]["rate"] > 100
    assert found["split"]["p50"] > 100
    assert found["split"]["longest"] >= 250 > found[QUIET]["p50"]


def test_a_cluster_that_changes_is_measured(tmp_path: Path) -> None:
    (task,) = Plan(load=0.1, seconds=1.0, rows=300, repetitions=1).tasks()
    folder = tmp_path / "run"
    folder.mkdir()
    found = growing.repeat_once(task | {"folder": str(folder)})
    assert set(found["phases"]) == set(PHASES)
    assert all(set(figures) == set(FIGURES) for figures in found["phases"].values())
    assert found["timeline"]["failed"] == {}
    assert min(figures["p50"] for figures in found["phases"].values()) > 0
