"""`python -m kvarts.testing.linearizability --jepsen FILE...`: one line per file, `FILE linearizable` or not."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kvarts.testing.linearizability.checking import STEPS_MAX, check
from kvarts.testing.linearizability.jepsen import parse
from kvarts.testing.linearizability.models import Register
from kvarts.testing.linearizability.verdict import Outcome

EPILOG = (
    "Exit code: 0 if every file was judged, 2 if one could not be read, 3 if a search ended undecided (FILE unknown)."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the files and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m kvarts.testing.linearizability",
        description="Tell whether recorded histories of a register are linearizable.",
        epilog=EPILOG,
    )
    parser.add_argument("--jepsen", nargs="+", metavar="FILE", required=True, help="logs of Jepsen's register test")
    parser.add_argument("--explain", action="store_true", help="show where an order was sought in vain")
    parser.add_argument("--steps-max", type=int, default=STEPS_MAX, metavar="N", help="end a search after N steps")
    parser.add_argument("--fail", action="store_true", help="exit with 1 if a history is not linearizable")
    options = parser.parse_args(arguments)
    code = 0
    for name in options.jepsen:
        try:
            with Path(name).open(encoding="utf-8") as lines:
                verdict = check(parse(lines), Register(), steps_max=options.steps_max)
        except (OSError, ValueError) as why:
            print(f"{name}: {why}", file=sys.stderr)
            code = 2
            continue
        print(f"{name} {verdict.outcome}", flush=True)
        if options.explain and verdict.counterexample:
            print(verdict.counterexample)
        if verdict.outcome is Outcome.UNKNOWN:
            code = 2 if code == 2 else 3
        elif options.fail and not verdict:
            code = code or 1
    return code


if __name__ == "__main__":
    sys.exit(main())
