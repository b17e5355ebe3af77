"""Replicas are compared by digests at one entry: equal ones are never called different; one that differs is fenced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kvarts
from kvarts.base.errors import InvalidArgument, ReplicaFenced
from kvarts.base.options import validate
from kvarts.embedded.opening import open_database
from kvarts.embedded.store import keyspace_of
from kvarts.node.bootstrap import Identity
from kvarts.node.loop import IS_FENCED
from kvarts.node.serve import _open_muscle
from kvarts.node.shards import META
from kvarts.remote.admin import call
from kvarts.remote.checking import Finding, Outcome, check
from tests.unit.python.serve.nodes import CLUSTER, Cluster, cluster, until
from tests.unit.python.serve.test_moves import Load

ROWS = {b"user%03d" % number: b"%d" % number for number in range(300)}
SHARDS = 4
USER = 1
"""First byte of users' rows in a shard's tree."""


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as running:
        yield running


def open_checked(nodes: Cluster, shards: int = SHARDS) -> Any:
    return kvarts.open(f"{nodes.uri}/checked?timeout=30", shards=shards)


def compare(nodes: Cluster, **options: Any) -> dict[int, Finding]:
    return {each.group: each for each in check(nodes.uri, **options)}


def test_equal_replicas_are_equal_under_load_with_expiries_splits_and_moves(nodes: Cluster) -> None:
    with open_checked(nodes) as db:
        db.put_many(ROWS)
        load = Load(db)
        for lap in range(3):
            with db.keyspace("short", shards=2) as short:
                for number in range(100):
                    short.put(b"%d" % number, b"x", ttl=0.05 * (number % 7 + 1))
            call(nodes.uri, "split", {"keyspace": "checked", "into": SHARDS + lap + 1})
            for shard in call(nodes.uri, "shards")["shards"][:2]:
                call(nodes.uri, "move-leader", {"shard": shard["id"]})
            for number in (lap % 3 + 1,):
                nodes.nodes[number].muscle.flush(META)
            found = compare(nodes)
            assert {each.outcome for each in found.values()} == {Outcome.EQUAL}, [
                each.told() for each in found.values()
            ]
            assert all(len(each.digests) == 3 and each.index > 0 for each in found.values())
        load.stop()


def alter(folder: Path, key: bytes, value: bytes, keyspace: int) -> None:
    """Change a row of one replica underneath it, while its node is down: by the engine, so that all checksums hold."""
    (store,) = [each for each in folder.iterdir() if each.is_dir()]
    database = open_database(store, validate({"create": False, "durability": "none"}))
    rows: Any = keyspace_of(database, "shard", None, None, create=False, target=str(store))
    row = bytes((USER,)) + keyspace.to_bytes(4, "big") + key
    assert rows[row] != value
    rows[row] = value
    database.flush()
    database.close()


def owner(nodes: Cluster, key: bytes) -> tuple[int, int]:
    """Return keyspace and shard of a key."""
    (keyspace,) = nodes.leader().loop.shards.map.spaces
    return keyspace, nodes.leader().loop.shards.map.lookup(keyspace, key).id


def altered(nodes: Cluster, path: Path, number: int, key: bytes, value: bytes) -> int:
    """Alter a row on one node while it is down; return the shard."""
    keyspace, shard = owner(nodes, key)
    node = nodes.nodes[number]
    node.muscle.flush(shard)
    node.stop()
    alter(path / str(number) / "shards" / str(shard), key, value, keyspace)
    nodes.restart(node)
    return shard


def fenced(nodes: Cluster, shard: int) -> list[int]:
    found: list[int] = next(each["fenced"] for each in call(nodes.uri, "shards")["shards"] if each["id"] == shard)
    return found


def test_a_replica_that_differs_is_found_fenced_over_restarts_and_rebuilt(nodes: Cluster, tmp_path: Path) -> None:
    with open_checked(nodes) as db:
        db.put_many(ROWS)
        assert all(each.outcome is Outcome.EQUAL for each in compare(nodes).values())
        shard = altered(nodes, tmp_path, 3, b"user007", b"altered")
        # Asked of two shards, and only told: nothing is fenced.
        told = compare(nodes, groups=(META, shard), fences=False)
        assert (set(told), told[shard].outcome, told[shard].differing) == ({META, shard}, Outcome.DIFFERS, (3,))
        assert shard in nodes.nodes[3].muscle.groups()

        found = compare(nodes)
        assert {each.group for each in found.values() if each.outcome is not Outcome.EQUAL} == {shard}
        assert (found[shard].differing, list(found[shard].fenced)) == ((3,), [3])
        for _ in range(2):
            node = nodes.nodes[3]
            assert shard not in node.muscle.groups()
            assert shard in node.muscle.fences()
            until(lambda: fenced(nodes, shard) == [3], "the fence is not told")
            # It is asked for nothing, not even for what may be old: others answer.
            assert db.get(b"user007", consistency="stale") == b"7"
            db[b"user007"] = b"7"
            again = compare(nodes, groups=(shard,))[shard]
            assert (again.outcome, again.differing, set(again.silent)) == (Outcome.UNHEARD, (), {3})
            node.stop()
            nodes.restart(node)

        with pytest.raises(InvalidArgument, match="has not fenced"):
            call(nodes.uri, "rebuild", {"shard": shard, "node": 2})
        until(lambda: fenced(nodes, shard) == [3], "the fence is not told")
        call(nodes.uri, "rebuild", {"shard": shard, "node": 3})
        until(lambda: shard in nodes.nodes[3].muscle.groups(), "the replica does not come back")
        until(lambda: nodes.leader().loop.shards.map.get(shard).voters == (1, 2, 3), "it does not vote")  # type: ignore
        until(lambda: not fenced(nodes, shard), "it is fenced still")
        assert all(each.outcome is Outcome.EQUAL for each in compare(nodes).values())
        assert dict(db) == ROWS


def test_a_leader_that_differs_is_fenced_and_another_leads(nodes: Cluster, tmp_path: Path) -> None:
    with open_checked(nodes) as db:
        db.put_many(ROWS)
        shard = altered(nodes, tmp_path, 2, b"user123", b"altered")
        until(lambda: _leads(nodes, 2, shard), "it does not lead")
        assert compare(nodes)[shard].differing == (2,)
        assert db[b"user123"] == b"123"
        db.put_many(ROWS)
        assert dict(db) == ROWS


def _leads(nodes: Cluster, node: int, shard: int) -> bool:
    try:
        call(nodes.uri, "move-leader", {"shard": shard, "to": node})
    except kvarts.KvartsError:
        return False
    return True


def test_where_no_majority_agrees_nobody_is_fenced(nodes: Cluster, tmp_path: Path) -> None:
    with open_checked(nodes) as db:
        db.put_many(ROWS)
        shard = altered(nodes, tmp_path, 2, b"user007", b"one")
        assert altered(nodes, tmp_path, 3, b"user007", b"other") == shard
        found = compare(nodes)
        assert {each.group for each in found.values() if each.outcome is not Outcome.EQUAL} == {shard}
        assert (found[shard].outcome, found[shard].fenced) == (Outcome.DIVIDED, {})
        assert all(shard in node.muscle.groups() for node in nodes.nodes.values())


def test_a_node_fences_only_what_most_voters_contradict(nodes: Cluster) -> None:
    with open_checked(nodes, 1) as db:
        db.put_many(ROWS)
    found = compare(nodes)
    shard = max(found)
    asked = {"group": shard, "number": found[shard].number, "digest": found[shard].agreed, "agreeing": [2, 3]}
    for wrong, why in (
        ({}, "does not differ"),
        ({"digest": "00", "agreeing": [2]}, "no majority"),
        ({"digest": "00", "number": 99}, "no digest 99"),
    ):
        with pytest.raises(InvalidArgument, match=why):
            call(nodes.uri, "fence", {**asked, **wrong})
    assert not any(node.muscle.fences() for node in nodes.nodes.values())


def test_a_node_whose_meta_group_differs_stops_and_does_not_start(nodes: Cluster, tmp_path: Path) -> None:
    with open_meta(nodes) as db:
        db.put_many(ROWS)
        keyspace = nodes.leader().loop.desk._asker.configuration.keyspaces["meta"][0]
        node = nodes.followers()[0]
        node.muscle.flush(META)
        node.stop()
        alter(tmp_path / str(node.number) / "shards" / str(META), b"user007", b"altered", keyspace)
        nodes.restart(node)
        assert compare(nodes)[META].differing == (node.number,)
        node._thread.join(60)
        assert IS_FENCED in str(node._reason)
        node.muscle.stop()
        settings = {"data": str(tmp_path / str(node.number)), "memory": 64 << 20, "request_timeout_ms": 1000}
        identity = Identity(cluster=CLUSTER, node=node.number, peers={})
        with (
            pytest.raises(ReplicaFenced, match="join again"),
            _open_muscle(settings, identity, "127.0.0.1:0"),
        ):
            pass
        # The others go on.
        db[b"more"] = b"1"
        assert compare(nodes, groups=(META,))[META].outcome is Outcome.UNHEARD


def open_meta(nodes: Cluster) -> Any:
    return kvarts.open(f"{nodes.uri}/meta?timeout=30")
