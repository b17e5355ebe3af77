"""Simulated clusters from seeds. KVARTS_SIM_SEEDS sets how many are tried beyond those of seeds.txt."""

import os
import subprocess
import sys

import pytest

from kvarts_sim.cluster.agenda import MS, SECOND
from kvarts_sim.cluster.runs import run_seed
from kvarts_sim.cluster.world import Scenario, World
from tests.style.source import ROOT

SEEDS = int(os.environ.get("KVARTS_SIM_SEEDS", "8"))
SECONDS = 15


def _recorded() -> list[tuple[int, int]]:
    lines = (ROOT / "tests/simulation/seeds.txt").read_text(encoding="utf-8").splitlines()
    return [(int(line.split()[0]), int(line.split()[1])) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize(("seed", "seconds"), [*_recorded(), *((1000 + seed, SECONDS) for seed in range(SEEDS))])
def test_promises_hold(seed: int, seconds: int) -> None:
    report = run_seed(seed, seconds * SECOND)
    assert report.broken is None, report.text


def test_a_world_is_replayed_bit_for_bit_by_another_process() -> None:
    """Other hashes of strings and other addresses of objects: the same digest."""
    command = [sys.executable, "-m", "kvarts_sim", "run", "--seed", "9", "--seconds", "8"]
    path = os.pathsep.join([str(ROOT / "python"), str(ROOT / "sim")])
    told = {
        subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    }
    assert len(told) == 1
    assert "digest" in told.pop()


def test_worlds_do_what_they_are_for() -> None:
    """Promises are worth something only where there are elections, crashes and changes: seed by seed."""
    outline = World(Scenario.of(9, SECONDS * SECOND)).run()
    assert outline.terms > 1
    assert outline.committed > 20
    assert {"crash", "change", "stall", "full"} <= outline.faults.keys()


def test_without_load_or_faults_one_leader_rules() -> None:
    outline = World(Scenario(seed=1, duration_us=60 * SECOND, clients=1, think_us=2000 * MS, kinds=())).run()
    assert outline.terms == 1
    assert outline.calls > 30
