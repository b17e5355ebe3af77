"""`python -m kvarts_sim run --seed N`: one world from one seed."""

from __future__ import annotations

import argparse
import sys

from kvarts_sim.cluster.agenda import SECOND
from kvarts_sim.cluster.runs import SCENARIOS, run_seed


def main() -> int:
    """Run the seeds that are asked for; return 1 if something was broken."""
    parser = argparse.ArgumentParser(prog="python -m kvarts_sim")
    parser.add_argument("command", choices=["run"])
    parser.add_argument("--seed", type=int, required=True, help="root seed of the first world")
    parser.add_argument("--count", type=int, default=1, help="how many worlds, with the seeds that follow")
    parser.add_argument("--seconds", type=int, default=60, help="simulated time before everything is healed")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="any", help="what kind of world")
    parser.add_argument("--lines", type=int, default=60, help="length of a failing run's timeline")
    arguments = parser.parse_args()
    failed = False
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        report = run_seed(seed, arguments.seconds * SECOND, scenario=arguments.scenario, lines=arguments.lines)
        failed |= report.broken is not None
        sys.stdout.write(report.text + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
