"""Nodes are let into a cluster of native muscles by tokens: each lets one in, once, where and while it is good."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from kvarts.base.errors import InvalidArgument, JoinRefused
from kvarts.remote.admin import call, join
from kvarts.security.join_tokens import mint
from kvarts.statemachine.joins import join_key_in
from kvarts.statemachine.rows import SPENT
from tests.unit.python.serve.nodes import CLUSTER, Cluster, Node, cluster, until

FREE = "127.0.0.1:9"
"""Nobody listens there: what is let in at it learns nothing, and costs no quorum."""
OTHER = "127.0.0.1:10"


def made(nodes: Cluster, **arguments: object) -> str:
    token: str = call(nodes.uri, "token", arguments)["token"]
    return token


def seeds(nodes: Cluster) -> str:
    return ",".join(nodes.addresses.values())


def joined(nodes: Cluster, token: str, address: str = FREE, ticket: str = "first") -> int:
    return join(seeds(nodes), address, token=token, ticket=ticket)[1]


def refused(nodes: Cluster, token: str, address: str = FREE, ticket: str = "other") -> str:
    with pytest.raises(JoinRefused) as caught:
        joined(nodes, token, address, ticket)
    assert caught.value.code == "KV-3011"
    assert caught.value.hint
    return caught.value.message


def listed(nodes: Cluster) -> set[int]:
    return {each["id"] for each in call(nodes.uri, "status")["nodes"]}


def key_of(node: Node) -> bytes:
    key = join_key_in(node.loop.replicator.replicas[1].system.rows)  # type: ignore[index]
    assert key is not None
    return key


def test_a_node_that_joins_by_a_token_votes_and_the_token_is_spent(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, nodes.open() as store:
        token = made(nodes)
        newcomer = Node(4, tmp_path / "4", ())
        known = join(seeds(nodes), newcomer.address, token=token, ticket="first")
        assert known == (CLUSTER, 4, {**nodes.addresses, 4: newcomer.address})
        newcomer.run(known[2])
        nodes.nodes[4] = newcomer
        until(
            lambda: len([each for each in call(nodes.uri, "status")["nodes"] if each["voter"]]) == 4, "it has no vote"
        )
        store[b"a"] = b"1"
        assert "used before" in refused(nodes, token, OTHER)
        assert listed(nodes) == {1, 2, 3, 4}


def test_nodes_need_no_token_until_the_first_is_made_nor_once_that_is_waived(tmp_path: Path) -> None:
    with cluster(tmp_path, count=1) as nodes:
        assert join(seeds(nodes), FREE)[1] == 2
        call(nodes.uri, "remove-node", {"id": 2})
        assert call(nodes.uri, "token", {"do": "require"}) == {"required": True}
        with pytest.raises(JoinRefused, match="by a join token only") as caught:
            join(seeds(nodes), FREE)
        assert "kvarts cluster token" in (caught.value.hint or "")
        assert call(nodes.uri, "token", {"do": "open"}) == {"required": False}
        assert join(seeds(nodes), FREE)[1] == 3


def test_a_node_whose_answer_was_lost_gets_the_same_id_and_nobody_else_does(tmp_path: Path) -> None:
    with cluster(tmp_path, count=1) as nodes:
        token = made(nodes)
        assert joined(nodes, token) == 2
        assert joined(nodes, token) == 2
        assert "used before" in refused(nodes, token)
        assert "used before" in refused(nodes, token, OTHER, "first")
        assert listed(nodes) == {1, 2}


def test_of_joins_that_race_with_one_token_one_is_let_in(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes:
        token = made(nodes)
        outcomes: list[object] = []
        start = threading.Barrier(4)

        def ask(number: int) -> None:
            start.wait()
            try:
                outcomes.append(joined(nodes, token, f"127.0.0.1:{number}", str(number)))
            except JoinRefused as error:
                outcomes.append(error)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 5)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert sorted(type(each).__name__ for each in outcomes) == ["JoinRefused"] * 3 + ["int"]
        assert listed(nodes) == {1, 2, 3, 4}


def test_a_token_that_is_no_good_lets_nobody_in(tmp_path: Path) -> None:
    with cluster(tmp_path, count=1) as nodes:
        here = made(nodes, **{"for": FREE})
        assert "another address" in refused(nodes, here, OTHER)
        assert "not made by this cluster" in refused(nodes, here[:-2] + ("AA" if here[-2:] != "AA" else "BA"))
        assert "copy it whole" in refused(nodes, here[:40])
        key, drawn = key_of(nodes.leader()), bytes(16)
        assert "not made by this cluster" in refused(nodes, mint(bytes(32), CLUSTER, FREE, 2**50, drawn))
        assert "another cluster" in refused(nodes, mint(key, "another", FREE, 2**50, drawn))
        assert "expired" in refused(nodes, mint(key, CLUSTER, FREE, 1, drawn))
        brief = made(nodes, ttl_ms=1)
        until(lambda: call(nodes.uri, "clock")["now_ms"] > 0 and "expired" in refused(nodes, brief), "it lasts")
        assert listed(nodes) == {1}
        assert joined(nodes, here) == 2


def test_a_token_given_to_a_cluster_that_has_made_none_lets_nobody_in(tmp_path: Path) -> None:
    with cluster(tmp_path, count=1) as nodes:
        assert "not made by this cluster" in refused(nodes, mint(bytes(32), CLUSTER, "*", 2**50, bytes(16)))


def test_revoked_tokens_let_nobody_in_and_new_ones_do(tmp_path: Path) -> None:
    with cluster(tmp_path, count=1) as nodes:
        before = made(nodes)
        assert call(nodes.uri, "token", {"do": "revoke"}) == {"required": True}
        assert "not made by this cluster" in refused(nodes, before)
        assert joined(nodes, made(nodes)) == 2


def test_a_token_outlives_the_leader_that_made_it_and_so_does_its_use(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes:
        token, late = made(nodes), made(nodes)
        gone = nodes.leader()
        gone.stop()
        assert joined(nodes, token) == 4
        nodes.restart(gone)
        gone = nodes.leader()
        gone.drop()
        assert "used before" in refused(nodes, token)
        assert joined(nodes, token) == 4
        nodes.restart(gone)
        assert joined(nodes, late, OTHER) == 5


def test_what_has_expired_is_forgotten_and_stays_no_good(tmp_path: Path) -> None:
    with cluster(tmp_path, count=1) as nodes:
        key = key_of_made(nodes)
        brief_ms = call(nodes.uri, "clock")["now_ms"] + 2_000
        brief = mint(key, CLUSTER, FREE, brief_ms, bytes(16))
        assert joined(nodes, brief) == 2
        until(lambda: call(nodes.uri, "clock")["now_ms"] > brief_ms, "time stands still")
        # Let in before, it is still known; spent by another, it is not good.
        assert joined(nodes, brief) == 2
        assert joined(nodes, made(nodes), OTHER, "second") == 3
        rows = nodes.leader().loop.replicator.replicas[1].system.rows  # type: ignore[index]
        assert len([each for each in rows if each.startswith(SPENT)]) == 1
        assert "expired" in refused(nodes, brief, ticket="first")


def key_of_made(nodes: Cluster) -> bytes:
    call(nodes.uri, "token", {"do": "require"})
    return key_of(nodes.leader())


@pytest.mark.parametrize(
    "arguments",
    [{"do": "give"}, {"for": "host"}, {"for": 7}, {"ttl_ms": -1}, {"ttl_ms": 31 * 86_400_000}, {"ttl_ms": [1]}],
    ids=["act", "no port", "number", "past", "long", "list"],
)
def test_a_token_that_cannot_be_is_not_made(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with cluster(tmp_path, count=1) as nodes:
        with pytest.raises(InvalidArgument):
            call(nodes.uri, "token", arguments)
        assert join(seeds(nodes), FREE)[1] == 2


def test_no_token_is_made_while_a_node_does_not_know_of_them(tmp_path: Path) -> None:
    with cluster(tmp_path, features="shards=1,moves=1,splits=1,checks=1") as nodes:
        with pytest.raises(InvalidArgument, match="does not know tokens") as caught:
            call(nodes.uri, "token", {})
        assert "upgrade" in (caught.value.hint or "")
        assert join(seeds(nodes), FREE)[1] == 4
