"""`python -m kvarts_sim run --seed N`: one world from one seed. `shrink`: the smallest run that fails as it does."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from kvarts_sim.cases import Case
from kvarts_sim.cluster.agenda import SECOND
from kvarts_sim.cluster.runs import SCENARIOS, Report
from kvarts_sim.planted.bugs import BUGS
from kvarts_sim.shrink import Shrinker


def main() -> int:
    """Do what is asked for; return 1 if a run failed."""
    bugs = {bug.name: bug for bug in BUGS}
    parser = argparse.ArgumentParser(prog="python -m kvarts_sim")
    parser.add_argument("command", choices=["run", "shrink"])
    parser.add_argument("--seed", type=int, required=True, help="root seed of the first world")
    parser.add_argument("--count", type=int, default=1, help="how many worlds, with the seeds that follow")
    parser.add_argument("--seconds", type=float, default=60, help="simulated time before everything is healed")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), help="what kind of world (any, or the bug's)")
    parser.add_argument("--planted", choices=sorted(bugs), metavar="BUG", help="with a bug: nox -s planted lists them")
    parser.add_argument("--nodes", type=int, help="how many nodes in place of what the seed says")
    parser.add_argument("--clients", type=int, help="how many clients in place of what the seed says")
    parser.add_argument("--deeds", type=_numbers, help="only these deeds of the nemesis: 3,17 or none")
    parser.add_argument("--lines", type=int, default=60, help="length of a failing run's timeline")
    arguments = parser.parse_args()
    bug = bugs.get(arguments.planted)
    first = Case(
        seed=arguments.seed,
        scenario=arguments.scenario or (bug.scenario if bug else "any"),
        duration_us=int(arguments.seconds * SECOND),
        bug=bug,
        nodes=arguments.nodes,
        clients=arguments.clients,
        deeds=arguments.deeds,
    )
    if arguments.command == "shrink":
        return _shrink(first, arguments.lines)
    failed = False
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        report = replace(first, seed=seed).run(arguments.lines)
        failed |= report.broken is not None
        sys.stdout.write(report.text + "\n")
        sys.stdout.flush()
    return int(failed)


def _shrink(case: Case, lines: int) -> int:
    report = case.run(lines)
    if report.broken is None:
        sys.stdout.write(report.text + "\nnothing to shrink\n")
        return 0
    shrinker = Shrinker(case, report)
    shrinker.shrink()
    small = shrinker.case
    sys.stdout.write(f"{small.run(lines).text}\n")
    sys.stdout.write(f"{shrinker.tried} runs: {_size(case, report)} became {_size(small, shrinker.report)}\n")
    return 1


def _size(case: Case, report: Report) -> str:
    had = f"{len(report.deeds)} deeds, {report.clients} clients, {report.nodes} nodes"
    return f"{case.duration_us / SECOND:g} s with {had}"


def _numbers(text: str) -> frozenset[int]:
    return frozenset() if text == "none" else frozenset(map(int, text.split(",")))


if __name__ == "__main__":
    sys.exit(main())
