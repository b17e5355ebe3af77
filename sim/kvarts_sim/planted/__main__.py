"""`python -m kvarts_sim.planted`: the table of planted bugs; `--hunt N` looks for seeds of those not caught yet."""

from __future__ import annotations

import argparse
import sys

from kvarts_sim.cluster.agenda import SECOND
from kvarts_sim.planted.bugs import BUGS
from kvarts_sim.planted.hunt import hunt
from kvarts_sim.planted.recorded import SEEDS


def main() -> int:
    """Print a line per bug; return 1 if one with a recorded seed was missed."""
    parser = argparse.ArgumentParser(prog="python -m kvarts_sim.planted")
    parser.add_argument("--hunt", type=int, default=0, help="seeds to try for a bug that has none yet")
    tries = parser.parse_args().hunt
    missed = 0
    sys.stdout.write("| bug | met | seed | caught after, s | by |\n| --- | --- | --- | --- | --- |\n")
    for bug in BUGS:
        seed = SEEDS.get(bug.name)
        caught = hunt(bug, 1, tries) if seed is None else hunt(bug, seed, 1)
        missed += caught is None and seed is not None
        found = f"{caught.seed} | {caught.at_us / SECOND:.1f} | {caught.rule}" if caught else " | | not caught yet"
        sys.stdout.write(f"| {bug.name} | {bug.met} | {found} |\n")
        sys.stdout.flush()
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
