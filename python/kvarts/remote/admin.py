"""What operators ask a cluster: a verb and arguments, answered by the leader, or by any node where that is enough."""

import json
from collections.abc import Mapping
from typing import Any

from kvarts import _native
from kvarts.remote.target import parse

CALL_MS = 65_000
"""A little more than a node itself gives a call."""
JOIN_MS = 30_000


def call(uri: str, verb: str, arguments: Mapping[str, object] | None = None, *, timeout_ms: int = CALL_MS) -> Any:
    """Ask the cluster at a kvarts:// URI and return its answer.

    Raises InvalidArgument where it refuses, Unavailable and DeadlineExceeded.
    """
    client = _native.Client(list(parse(uri).hosts))
    try:
        request = _native.Request.admin(verb, json.dumps(arguments or {}))
        return json.loads(client.call(request, timeout_ms))
    finally:
        client.close()


def join(address: str, own: str) -> tuple[str, int, dict[int, str]]:
    """Ask the cluster of the node at `address` to take in one that listens at `own`.

    Returns the cluster's id, the new node's, and where its nodes listen.
    """
    answer = call(f"kvarts://{address}", "join", {"address": own}, timeout_ms=JOIN_MS)
    return answer["cluster"], answer["id"], {int(node): where for node, where in answer["peers"].items()}
