"""The canaries: each planted bug must ring from its recorded seed, and the same world without it must not."""

import pytest

from kvarts_sim.cases import Case
from kvarts_sim.cluster.agenda import SECOND
from kvarts_sim.planted.bugs import BUGS, Bug
from kvarts_sim.planted.hunt import SIMULATED_SECONDS, run_planted
from kvarts_sim.planted.recorded import SEEDS
from tests.style.source import ROOT


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_planted_bug_rings(bug: Bug) -> None:
    report = run_planted(bug, SEEDS[bug.name])
    assert report.broken is not None
    assert report.broken in report.text
    assert f'--planted "{bug.name}"' in report.text


@pytest.mark.parametrize(("scenario", "seed"), sorted({(bug.scenario, SEEDS[bug.name]) for bug in BUGS}))
def test_the_same_world_without_the_bug_holds(scenario: str, seed: int) -> None:
    report = Case(seed=seed, scenario=scenario, duration_us=SIMULATED_SECONDS * SECOND).run()
    assert report.broken is None, report.text


def test_recorded_seeds_name_bugs() -> None:
    assert SEEDS.keys() == {bug.name for bug in BUGS}
    assert len({bug.name for bug in BUGS}) == len(BUGS) > 25


def test_the_page_shows_every_bug_with_its_seed() -> None:
    page = (ROOT / "docs/internals/simulator.md").read_text(encoding="utf-8")
    missing = [
        bug.name for bug in BUGS if f"| {bug.name} | {bug.met} | {bug.scenario} | {SEEDS[bug.name]} |" not in page
    ]
    assert missing == []
