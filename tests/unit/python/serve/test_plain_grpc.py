"""Another language's view of a node: plain grpcio and generated stubs, nothing of ours but `proto/`."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from kvarts.bench.cluster.stubs import kvarts_stubs
from tests.unit.python.serve.nodes import cluster

grpc: Any = import_module("grpc")


class Plain:
    """Stubs of one node, with the messages they take."""

    def __init__(self, channel: Any, modules: dict[str, Any]) -> None:
        self.data, self.messages = modules["data_pb2"], modules["kv_pb2"]
        self.outcomes = self.data.Outcome
        self.kv = modules["kv_pb2_grpc"].KVStub(channel)
        self.clusters = modules["cluster_pb2_grpc"].ClusterStub(channel)
        made = modules["cluster_pb2"].MakeKeyspaceRequest(
            name="plain", key_codec="bytes", value_codec="bytes", create=True
        )
        self.keyspace = self.clusters.MakeKeyspace(made, timeout=20, wait_for_ready=True).keyspace.id

    def put(self, key: bytes, value: bytes, **more: Any) -> Any:
        return self.data.Operation(put=self.data.Put(keyspace=self.keyspace, key=key, value=value, **more))

    def write(self, *operations: Any, **more: Any) -> Any:
        command = self.data.Command(operations=operations, **more)
        return self.kv.Write(self.messages.WriteRequest(command=command), timeout=20).result

    def get(self, *keys: bytes) -> list[Any]:
        return list(self.kv.Get(self.messages.GetRequest(keyspace=self.keyspace, keys=keys), timeout=20).rows)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    modules = kvarts_stubs(tmp_path_factory.mktemp("stubs"))
    with cluster(tmp_path_factory.mktemp("node"), count=1) as nodes:
        nodes.leader()
        with grpc.insecure_channel(nodes.addresses[1]) as channel:
            yield Plain(channel, modules)


def test_rows_are_written_read_and_scanned(plain: Plain) -> None:
    written = plain.write(plain.put(b"a", b"1"), plain.put(b"b", b"2"))
    assert written.outcome == plain.outcomes.Value("OUTCOME_DONE")
    found = plain.get(b"a", b"x", b"b")
    assert [(row.found, row.value) for row in found] == [(True, b"1"), (False, b""), (True, b"2")]
    assert found[0].revision == written.revision
    pages = plain.kv.Scan(plain.messages.ScanRequest(keyspace=plain.keyspace, page_rows=1), timeout=20)
    assert [(page.keys, page.values) for page in pages if page.key_ends] == [(b"a", b"1"), (b"b", b"2")]


def test_a_condition_that_fails_shows_what_is_there(plain: Plain) -> None:
    plain.write(plain.put(b"c", b"1"))
    refused = plain.write(plain.put(b"c", b"2", condition=plain.data.Condition(absent=True)))
    assert (refused.outcome, refused.found.value) == (plain.outcomes.Value("OUTCOME_CONDITION_FAILED"), b"1")


def _unfit(plain: Plain) -> dict[str, dict[str, Any]]:
    """Commands that no replica could apply."""
    data, put = plain.data, plain.put(b"k", b"v")
    incr = data.Incr(keyspace=plain.keyspace, key=b"k", by=1, encoding=7)
    return {
        "nothing": {},
        "an operation of no kind": {"operations": [data.Operation()]},
        "an empty key": {"operations": [plain.put(b"", b"v")]},
        "a condition set to false": {"operations": [plain.put(b"k", b"v", condition=data.Condition(absent=False))]},
        "two lives": {"operations": [plain.put(b"k", b"v", ttl_ms=1, keep_ttl=True)]},
        "an unknown encoding": {"operations": [data.Operation(incr=incr)]},
        "a session without a sequence": {"operations": [put], "session": 1},
        "a fence of nothing": {"operations": [put], "fence": data.Fence(token=1)},
        "both": {"operations": [put], "open_session": data.OpenSession()},
        "sessions dropped": {"drop_sessions": data.DropSessions(keep=0)},
        "a lock moved": {"move_lock": data.MoveLock(lock=b"l")},
    }


def test_what_cannot_be_applied_is_refused_before_it_is_logged(plain: Plain) -> None:
    for name, fields in _unfit(plain).items():
        command = plain.data.Command(**fields)
        with pytest.raises(grpc.RpcError) as refused:
            plain.kv.Write(plain.messages.WriteRequest(command=command), timeout=20)
        assert refused.value.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}, name
    assert plain.write(plain.put(b"still", b"here")).outcome == plain.outcomes.Value("OUTCOME_DONE")
    assert plain.get(b"still")[0].value == b"here"
