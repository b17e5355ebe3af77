"""Tokens as an operator types them, and a process that joins by one; the key of tokens is shown by nothing."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvarts.node.bootstrap import find_identity, ticket_for
from kvarts.node.shards import META
from kvarts.remote.admin import call, join
from kvarts.statemachine.joins import join_key_in
from tests.unit.python.cli.conftest import environment
from tests.unit.python.remote.nameserver import name_server
from tests.unit.python.serve.nodes import Cluster, cluster


def typed(*words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kvarts", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment() | variables, check=False)
    assert done.returncode == code, done.stderr
    return done


@contextmanager
def serving(*words: str, **variables: str) -> Iterator[tuple[dict[str, object], subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "kvarts", "serve", "--json", "--listen", "127.0.0.1:0", *words]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment() | variables
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()), process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "nodes").mkdir()
    with cluster(tmp_path / "nodes", count=1) as running:
        yield running


def test_stdout_has_the_token_alone_and_an_object_for_programs(nodes: Cluster) -> None:
    told = typed("cluster", "token", nodes.uri, "--for", "127.0.0.1:9", "--ttl", "10m")
    assert told.stdout.startswith("kvj1.")
    assert told.stdout.count("\n") == 1
    assert "the node at 127.0.0.1:9" in told.stderr
    made = json.loads(typed("cluster", "token", nodes.uri, "--json").stdout)
    assert set(made) == {"required", "token", "for", "expires_ms"}
    assert abs(made["expires_ms"] - call(nodes.uri, "clock")["now_ms"] - 3_600_000) < 60_000
    assert typed("cluster", "token", nodes.uri, "--open").stdout == "nodes join without a token\n"
    assert typed("cluster", "token", nodes.uri, "--revoke").stdout == "nodes join by a token only\n"
    assert "makes no token" in typed("cluster", "token", nodes.uri, "--open", "--ttl", "5m", code=2).stderr
    assert "30 days" in typed("cluster", "token", nodes.uri, "--ttl", "31d", code=3).stderr


def test_a_process_joins_by_a_token_and_records_in_dns_and_shows_it_nowhere(nodes: Cluster, tmp_path: Path) -> None:
    token = typed("cluster", "token", nodes.uri).stdout.strip()
    port = nodes.leader().address.rpartition(":")[2]
    table = {("_kvarts._tcp.example.", "SRV"): [f"0 0 {port} n.example."], ("n.example.", "A"): ["127.0.0.1"]}
    data = tmp_path / "joined"
    with name_server(table) as server:
        words = ["--data", str(data), "--join", "srv:example", "--dns", server.address]
        refused = typed("serve", "--listen", "127.0.0.1:0", *words, code=3)
        assert "KV-3011" in refused.stderr
        assert "kvarts cluster token" in refused.stderr
        with serving(*words, KVARTS_TOKEN=token) as (place, process):
            assert place["id"] == 2
            process.send_signal(signal.SIGTERM)
            out, events = process.communicate(timeout=60)
            assert token not in out + events
        # It belongs to the cluster: neither token nor seeds are looked at again.
        with serving("--data", str(data), KVARTS_TOKEN=token) as (place, _):
            assert place["id"] == 2
        again = typed(
            "serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "b"), *words[2:], code=3, KVARTS_TOKEN=token
        )
        assert "used before" in again.stderr


def test_a_node_that_was_killed_before_it_heard_gets_its_id_when_it_starts_again(
    nodes: Cluster, tmp_path: Path
) -> None:
    token, data = typed("cluster", "token", nodes.uri).stdout.strip(), tmp_path / "joined"
    seed = nodes.leader().address
    asked = ticket_for(data, "127.0.0.1:0", random.SystemRandom())
    assert join(seed, asked.address, token=token, ticket=asked.ticket)[1] == 2
    with serving("--data", str(data), "--join", seed, KVARTS_TOKEN=token) as (place, _):
        assert (place["id"], place["address"]) == (2, asked.address)
    found = find_identity(data)
    assert found is not None
    assert found.node == 2
    assert [each["id"] for each in call(nodes.uri, "status")["nodes"]] == [1, 2]


def test_a_token_without_a_cluster_to_join_founds_none(tmp_path: Path) -> None:
    refused = typed("serve", "--data", str(tmp_path / "n"), "--listen", "127.0.0.1:0", code=3, KVARTS_TOKEN="kvj1.a.b")
    assert "give --join too" in refused.stderr


def test_settings_tell_that_there_is_a_token_and_not_which(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('token = "kvj1.xyz"\n')
    for words in ((), ("--json",)):
        told = typed("config", "explain", "--config", str(file), *words).stdout
        assert "(set)" in told
        assert "xyz" not in told


def test_the_key_of_tokens_is_in_no_answer_no_backup_and_no_inspection(nodes: Cluster, tmp_path: Path) -> None:
    call(nodes.uri, "token", {})
    with nodes.open() as store:
        store[b"a"] = b"1"
    leader = nodes.leader()
    key = join_key_in(leader.loop.replicator.replicas[META].system.rows)
    assert key is not None
    secret = key.hex()
    answers = [
        json.dumps(call(nodes.uri, verb)) for verb in ("status", "shards", "keyspaces", "plan", "layouts", "stats")
    ]
    assert not any(secret in each for each in answers)
    typed("cluster", "backup", nodes.uri, str(tmp_path / "copy"))
    assert not any(
        secret.encode() in each.read_bytes() or key in each.read_bytes()
        for each in (tmp_path / "copy").rglob("*")
        if each.is_file()
    )
    leader.stop()
    shown, seen = "", 0
    for path in sorted((tmp_path / "nodes").rglob("*")):
        if path.is_file() and path.suffix in (".table", ".log"):
            kind = "table" if path.suffix == ".table" else "log"
            done = subprocess.run(
                [sys.executable, "-m", "kvarts", "inspect", kind, str(path), "--rows"],
                capture_output=True,
                text=True,
                env=environment(),
                check=False,
            )
            shown, seen = shown + done.stdout, seen + ("join-key" in done.stdout)
    assert seen
    assert "(hidden)" in shown
    assert secret not in shown
