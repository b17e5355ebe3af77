"""A connection of somebody who asks a cluster for more than one thing."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kvarts import _native
from kvarts.base.errors import Unavailable
from kvarts.remote.admin import CALL_MS
from kvarts.remote.seeds import client_of
from kvarts.remote.target import parse


class Operator:
    """Asks the leader, or a node by its address."""

    def __init__(self, client: _native.Client) -> None:
        self._client = client

    def send(self, request: _native.Request) -> Any:
        """Send any request and return its answer."""
        return self._client.call(request, CALL_MS)

    def ask(self, verb: str, arguments: Mapping[str, object], address: str | None = None) -> Any:
        """Ask a verb of the desk. Raises what it refuses with, and Unavailable."""
        if address == "":
            raise Unavailable("nobody knows where the node listens")
        return json.loads(self.send(_native.Request.admin(verb, json.dumps(arguments), address)))

    def cluster(self) -> str:
        """Return the cluster's id."""
        cluster: bytes = self.send(_native.Request.describe())[0]
        return cluster.hex()

    def addresses(self) -> list[str]:
        """Return where the nodes listen."""
        nodes = self.send(_native.Request.describe())[4]
        return [address for _, address, *_ in nodes if address]


@contextmanager
def operator(uri: str) -> Iterator[Operator]:
    """Return a connection to the cluster at a URI; it ends with the block."""
    client = client_of(parse(uri))
    try:
        yield Operator(client)
    finally:
        client.close()
