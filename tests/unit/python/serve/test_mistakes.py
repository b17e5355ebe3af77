"""What operators ask for by mistake, or two of them at once, and nodes that are let in and do not come."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import kvarts
from kvarts.node.bootstrap import demand_free
from kvarts.remote.admin import call, join
from tests.unit.python.serve.nodes import Cluster, cluster, until

NOBODY = "127.0.0.1:9"


def listed(nodes: Cluster) -> dict[int, str]:
    return {each["id"]: each["address"] for each in call(nodes.uri, "status")["nodes"]}


def answering(nodes: Cluster) -> set[int]:
    """Nodes that the leader hears."""
    return {each["node"] for each in call(nodes.uri, "plan")["nodes"] if each["duty"] == "serves"}


def test_a_member_that_answers_keeps_its_address(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, nodes.open() as store:
        before = listed(nodes)
        other = nodes.followers()[0].number
        for node, address in ((other, NOBODY), (9, before[other]), (nodes.leader().number, NOBODY)):
            with pytest.raises(kvarts.InvalidArgument, match="and answers"):
                call(nodes.uri, "add-node", {"id": node, "address": address})
        with pytest.raises(kvarts.InvalidArgument, match="and answers"):
            join(",".join(nodes.addresses.values()), before[other])
        for address in ("banana", "127.0.0.1", "127.0.0.1:99999"):
            with pytest.raises(kvarts.InvalidArgument, match="no host:port"):
                call(nodes.uri, "add-node", {"id": 9, "address": address})
        assert call(nodes.uri, "add-node", {"id": other, "address": before[other]}) == {"id": other, "voter": True}
        assert listed(nodes) == before
        store[b"a"] = b"1"


def test_a_member_that_is_silent_may_have_moved(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, nodes.open() as store:
        gone = nodes.followers()[0]
        gone.drop()
        until(lambda: gone.number not in answering(nodes), "it is heard")
        wish = {"id": gone.number, "address": NOBODY}
        assert call(nodes.uri, "add-node", wish) == {"id": gone.number, "voter": True}
        store[b"a"] = b"1"


def test_a_node_that_asks_twice_without_a_token_has_one_id(tmp_path: Path) -> None:
    with cluster(tmp_path, count=1) as nodes:
        for what in ("require", "open"):
            call(nodes.uri, "token", {"do": what})
        assert [join(nodes.addresses[1], NOBODY)[1] for _ in range(3)] == [2, 2, 2]
        assert listed(nodes).keys() == {1, 2}
        call(nodes.uri, "token", {"do": "require"})
        with pytest.raises(kvarts.JoinRefused):
            join(nodes.addresses[1], NOBODY)


def test_a_node_asks_nobody_before_it_can_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(kvarts.InvalidArgument, match=f"cannot listen at {address}"):
            demand_free(address)
    demand_free(address)
    for wrong in ("banana", "127.0.0.1:x", "127.0.0.1:99999"):
        with pytest.raises(kvarts.InvalidArgument, match="no host:port"):
            demand_free(wrong)


def test_what_shards_of_a_node_share_counts_once(tmp_path: Path) -> None:
    def memory(shards: int) -> int:
        folder = tmp_path / str(shards)
        folder.mkdir()
        with cluster(folder, 1) as nodes, kvarts.open(f"{nodes.uri}/kept?timeout=30", shards=shards) as store:
            store.put_many((b"%d" % number, b"x" * 100) for number in range(1000))
            return store.stats().memory_bytes

    assert memory(16) < 2 * memory(1)


def test_new_shards_lie_on_nodes_that_answer(tmp_path: Path) -> None:
    with cluster(tmp_path, count=5) as nodes:
        with kvarts.open(f"{nodes.uri}/first?timeout=30", shards=2) as store:
            store[b"a"] = b"1"
        gone = {each.number for each in nodes.followers()[:2]}
        for node in gone:
            nodes.nodes[node].drop()
        until(lambda: not answering(nodes) & gone, "they are heard")
        with kvarts.open(f"{nodes.uri}/second?timeout=30", shards=8) as store:
            for number in range(100):
                store[b"%d" % number] = b"1"
        shards = [each for each in call(nodes.uri, "shards")["shards"] if each["keyspace"] == "second"]
        assert len(shards) == 8
        assert all(len(each["voters"]) == 3 and not gone & set(each["voters"]) for each in shards)


def test_where_too_few_answer_shards_are_given_to_nodes_that_may_come_back(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes:
        gone = nodes.followers()[0].number
        nodes.nodes[gone].drop()
        until(lambda: gone not in answering(nodes), "it is heard")
        with kvarts.open(f"{nodes.uri}/kept?timeout=30", shards=2) as store:
            store[b"a"] = b"1"
        assert all(each["voters"] == [1, 2, 3] for each in call(nodes.uri, "shards")["shards"])


def test_of_drains_at_once_no_more_pass_than_the_cluster_can_bear(tmp_path: Path) -> None:
    with cluster(tmp_path, count=5) as nodes:
        with kvarts.open(f"{nodes.uri}/kept?timeout=30", shards=4) as store:
            store[b"a"] = b"1"

        def drain(node: int) -> bool:
            try:
                call(nodes.uri, "drain", {"id": node})
            except kvarts.InvalidArgument as refused:
                assert "would be left" in refused.message
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(drain, (2, 3, 4, 5))) == 2


def test_a_node_is_replaced_where_enough_are_left(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes:
        with kvarts.open(f"{nodes.uri}/kept?timeout=30", shards=2) as store:
            store[b"a"] = b"1"
        with pytest.raises(kvarts.InvalidArgument, match="2 would be left"):
            call(nodes.uri, "replace", {"old": 1, "new": 2})
        assert answering(nodes) == {1, 2, 3}


def test_only_the_shard_that_is_named_is_cut(tmp_path: Path) -> None:
    with cluster(tmp_path, count=1) as nodes:
        with kvarts.open(f"{nodes.uri}/kept?timeout=30", ordered=[b"m"]) as store:
            store[b"a"] = b"1"
        named = {"start": b"m".hex(), "stop": ""}
        with pytest.raises(kvarts.InvalidArgument, match="the key lies in shard"):
            call(nodes.uri, "split", {"keyspace": "kept", "at": b"c".hex(), **named})
        call(nodes.uri, "split", {"keyspace": "kept", "at": b"t".hex(), **named})
        until(lambda: len(call(nodes.uri, "shards")["shards"]) == 3, "it is not cut")


def test_who_splits_at_once_gets_what_all_ask_for(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes:
        with kvarts.open(f"{nodes.uri}/kept?timeout=30", shards=1) as store:
            store[b"a"] = b"1"

        def split(_: int) -> int:
            while True:
                told = call(nodes.uri, "split", {"keyspace": "kept", "into": 8})
                if told["shards"] >= 8 and not told["splitting"]:
                    return int(told["shards"])

        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(split, range(3))) == [8, 8, 8]


def test_a_keyspace_is_not_opened_as_what_it_is_not(tmp_path: Path) -> None:
    with cluster(tmp_path, count=1) as nodes:
        made: dict[str, dict[str, Any]] = {
            "plain": {},
            "hashed": {"shards": 2},
            "parted": {"shards": 2, "partition": kvarts.Until(b":")},
            "ordered": {"ordered": True},
        }
        for name, layout in made.items():
            with kvarts.open(f"{nodes.uri}/{name}?timeout=30", **layout) as store:
                store[b"a"] = b"1"
        wrong: list[tuple[str, dict[str, Any], str]] = [
            ("plain", {"shards": 2}, "without shards of its own"),
            ("hashed", {"ordered": True}, "not ordered"),
            ("hashed", {"partition": kvarts.Until(b":")}, "another partition="),
            ("parted", {"partition": kvarts.Until(b"/")}, "another partition="),
            ("ordered", {"partition": kvarts.Until(b":")}, "another partition="),
        ]
        for name, layout, why in wrong:
            with pytest.raises(kvarts.InvalidArgument, match=why):
                kvarts.open(f"{nodes.uri}/{name}?timeout=30", **layout)
        # How many there are is another matter: they split.
        for name, layout in {**made, "hashed": {"shards": 5}, "parted": {"shards": 1}}.items():
            with kvarts.open(f"{nodes.uri}/{name}?timeout=30", **layout) as store:
                assert store[b"a"] == b"1"


@pytest.mark.timeout(30)  # Without heeding it: more than a minute.
def test_operators_wait_as_long_as_the_uri_says() -> None:
    with pytest.raises((kvarts.Unavailable, kvarts.DeadlineExceeded)):
        call("kvarts://127.0.0.1:1?timeout=300ms", "status")
