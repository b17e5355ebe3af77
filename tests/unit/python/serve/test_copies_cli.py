"""`kvarts cluster check`, `rebuild`, `backup` and `restore` as an operator types them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import kvarts
from kvarts.remote.admin import call
from kvarts.remote.backups import MANIFEST, UNDER_WAY
from tests.unit.python.cli.conftest import environment
from tests.unit.python.serve.nodes import Cluster, cluster, until
from tests.unit.python.serve.test_checks import altered

ROWS = {b"user%05d" % number: b"%d" % number * 20 for number in range(40_000)}


def words(*given: object) -> list[str]:
    return [sys.executable, "-m", "kvarts", *map(str, given)]


def typed(*given: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words(*given), capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def told(*given: object, code: int = 0) -> Any:
    return json.loads(typed(*given, "--json", code=code).stdout)


def _open(nodes: Cluster) -> Any:
    return kvarts.open(f"{nodes.uri}/checked?timeout=30", shards=3)


def test_a_difference_is_told_fenced_and_cured(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, _open(nodes) as db:
        db.put_many(dict(list(ROWS.items())[:500]))
        first = typed("cluster", "check", nodes.uri).stdout.splitlines()
        assert first[0].split() == ["shard", "keyspace", "replicas", "rows", "size", "entry", "outcome"]
        assert [line.split()[:2] for line in first[1:3]] == [["1", "(meta)"], ["2", "checked"]]
        assert all(line.endswith("equal") and "3 of 3" in line for line in first[1:])
        shard = altered(nodes, tmp_path, 3, b"user00007", b"altered")
        found = told("cluster", "check", nodes.uri, "--shard", shard, "--no-fence", code=1)
        (group,) = found["groups"]
        assert (group["outcome"], group["differing"], group["fenced"]) == ("differs", [3], [])
        fenced = typed("cluster", "check", nodes.uri, code=1)
        assert "differs: node 3" in fenced.stdout
        assert f"shard {shard}: node 3 is fenced: at entry" in fenced.stderr
        until(lambda: call(nodes.uri, "status")["fenced"] == {str(shard): [3]}, "the fence is not told")
        assert f"shard {shard} is fenced on node 3" in typed("status", nodes.uri).stdout
        assert "unheard" in typed("cluster", "check", nodes.uri, "--shard", shard, code=1).stdout
        rebuilt = typed("cluster", "rebuild", nodes.uri, shard, 3).stdout
        assert rebuilt == f"shard {shard} has replicas on nodes 1, 2, 3\n"
        assert all(each["outcome"] == "equal" for each in told("cluster", "check", nodes.uri)["groups"])
        assert "lists them" in typed("cluster", "check", nodes.uri, "--shard", 99, code=3).stderr


def test_a_backup_is_made_looked_into_and_restored(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    folder = tmp_path / "copy"
    with cluster(tmp_path / "nodes", 1) as nodes, _open(nodes) as db:
        db.put_many(ROWS)
        made = told("cluster", "backup", nodes.uri, folder)
        (keyspace,) = made["keyspaces"]
        assert (keyspace["keyspace"], keyspace["rows"], made["rows"]) == ("checked", len(ROWS), len(ROWS))
        seen = typed("get", folder / "rows", "user00007", "--keyspace", "checked").stdout
        assert seen.strip() == "7" * 20
        assert "already" in typed("cluster", "backup", nodes.uri, folder, code=3).stderr
        refused = typed("cluster", "restore", folder, nodes.uri, code=3).stderr
        assert "exists and is not empty" in refused
        db.clear()
        db[b"other"] = b"1"
        restored = told("cluster", "restore", folder, nodes.uri, "--replace", "--shards", 5)
        # A keyspace that exists keeps its shards.
        assert restored["keyspaces"] == [{"keyspace": "checked", "rows": len(ROWS), "expired": 0, "shards": 3}]
        assert dict(db) == ROWS
        for wrong in (("--shards", "x"), ("--replace", "--into-existing")):
            typed("cluster", "restore", folder, nodes.uri, *wrong, code=2)


def test_a_backup_that_is_killed_is_none(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    folder = tmp_path / "copy"
    with cluster(tmp_path / "nodes", 1) as nodes, _open(nodes) as db:
        db.put_many(ROWS)
        process = subprocess.Popen(words("cluster", "backup", nodes.uri, folder), env=environment())
        gone = threading.Event()
        while not (folder / "rows").exists() and process.poll() is None:
            gone.wait(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        assert (folder / UNDER_WAY).exists()
        assert not (folder / MANIFEST).exists()
        refused = typed("cluster", "restore", folder, nodes.uri, "--replace", code=3).stderr
        assert "KV-2011" in refused
        assert dict(db) == ROWS
        assert "holds 40,000 rows of 1 keyspace" in typed("cluster", "backup", nodes.uri, folder).stdout
        typed("cluster", "restore", folder, nodes.uri, "--replace")
        assert dict(db) == ROWS


@pytest.mark.parametrize("code", ["KV-2011", "KV-3010"])
def test_new_errors_are_explained(code: str) -> None:
    assert "kvarts cluster" in typed("explain", code).stdout
