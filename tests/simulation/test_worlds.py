"""Simulated clusters from seeds. KVARTS_SIM_HOURS says how many cluster-hours are run beyond the seeds of seeds.txt."""

import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from kvarts.replication.turn import Turn, Why
from kvarts_sim.cases import Case
from kvarts_sim.cluster.agenda import MS, SECOND
from kvarts_sim.cluster.muscle import SimMuscle
from kvarts_sim.cluster.nemesis import DEEDS, FAULTS
from kvarts_sim.cluster.plots import NEWER_PLOTS, PLOTS
from kvarts_sim.cluster.runs import Report
from kvarts_sim.cluster.world import Scenario, World
from tests.style.source import ROOT

HOURS = float(os.environ.get("KVARTS_SIM_HOURS", "2"))
FIRST_SEED = int(os.environ.get("KVARTS_SIM_FIRST_SEED", "1000"))
LOADED_SECONDS = 60
QUIET_SECONDS = 600
LOADED = ("any", "breaks", "changes", "coups", "echoes", "halves", "leases", "moves", "refusals", "shards", "storm")
SEEDS_PER_TEST = 4
# Half of the time in worlds that are busy, half in worlds at rest, which cost a fifth of it.
LOADED_TESTS = math.ceil(HOURS / 2 * 3600 / LOADED_SECONDS / len(LOADED) / SEEDS_PER_TEST)
QUIET_TESTS = math.ceil(HOURS / 2 * 3600 / QUIET_SECONDS)


def _recorded() -> list[tuple[int, int, str]]:
    lines = (ROOT / "tests/simulation/seeds.txt").read_text(encoding="utf-8").splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    return [(int(seed), int(seconds), scenario) for seed, seconds, scenario, *_ in words]


def _hold(case: Case) -> Report:
    report = case.run()
    assert report.broken is None, report.text
    return report


@pytest.mark.parametrize(("seed", "seconds", "scenario"), _recorded())
def test_world_that_once_broke_a_promise_holds(seed: int, seconds: int, scenario: str) -> None:
    _hold(Case(seed=seed, scenario=scenario, duration_us=seconds * SECOND))


@pytest.mark.parametrize("at", range(LOADED_TESTS))
@pytest.mark.parametrize("scenario", LOADED)
def test_promises_hold_under_load_and_faults(scenario: str, at: int) -> None:
    for seed in range(FIRST_SEED + at * SEEDS_PER_TEST, FIRST_SEED + (at + 1) * SEEDS_PER_TEST):
        _hold(Case(seed=seed, scenario=scenario, duration_us=LOADED_SECONDS * SECOND))


@pytest.mark.parametrize("at", range(QUIET_TESTS))
def test_promises_hold_over_long_quiet_times(at: int) -> None:
    _hold(Case(seed=FIRST_SEED + at, scenario="quiet", duration_us=QUIET_SECONDS * SECOND))


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


def test_the_canary_rings() -> None:
    """Disks that say that they have synced and have not: a simulator that lets this pass sees nothing."""
    for seed in range(1, 4):
        report = Case(seed=seed, scenario="canary", duration_us=15 * SECOND).run()
        assert report.broken is not None
        assert f"nox -s sim -- {seed} --scenario canary" in report.text


def test_worlds_do_what_they_are_for() -> None:
    """Promises are worth something only where there are elections, entries, and every fault, deed and plot."""
    outlines = [_hold(Case(seed=seed, duration_us=20 * SECOND)).outline for seed in range(1, 15)]
    happened = {kind for outline in outlines if outline for kind in outline.faults}
    assert happened == {*FAULTS, *DEEDS, *PLOTS, *NEWER_PLOTS}
    assert min(outline.terms for outline in outlines if outline) > 1
    assert min(outline.committed for outline in outlines if outline) > 20


def test_leaders_of_worlds_with_a_small_limit_are_busy() -> None:
    refused: Counter[Why] = Counter()

    class Watched(SimMuscle):
        def _answer(self, turn: Turn) -> None:
            refused.update(each.why for each in turn.writes_refused)
            super()._answer(turn)

    for seed in range(1, 7):
        World(Scenario.storm(seed, 10 * SECOND), muscle=Watched).run()
    assert refused[Why.BUSY] > 20, refused


def test_without_load_or_faults_one_leader_rules() -> None:
    outline = World(Scenario(seed=1, duration_us=60 * SECOND, clients=1, think_us=2000 * MS, kinds=())).run()
    assert outline.terms == 1
    assert outline.calls > 30


@pytest.mark.parametrize("seed", range(1, 6))
def test_leader_whose_disk_stalls_is_replaced_and_clients_are_served_again(seed: int) -> None:
    world = World(Scenario(seed=seed, duration_us=20 * SECOND, clients=4, kinds=()))
    group, served = world.groups[0], 0

    def stall() -> None:
        leader = world.leader(group)
        assert leader is not None
        world.processes[leader].disk.health.stalled = True
        # One second to notice, one to two for an election, half a second until a client asks elsewhere.
        world.agenda.after(4 * SECOND, lambda: look(leader))

    def look(leader: int) -> None:
        assert world.leader(group) != leader
        before = [client.done for client in world.clients]
        world.agenda.after(2 * SECOND, lambda: count(before))

    def count(before: list[int]) -> None:
        nonlocal served
        served = sum(client.done > done for client, done in zip(world.clients, before, strict=True))

    world.agenda.after(8 * SECOND, stall)
    world.run()
    assert served == len(world.clients)


def test_a_deed_left_out_changes_no_other() -> None:
    whole, part = _deeds(None), _deeds(frozenset(range(2, 1000)))
    assert len(whole) > 20
    assert part == whole[1:]


def _deeds(only: frozenset[int] | None) -> list[str]:
    """Return moment, number and kind of each deed of the first nine seconds."""
    world = World(replace(Scenario.storm(4, 10 * SECOND), deeds=only, clients=0))
    world.run()
    lines = [line.strip() for line in world.timeline.tail(1000) if " deed " in line]
    return [line for line in lines if float(line.split()[0]) < 9]
