"""The shrinker: a failing case becomes a small one that fails alike, with its timeline and its command."""

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from kvarts_sim.cases import Case
from kvarts_sim.cluster.agenda import SECOND
from kvarts_sim.planted.bugs import BUGS
from kvarts_sim.planted.recorded import SEEDS
from kvarts_sim.shrink import Shrinker, minimal
from tests.style.source import ROOT

BUG = next(bug for bug in BUGS if bug.name == "joint election by the new half")


@pytest.mark.parametrize("needed", [(), (1,), (20,), (3, 11), (1, 2, 19, 20)], ids=str)
def test_minimal_keeps_just_what_is_needed(needed: tuple[int, ...]) -> None:
    tried = []

    def fails(items: Sequence[int]) -> bool:
        tried.append(tuple(items))
        return set(needed) <= set(items)

    assert tuple(minimal(range(1, 21), fails)) == needed
    assert len(tried) < 100


def test_planted_bug_is_shrunk_to_a_small_run_that_breaks_the_same_rule() -> None:
    case = Case(seed=SEEDS[BUG.name], scenario=BUG.scenario, duration_us=20 * SECOND, bug=BUG)
    whole = case.run()
    shrinker = Shrinker(case, whole)
    shrinker.shrink()
    small = shrinker.report
    assert small.broken == whole.broken
    assert shrinker.case.duration_us < case.duration_us
    assert 0 < len(small.deeds) <= 3 < len(whole.deeds)
    assert small.clients < whole.clients
    assert shrinker.case.command in small.text
    assert shrinker.case.run().text == small.text


def test_command_line_tells_the_timeline_and_how_to_replay_it() -> None:
    path = os.pathsep.join([str(ROOT / "python"), str(ROOT / "sim")])
    command = [sys.executable, "-m", "kvarts_sim", "shrink", "--seed", "1", "--scenario", "canary", "--seconds", "10"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "BROKEN vote durable" in done.stdout
    assert "again: nox -s sim -- 1 --scenario canary --seconds" in done.stdout
    assert "--deeds none" in done.stdout
