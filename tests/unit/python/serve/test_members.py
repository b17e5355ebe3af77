"""Who belongs to a cluster of native muscles, and who leads it, as operators change it."""

from pathlib import Path

import pytest

import kvarts
from kvarts import _native
from kvarts.remote.admin import call
from tests.unit.python.serve.nodes import Cluster, cluster


def uri_of(nodes: Cluster) -> str:
    """Name all nodes."""
    return "kvarts://" + ",".join(nodes.addresses.values())


@pytest.mark.parametrize(
    "arguments",
    ['{"id": Infinity}', '{"id": 1e400}', '{"id": NaN}', '{"id": []}', '{"id": {"id": 1}}', "[" * 100_000],
    ids=["infinity", "too large", "nan", "list", "object", "deep"],
)
def test_arguments_of_any_kind_end_no_node(tmp_path: Path, arguments: str) -> None:
    with cluster(tmp_path, count=1) as nodes, nodes.open() as store:
        client = _native.Client(list(nodes.addresses.values()))
        with pytest.raises(kvarts.InvalidArgument):
            client.call(_native.Request.admin("remove-node", arguments), 10_000)
        client.close()
        store[b"a"] = b"1"


def test_a_node_that_is_not_there_gets_no_vote(tmp_path: Path) -> None:
    with cluster(tmp_path, count=1) as nodes, nodes.open() as store:
        # The node knows how long its caller waits: its word that nothing is settled comes first, or ours.
        with pytest.raises((kvarts.DeadlineExceeded, kvarts.CommitUnknown)):
            call(uri_of(nodes), "add-node", {"id": 7, "address": "127.0.0.1:1"}, timeout_ms=1_000)
        store[b"a"] = b"1"
        told = {each["id"]: (each["voter"], each["learner"]) for each in call(uri_of(nodes), "status")["nodes"]}
        assert told == {1: (True, False), 7: (False, True)}
        call(uri_of(nodes), "remove-node", {"id": 7})


def test_a_leader_that_is_removed_hands_over_first(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, nodes.open() as store:
        store[b"a"] = b"1"
        gone = nodes.leader()
        others = nodes.followers()
        assert call(uri_of(nodes), "remove-node", {"id": gone.number}) == {"id": gone.number, "removed": True}
        assert any(node.leads for node in others)
        assert store[b"a"] == b"1"


def test_a_transfer_that_does_not_come_about_is_told(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, nodes.open() as store:
        store[b"a"] = b"1"
        away = nodes.followers()[0]
        away.drop()
        with pytest.raises(kvarts.CommitUnknown, match=f"node {away.number} has not taken over"):
            call(uri_of(nodes), "transfer", {"to": away.number})
        store[b"a"] = b"2"
