"""Ours and the peers: what each needs, how it starts and how it is spoken to. All sync to disk before they answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from kvarts.bench.cluster import clients, stubs
from kvarts.bench.cluster.clients import Client
from kvarts.bench.cluster.servers import Servers, program_version, start_etcd, start_kvarts, start_redis

SyncGet = tuple[Callable[[bytes], object], Callable[[], object]]
ASYNC = ("put_1", "put_64", "put_256", "many_1", "many_16", "get_1", "get_64")


@dataclass(frozen=True, slots=True)
class Peer:
    """A server: programs and modules it needs, what brings them, how it starts, how it is spoken to, what it does."""

    name: str
    programs: tuple[str, ...]
    modules: tuple[str, ...]
    brings: str
    start: Callable[[Path], Servers]
    open: Callable[[Servers, Path], Awaitable[Client]]
    workloads: tuple[str, ...]
    open_sync: Callable[[Servers], SyncGet] | None = None
    add_unary: Callable[[Client, Servers, Path], Awaitable[None]] | None = None
    version: tuple[str, ...] = ()

    @property
    def is_installed(self) -> bool:
        """True where programs and modules are there."""
        return all(map(which, self.programs)) and all(map(find_spec, self.modules))

    @property
    def program_version(self) -> str | None:
        """The version of the program, where it is one that is not ours."""
        return program_version(self.version) if self.version else None


OURS = Peer(
    "kvarts", (), (), "kvarts", partial(start_kvarts, nodes=3), clients.open_kvarts,
    (*ASYNC, "unary_64"), add_unary=clients.add_unary,
)  # fmt: skip
OURS_ALONE = Peer(
    "kvarts alone", (), (), "kvarts", partial(start_kvarts, nodes=1), clients.open_kvarts,
    (*ASYNC, "get_sync"), clients.open_kvarts_sync,
)  # fmt: skip
ETCD = Peer(
    "etcd", ("etcd",), stubs.MODULES, "Debian's etcd-server; pip install 'kvarts[bench]'",
    partial(start_etcd, nodes=3), clients.open_etcd, (*ASYNC, "unary_64"), version=("etcd", "--version"),
)  # fmt: skip
REDIS = Peer(
    "redis", ("redis-server",), ("redis",), "Debian's redis-server; pip install 'kvarts[bench]'",
    start_redis, clients.open_redis, (*ASYNC, "get_sync"), clients.open_redis_sync,
    version=("redis-server", "--version"),
)  # fmt: skip
PEERS = (OURS, OURS_ALONE, ETCD, REDIS)
BY_NAME = {peer.name: peer for peer in PEERS}
