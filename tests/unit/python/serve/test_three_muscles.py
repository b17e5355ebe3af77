"""Three native muscles under the real replicator: they elect, commit, answer, come back, and hand over snapshots."""

from dataclasses import replace
from pathlib import Path

import pytest

import kvarts
from kvarts.replication.events import GroupId
from tests.unit.python.serve.nodes import cluster, until


def test_three_nodes_elect_write_and_read(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, nodes.open() as store:
        first = store.put(b"colour", b"blue")
        assert store.put(b"colour", b"red") > first
        assert store[b"colour"] == b"red"
        assert store.get(b"shape") is None
        leader = nodes.leader()
        until(lambda: all(node.applied == leader.applied for node in nodes.nodes.values()), "a follower stays behind")
        assert leader.muscle.stats()["entries"] > 0


def test_writes_of_many_callers_share_entries(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, nodes.open() as store:
        rows = {f"k{at:04}".encode(): bytes([at % 256]) * 100 for at in range(2000)}
        store.put_many(rows)
        assert dict(store.scan()) == rows
        assert nodes.leader().muscle.stats()["entries"] < 1000


def test_a_follower_that_was_away_catches_up(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, nodes.open() as store:
        store[b"before"] = b"1"
        away = nodes.followers()[0]
        away.drop()
        store[b"while"] = b"2"
        nodes.restart(away)
        leader = nodes.leader()
        until(lambda: away.applied == leader.applied, "the follower stays behind")
        assert away.muscle.snapshot(1) is not None


def test_a_new_leader_has_what_was_acknowledged(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, nodes.open() as store:
        for at in range(100):
            store[b"%03d" % at] = b"x"
        nodes.leader().drop()
        assert [key for key, _ in store.scan()] == [b"%03d" % at for at in range(100)]
        store[b"after"] = b"y"
        assert store[b"after"] == b"y"


def test_acknowledged_writes_survive_when_all_nodes_end_without_a_flush(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes:
        with nodes.open() as store:
            for at in range(100):
                store[b"%03d" % at] = b"x"
        for node in nodes.nodes.values():
            node.drop()
        for node in nodes.nodes.values():
            nodes.restart(node)
        with nodes.open() as store:
            assert [key for key, _ in store.scan()] == [b"%03d" % at for at in range(100)]


def test_a_follower_far_behind_gets_a_snapshot(tmp_path: Path) -> None:
    with cluster(tmp_path, flush_entries=20) as nodes, nodes.open() as store:
        away = nodes.followers()[0]
        away.drop()
        # No entry that it may hold is left in the log when it comes back, nor the one after it.
        away_last = max(each.muscle.last_index(1) for each in nodes.nodes.values() if each is not away)
        for node in nodes.nodes.values():
            replica = node.loop.replicator.replicas[GroupId(1)]
            replica._options = replace(replica._options, keep_entries=5)
        for at in range(200):
            store[b"%03d" % at] = b"x"
        until(lambda: nodes.leader().muscle.first_index(1) > away_last + 1, "the log is never compacted")
        nodes.restart(away)
        leader = nodes.leader()
        until(lambda: away.applied == leader.applied, "the follower stays behind")
        until(lambda: away.muscle.stats()["snapshots_installed"] == 1, "it caught up without a snapshot")
        away.drop()
        nodes.restart(away)
        until(lambda: away.applied == leader.applied, "the follower does not come back after a snapshot")


def test_metrics_name_every_stage(tmp_path: Path) -> None:
    with cluster(tmp_path, count=1) as nodes, nodes.open() as store:
        store[b"colour"] = b"blue"
        text = nodes.leader().muscle.metrics_text()
        for stage in ("queue", "append", "fsync", "quorum", "apply", "reply", "write"):
            assert f'kvarts_stage_seconds_count{{stage="{stage}"}} 0\n' not in text


def test_care_reaches_every_replica_and_verify_says_where_damage_lies(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, nodes.open() as store:
        store.put_many((b"%04d" % at, b"v" * 100) for at in range(1000))
        store.flush()
        store.compact()
        assert all(node.muscle.stats()["flushes"] >= 1 for node in nodes.nodes.values())
        whole = store.verify()
        assert whole.ok
        assert whole.files >= 3 * 2, "a manifest and a table of each"
        stats = store.stats()
        assert (stats.revision, stats.compactions > 0) == (store.revision, True)
        assert stats.keyspaces[0].table_rows >= 1000
        away, damaged = nodes.followers()
        table = max(damaged._data.glob("shards/1/*/*.table"), key=lambda path: path.stat().st_size)
        with table.open("r+b") as file:
            file.seek(100)
            file.write(b"\xff\x00\xff\x00")
        report = store.verify()
        assert [each.file for each in report.damage] == [f"{damaged.address}:{table}"]
        away.drop()
        store.flush()
        assert not store.verify().ok, "damage is told whoever is away"


def test_verify_of_a_cluster_that_is_not_whole_claims_nothing(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, nodes.open() as store:
        store[b"a"] = b"1"
        away = nodes.followers()[0]
        address = away.address
        away.drop()
        store.flush()
        store.compact()
        with pytest.raises(kvarts.Unavailable, match=address):
            store.verify()
