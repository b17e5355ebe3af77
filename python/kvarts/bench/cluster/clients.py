"""Clients of what is measured, behind one set of bare callables, so that the timed loops call each library directly.

Ours is `kvarts.open_async`. etcd's is grpc.aio on stubs of its public API: of what there is for Python it was the
fastest with many calls in flight. It talks to the leader, which saves etcd a step. redis's is redis-py with hiredis.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import kvarts
from kvarts.bench.cluster import stubs
from kvarts.bench.cluster.servers import Servers

Pairs = list[tuple[bytes, bytes]]
Close = Callable[[], Awaitable[object]]
SERVING_S_MAX = 60.0
POLL_S = 0.01
TIMEOUT_S = 10
CONNECTIONS_MAX = 1_024


@dataclass(slots=True)
class Client:
    """Verbs of an open client; what it cannot do is None. `opened` is closed last to first."""

    put: Callable[[bytes, bytes], Awaitable[object]]
    get: Callable[[bytes], Awaitable[object]]
    put_many: Callable[[Pairs], Awaitable[object]]
    close: Close
    unary_put: Callable[[bytes, bytes], Awaitable[object]] | None = None


async def open_kvarts(servers: Servers, folder: Path) -> Client:
    """Connect, and wait until a put is served."""
    open_async: Any = kvarts.open_async
    store = await open_async(f"kvarts://{','.join(servers.addresses)}", timeout=TIMEOUT_S)
    await store.put(b"first", b"")
    return Client(put=store.put, get=store.get, put_many=store.put_many, close=store.close)


async def add_unary(client: Client, servers: Servers, folder: Path) -> None:
    """Give a client of ours the unary put of other languages: plain gRPC to the leader's front door."""
    modules = stubs.kvarts_stubs(folder / "stubs")
    data, kv = modules["data_pb2"], modules["kv_pb2"]
    leader, keyspace = await _find_leader(modules, servers.addresses[0])
    channels = stubs.open_channels(leader)
    writes = itertools.cycle([modules["kv_pb2_grpc"].KVStub(channel).Write for channel in channels])

    def put(key: bytes, value: bytes) -> Awaitable[object]:
        operation = data.Operation(put=data.Put(keyspace=keyspace, key=key, value=value))
        call: Awaitable[object] = next(writes)(kv.WriteRequest(command=data.Command(operations=[operation])))
        return call

    client.unary_put = put
    client.close = _closing(client.close, *(channel.close for channel in channels))


async def _find_leader(modules: dict[str, Any], address: str) -> tuple[str, int]:
    """Return the leader's address and the id of the default keyspace."""
    messages = modules["cluster_pb2"]
    grpc: Any = import_module("grpc")
    async with grpc.aio.insecure_channel(address) as channel:
        cluster = modules["cluster_pb2_grpc"].ClusterStub(channel)
        told = await cluster.Describe(messages.DescribeRequest(), timeout=TIMEOUT_S)
        keyspaces = await cluster.ListKeyspaces(messages.ListKeyspacesRequest(), timeout=TIMEOUT_S)
    leader = next(node.address for node in told.nodes if node.id == told.leader_id)
    return leader, next(keyspace.id for keyspace in keyspaces.keyspaces if keyspace.name == "default")


async def open_etcd(servers: Servers, folder: Path) -> Client:
    """Connect to the leader, and wait until a put is served."""
    messages, services = await asyncio.to_thread(stubs.etcd_stubs, folder / "stubs")
    leader = await _await_etcd_leader(servers, messages, services)
    channels = stubs.open_channels(leader)
    kv = [services.KVStub(channel) for channel in channels]
    puts, ranges, txns = (itertools.cycle([getattr(each, name) for each in kv]) for name in ("Put", "Range", "Txn"))

    def put(key: bytes, value: bytes) -> Awaitable[object]:
        call: Awaitable[object] = next(puts)(messages.PutRequest(key=key, value=value))
        return call

    def get(key: bytes) -> Awaitable[object]:
        call: Awaitable[object] = next(ranges)(messages.RangeRequest(key=key))
        return call

    def put_many(pairs: Pairs) -> Awaitable[object]:
        steps = [
            messages.RequestOp(request_put=messages.PutRequest(key=key, value=value))
            for key, value in dict(pairs).items()
        ]
        call: Awaitable[object] = next(txns)(messages.TxnRequest(success=steps))
        return call

    await put(b"first", b"")
    return Client(put, get, put_many, _closing(*(channel.close for channel in channels)), unary_put=put)


async def _await_etcd_leader(servers: Servers, messages: Any, services: Any) -> str:
    grpc: Any = import_module("grpc")
    async with asyncio.timeout(SERVING_S_MAX):
        for address in itertools.cycle(servers.addresses):
            servers.check()
            # A channel each time: one that failed waits a second before it tries again.
            async with grpc.aio.insecure_channel(address) as channel:
                with suppress(grpc.aio.AioRpcError):
                    status = await services.MaintenanceStub(channel).Status(messages.StatusRequest(), timeout=1)
                    if status.leader and status.leader == status.header.member_id:
                        return address
            await asyncio.sleep(POLL_S)
    raise AssertionError("the loop has no end")


async def open_redis(servers: Servers, folder: Path) -> Client:
    """Connect; each call in flight gets a connection from redis-py's pool."""
    library: Any = import_module("redis.asyncio")
    errors: Any = import_module("redis.exceptions")
    host, port = servers.addresses[0].split(":")
    redis = library.Redis(host=host, port=int(port), max_connections=CONNECTIONS_MAX)
    async with asyncio.timeout(SERVING_S_MAX):
        while True:
            servers.check()
            with suppress(errors.ConnectionError):
                await redis.set(b"first", b"")
                break
            await asyncio.sleep(POLL_S)
    return Client(redis.set, redis.get, lambda pairs: redis.mset(dict(pairs)), redis.aclose)


def open_kvarts_sync(servers: Servers) -> tuple[Callable[[bytes], object], Callable[[], object]]:
    """Return a blocking get, and what closes it."""
    store = kvarts.open(f"kvarts://{','.join(servers.addresses)}")
    return store.get, store.close


def open_redis_sync(servers: Servers) -> tuple[Callable[[bytes], object], Callable[[], object]]:
    """Return a blocking get, and what closes it."""
    library: Any = import_module("redis")
    host, port = servers.addresses[0].split(":")
    redis = library.Redis(host=host, port=int(port))
    return redis.get, redis.close


def _closing(*closes: Close) -> Close:
    async def close() -> None:
        for each in reversed(closes):
            await each()

    return close
