"""The tours of clusters do what they say, on real processes."""

import re
import subprocess
import sys

from tests.processes import ROOT
from tests.unit.python.cli.conftest import environment


def _lines(example: str) -> list[str]:
    command = [sys.executable, str(ROOT / "examples" / example)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_three_nodes_lose_their_leader_and_no_key() -> None:
    lines = _lines("three_nodes.py")
    assert lines[0].startswith("three nodes at kvarts://127.0.0.1:")
    assert re.fullmatch(r"500 keys written; node [123], which led, is killed", lines[1])
    assert lines[-2].startswith("1000 keys written and no error seen")
    assert lines[-1] == "two nodes hold all 1000 of them, as one store: 1 visit"


def test_a_growing_cluster_keeps_every_key() -> None:
    lines = _lines("growing_cluster.py")
    assert re.search(r"got their share: node 1: \d+, .*node 4: [3-6], node 5: [3-6]$", lines[1]), lines
    assert re.search(r"has left: node 1: [5-7], node 2: [5-7], node 4: [5-7], node 5: [5-7]$", lines[2]), lines
    assert re.search(r"all [1-9]\d{2,} keys are there and no error was seen", lines[-1]), lines
