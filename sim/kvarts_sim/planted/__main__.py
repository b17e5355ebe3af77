"""`python -m kvarts_sim.planted`: the table of planted bugs, each run from its recorded seed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kvarts_sim.cluster.agenda import SECOND
from kvarts_sim.planted import recorded
from kvarts_sim.planted.bugs import BUGS
from kvarts_sim.planted.hunt import hunt


def main() -> int:
    """Print a line per bug; return 1 if one was missed."""
    parser = argparse.ArgumentParser(prog="python -m kvarts_sim.planted")
    parser.add_argument("--hunt", type=int, default=0, help="seeds to try for a bug whose recorded one does not ring")
    parser.add_argument("--record", action="store_true", help="write down the seeds that were found")
    arguments = parser.parse_args()
    seeds: dict[str, int] = {}
    sys.stdout.write("| bug | met | scenario | seed | caught after, s | by |\n| --- | --- | --- | --- | --- | --- |\n")
    for bug in BUGS:
        seed = recorded.SEEDS.get(bug.name)
        caught = hunt(bug, seed, 1) if seed is not None else None
        caught = caught or hunt(bug, 1, arguments.hunt)
        found = "| | missed"
        if caught is not None:
            seeds[bug.name] = caught.seed
            found = f"{caught.seed} | {caught.at_us / SECOND:.1f} | {caught.rule}"
        sys.stdout.write(f"| {bug.name} | {bug.met} | {bug.scenario} | {found} |\n")
        sys.stdout.flush()
    if arguments.record:
        _record(seeds)
    return int(len(seeds) < len(BUGS))


def _record(seeds: dict[str, int]) -> None:
    lines = [f'    "{name}": {seed},\n' for name, seed in sorted(seeds.items())]
    head = f'"""{recorded.__doc__}"""\n\nfrom __future__ import annotations\n\nSEEDS: dict[str, int] = {{\n'
    Path(recorded.__file__).write_text(head + "".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
