"""What operators ask a cluster: a verb and arguments, answered by the leader, or by any node where that is enough."""

import json
from collections.abc import Mapping
from typing import Any

from kvarts import _native
from kvarts.remote.seeds import client_of
from kvarts.remote.target import Target, milliseconds, parse, parse_seeds

CALL_MS = 65_000
"""A little more than a node itself gives a call."""
JOIN_MS = 30_000


def call(uri: str, verb: str, arguments: Mapping[str, object] | None = None, *, timeout_ms: int | None = None) -> Any:
    """Ask the cluster at a kvarts:// URI and return its answer, waiting as long as is given, the URI says, or CALL_MS.

    Raises InvalidArgument where it refuses, Unavailable and DeadlineExceeded.
    """
    target = parse(uri)
    if timeout_ms is None:
        timeout_ms = milliseconds(target.options["timeout"], "timeout") if "timeout" in target.options else CALL_MS
    return _ask(target, verb, arguments, timeout_ms)


def _ask(target: Target, verb: str, arguments: Mapping[str, object] | None, timeout_ms: int) -> Any:
    client = client_of(target)
    try:
        request = _native.Request.admin(verb, json.dumps(arguments or {}))
        return json.loads(client.call(request, timeout_ms))
    finally:
        client.close()


def join(
    seeds: str, address: str, *, token: str = "", ticket: str = "", dns: str = ""
) -> tuple[str, int, dict[int, str]]:
    """Ask the cluster of the nodes at `seeds` to take in one that listens at `address`.

    `token` lets it in where one is needed; by its `ticket` it is known if it asks again. Returns the cluster's id, the
    new node's, and where its nodes listen. Raises JoinRefused, Unavailable, InvalidArgument.
    """
    given = {"address": address} | ({"token": token, "ticket": ticket} if token else {})
    answer = _ask(parse_seeds(seeds, dns), "join", given, JOIN_MS)
    return answer["cluster"], answer["id"], {int(node): where for node, where in answer["peers"].items()}
