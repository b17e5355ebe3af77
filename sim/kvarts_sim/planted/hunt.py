"""Runs planted bugs: from their recorded seeds, or over many seeds until one rings."""

from __future__ import annotations

from dataclasses import dataclass

from kvarts_sim.cases import Case
from kvarts_sim.cluster.agenda import SECOND
from kvarts_sim.cluster.runs import Report
from kvarts_sim.planted.bugs import Bug

SIMULATED_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Catch:
    """Which seed showed a bug, by what rule, and when in the run."""

    bug: Bug
    seed: int
    rule: str
    at_us: int


def run_planted(bug: Bug, seed: int) -> Report:
    """Run one world with a bug in it. What the simulator itself stumbles over counts as rung: the node would stop."""
    return Case(seed=seed, scenario=bug.scenario, duration_us=SIMULATED_SECONDS * SECOND, bug=bug).run()


def hunt(bug: Bug, first: int, count: int) -> Catch | None:
    """Return the first of `count` seeds that rings."""
    for seed in range(first, first + count):
        report = run_planted(bug, seed)
        if report.broken is not None:
            return Catch(bug, seed, report.broken, report.at_us)
    return None
