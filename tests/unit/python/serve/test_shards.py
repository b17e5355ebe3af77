"""Keyspaces of many shards on three nodes: where keys lie, what spans shards, and that a node may be away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kvarts
from kvarts.base.ids import NodeId
from kvarts.node.shards import META
from kvarts.raft.messages import Role
from kvarts.remote.admin import call
from kvarts.shardmap.shard import KeyspaceId
from tests.unit.python.serve.nodes import Cluster, cluster, until

ROWS = {b"user%03d" % number: b"%d" % number for number in range(500)}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as running:
        yield running


def _open(nodes: Cluster, name: str, **layout: Any) -> Any:
    return kvarts.open(f"{nodes.uri}/{name}?timeout=30", **layout)


def test_every_node_holds_all_shards_and_each_shard_takes_its_writes(nodes: Cluster) -> None:
    with _open(nodes, "spread", shards=8) as db:
        shard_map = nodes.leader().loop.shards.map
        until(lambda: all(_applied(nodes, each.id) for each in shard_map.shards), "replicas differ")
        first = {each.id: _applied(nodes, each.id) for each in shard_map.shards}
        db.put_many(ROWS)
        assert dict(db) == ROWS
    (keyspace,) = shard_map.spaces
    assert {shard_map.lookup(keyspace, key).id for key in ROWS} == set(first)
    # The entry that opens the client's session, and one of the shard's own rows; a new leader adds one, too.
    until(lambda: all(_applied(nodes, each) >= applied + 2 for each, applied in first.items()), "a shard took no write")
    for node in nodes.nodes.values():
        assert set(node.muscle.groups()) == {META, *first}


def _applied(nodes: Cluster, group: int) -> int:
    """Return the index that all replicas of a group have reached; 0 while they differ."""
    applied = {node.muscle.position(group)[0] for node in nodes.nodes.values()}
    return applied.pop() if len(applied) == 1 else 0


def test_shards_are_listed_with_their_leaders(nodes: Cluster) -> None:
    with _open(nodes, "listed", ordered=[b"m"]):
        pass
    told = call(nodes.uri, "shards")
    assert [(each["keyspace"], each["start"], each["stop"]) for each in told["shards"]] == [
        ("listed", "", "6d"),
        ("listed", "6d", ""),
    ]
    assert all(each["voters"] == [1, 2, 3] and each["leader"] in (1, 2, 3) for each in told["shards"])


def test_leaders_are_spread_over_nodes(nodes: Cluster) -> None:
    with _open(nodes, "spread", shards=9):
        pass

    def led() -> list[int]:
        return sorted(
            sum(replica.raft.role is Role.LEADER for group, replica in _replicas(node) if group != META)
            for node in nodes.nodes.values()
        )

    until(lambda: led() == [3, 3, 3], "leaders are not spread")


def _replicas(node: Any) -> list[Any]:
    return list(node.loop.replicator.replicas.items())


def test_scans_are_merged_in_the_order_of_keys(nodes: Cluster) -> None:
    with _open(nodes, "merged", shards=8) as db:
        db.put_many(ROWS)
        keys = sorted(ROWS)
        assert list(db) == keys
        assert list(reversed(db)) == keys[::-1]
        assert list(db.scan(b"user100", b"user200").keys()) == keys[100:200]
        assert list(db.scan(None, b"user100", limit=7, reverse=True).keys()) == keys[99:92:-1]
        assert len(db) == len(ROWS)
        scan = db.scan()
        db.put_many({b"user%03d!" % number: b"new" for number in range(500)})
        assert dict(scan) == ROWS


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (list, []),
        (len, 0),
        (lambda db: db.get_many([b"a", b"b", b"c", b"d"]), [None] * 4),
        (lambda db: db.clear(), None),
        (lambda db: db.revision > 0, True),
        (lambda db: db.scan(reverse=True, limit=3).close(), None),
    ],
    ids=["scan", "len", "get_many", "clear", "revision", "reverse"],
)
def test_a_client_finds_the_shards_of_a_keyspace_that_it_has_just_made(
    nodes: Cluster, first: Any, expected: object
) -> None:
    with _open(nodes, "plain") as plain, plain.keyspace("fresh", shards=8) as db:
        assert first(db) == expected
    with _open(nodes, "plain") as plain, plain.keyspace("fresher", shards=8) as db, pytest.raises(kvarts.CrossShard):
        db.snapshot()


def test_get_many_keeps_the_order_asked_over_shards(nodes: Cluster) -> None:
    with _open(nodes, "many", shards=8) as db:
        db.put_many(ROWS)
        asked = [b"user499", b"nobody", b"user000", b"user250", b"user499"]
        assert db.get_many(asked) == [b"499", None, b"0", b"250", b"499"]
        db.delete_many(list(ROWS)[::2])
        assert db.get_many(sorted(ROWS)) == [None if number % 2 == 0 else b"%d" % number for number in range(500)]
        db.clear()
        assert not db


def test_a_batch_or_a_snapshot_over_several_shards_is_refused_with_a_hint(nodes: Cluster) -> None:
    with _open(nodes, "cross", shards=8) as db:
        with pytest.raises(kvarts.CrossShard, match="a batch spans 8 shards") as crossed:
            db.update(ROWS)
        assert "partition=" in (crossed.value.hint or "")
        assert not db
        with pytest.raises(kvarts.CrossShard, match=r"snapshot\(\) spans 8 shards"):
            db.snapshot()
        with pytest.raises(kvarts.CrossShard), db.batch() as batch:
            batch[b"a"] = b"1"
            batch.keyspace("other")[b"a"] = b"1"


def test_keys_of_one_part_share_a_shard_with_batches_and_snapshots(nodes: Cluster) -> None:
    with _open(nodes, "parts", shards=8, partition=kvarts.Until(b"/")) as db:
        for user in range(16):
            with db.batch() as batch:
                for item in range(4):
                    batch[b"%d/%d" % (user, item)] = b"old"
        db.keyspace("elsewhere", shards=1)
        snapshot = db.prefixed(b"7/").snapshot()
        db[b"7/0"] = b"new"
        assert set(snapshot.values()) == {b"old"}
        assert len(db) == 64
        with pytest.raises(kvarts.CrossShard, match="lies elsewhere"):
            snapshot.keyspace("elsewhere")


def test_ordered_shards_are_cut_at_the_keys_that_were_given(nodes: Cluster) -> None:
    with _open(nodes, "ordered", ordered=[b"user100", b"user300"]) as db:
        db.put_many(ROWS)
        assert list(db.items()) == sorted(ROWS.items())
        with db.batch() as batch:
            batch[b"user000"] = batch[b"user099"] = b"both"
        with pytest.raises(kvarts.CrossShard, match="spans 2 shards"), db.batch() as batch:
            batch[b"user099"] = batch[b"user100"] = b"both"
        assert db[b"user099"] == b"both"
    shard_map = nodes.nodes[1].loop.shards.map
    assert [each.start for each in shard_map.shards] == [b"", b"user100", b"user300"]


@pytest.mark.parametrize(
    "layout",
    [
        {"shards": 0},
        {"shards": 5000},
        {"shards": 4, "ordered": True},
        {"ordered": True, "partition": kvarts.Prefix(2)},
        {"ordered": [b"b", b"a"]},
        {"ordered": [b"b"], "shards": 3},
    ],
    ids=str,
)
def test_layouts_that_cannot_be_are_refused(nodes: Cluster, layout: dict[str, Any]) -> None:
    with pytest.raises(kvarts.InvalidArgument):
        _open(nodes, "never", **layout)
    with _open(nodes, "default") as db:
        assert "never" not in db.keyspaces()


def test_keyspaces_without_shards_stay_where_they_were(nodes: Cluster) -> None:
    with _open(nodes, "plain") as db:
        db.update(ROWS)
        assert dict(db.snapshot()) == ROWS
        with db.keyspace("spread", shards=4) as spread:
            spread.put_many(ROWS)
            assert dict(spread) == dict(db) == ROWS
    assert nodes.nodes[1].loop.shards.map.shards_in(KeyspaceId(2))


def test_shards_go_on_without_a_node_and_catch_it_up(nodes: Cluster) -> None:
    with _open(nodes, "failover", shards=8) as db:
        db.put_many(ROWS)
        away = nodes.nodes[2]
        away.drop()
        db.put_many(dict.fromkeys(ROWS, b"newer"))
        assert set(db.values()) == {b"newer"}
        nodes.restart(away)
        groups = set(away.muscle.groups())
        assert len(groups) == 9
        others = nodes.nodes[1].muscle
        until(
            lambda: all(away.muscle.position(each)[0] >= others.position(each)[0] for each in groups),
            "the node that was away does not catch up",
        )
        assert set(db.values()) == {b"newer"}


def test_each_increment_takes_place_once_while_leaders_come_and_go(nodes: Cluster) -> None:
    counters, times, threads = 24, 40, 4
    with _open(nodes, "counted", shards=8, value=kvarts.U64) as db:
        failed: list[Exception] = []

        def count(first: int) -> None:
            try:
                for turn in range(times):
                    db.incr(b"counter%02d" % ((first + turn) % counters))
            except kvarts.KvartsError as error:
                failed.append(error)

        workers = [threading.Thread(target=count, args=(7 * each,)) for each in range(threads)]
        for each in workers:
            each.start()
        for number in (1, 3):
            away = nodes.nodes[number]
            away.drop()
            nodes.restart(away)
        for each in workers:
            each.join()
        assert not failed
        assert sum(db.values()) == threads * times


def test_a_node_that_keeps_shards_is_not_removed(nodes: Cluster) -> None:
    with _open(nodes, "kept", shards=2):
        pass
    with pytest.raises(kvarts.InvalidArgument, match="keeps replicas of 2 shards"):
        call(nodes.uri, "remove-node", {"id": 3})
    assert NodeId(3) in nodes.leader().loop.desk._asker.configuration.nodes
