"""The tour of three nodes does what it says, on real processes."""

import re
import subprocess
import sys

from tests.processes import ROOT
from tests.unit.python.cli.conftest import environment


def test_three_nodes_lose_their_leader_and_no_key() -> None:
    command = [sys.executable, str(ROOT / "examples/three_nodes.py")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("three nodes at kvarts://127.0.0.1:")
    assert re.fullmatch(r"500 keys written; node [123], which led, is killed", lines[1])
    assert lines[-2].startswith("1000 keys written and no error seen")
    assert lines[-1] == "two nodes hold all 1000 of them, as one store: 1 visit"
