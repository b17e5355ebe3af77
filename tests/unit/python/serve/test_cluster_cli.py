"""`kvarts cluster` as an operator types it, on a cluster whose shards move."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import kvarts
from tests.unit.python.cli.conftest import environment
from tests.unit.python.serve.nodes import Cluster, cluster, until
from tests.unit.python.serve.test_moves import kept, settled


@dataclass
class Operator:
    """Types commands about one cluster."""

    nodes: Cluster

    def __call__(self, command: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "kvarts", "cluster", command, self.nodes.uri, *arguments]
        done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=False)
        assert done.returncode == code, done.stderr
        return done

    def json(self, command: str, *arguments: str) -> Any:
        """Return what a command answers to a program."""
        return json.loads(self(command, *arguments, "--json").stdout)


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    with cluster(tmp_path) as nodes:
        with kvarts.open(f"{nodes.uri}/typed?timeout=30", shards=4) as db:
            db[b"a"] = b"1"
        yield Operator(nodes)


def test_a_node_is_planned_for_drained_and_removed(operator: Operator, tmp_path: Path) -> None:
    nodes = operator.nodes
    assert operator("plan").stdout.startswith("nothing to move: 4 shards")
    refused = operator("drain", "3", code=3)
    assert "add one first" in refused.stderr
    assert "--join" in refused.stderr
    joined = nodes.join(tmp_path)
    until(lambda: len(kept(joined)) == 3 and settled(nodes), "the newcomer gets no share")
    supposed = operator("plan", "--drain", "1").stdout
    assert supposed.startswith("3 moves of 4 shards")
    assert "drain" in supposed
    drained = operator.json("drain", "1")
    assert drained == {"id": 1, "draining": True, "shards": 0}
    assert "1" not in {voter for each in operator.json("shards")["shards"] for voter in map(str, each["voters"])}
    assert operator("remove", "1").stdout == "node 1 is removed\n"
    nodes.nodes.pop(1)._thread.join(30)


def test_a_node_takes_the_place_of_another_and_may_be_given_back(operator: Operator, tmp_path: Path) -> None:
    nodes = operator.nodes
    joined = nodes.join(tmp_path)
    told = operator("replace", "2", str(joined.number)).stdout
    assert told == "node 2 keeps no shard: it can be removed\n"
    assert len(kept(joined)) == 4
    assert operator("drain", "2", "--stop").stdout == "node 2 may keep shards again\n"
    until(lambda: len(kept(nodes.nodes[2])) >= 2 and settled(nodes), "it is given nothing")


def test_a_lost_node_is_made_good_and_removed_in_one_command(operator: Operator, tmp_path: Path) -> None:
    nodes = operator.nodes
    assert "answers: it is not lost" in operator("remove", "3", "--lost", code=3).stderr
    nodes.join(tmp_path)
    nodes.nodes.pop(3).drop()
    until(lambda: "away" in operator("plan").stdout, "its silence is not noticed")
    assert operator("remove", "3", "--lost").stdout == "node 3 is removed\n"
    assert all(len(kept(each)) == 4 for each in nodes.nodes.values())
