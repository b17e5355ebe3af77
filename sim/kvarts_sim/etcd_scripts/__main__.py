"""`python -m kvarts_sim.etcd_scripts FILE…`: prints pass or the first differing line of each script."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from kvarts.raft.errors import InvariantBroken
from kvarts_sim.etcd_scripts.datadriven import ScriptError
from kvarts_sim.etcd_scripts.runner import run_file


def main(arguments: Sequence[str]) -> int:
    """Run the scripts; return 0 if all pass, 1 if one differs, 2 if there is nothing to run."""
    if not arguments:
        sys.stderr.write("usage: python -m kvarts_sim.etcd_scripts FILE…\n")
        return 2
    failed = 0
    for name in arguments:
        try:
            count, difference = run_file(Path(name))
        except (ScriptError, OSError, ValueError, LookupError, InvariantBroken) as error:
            failed += 1
            sys.stdout.write(f"error {name}: {type(error).__name__}: {error}\n")
            continue
        failed += difference is not None
        sys.stdout.write(f"pass {name} ({count} commands)\n" if difference is None else f"differs {difference}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
