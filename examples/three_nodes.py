"""Three nodes on this machine: write, kill the leader, go on.

python examples/three_nodes.py
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kvarts


@contextmanager
def three_nodes() -> Iterator[dict[str, Any]]:
    """Run a cluster of three processes, and yield its URI and what each node is."""
    command = [sys.executable, "-m", "kvarts", "dev", "--nodes", "3", "--json"]
    cluster = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own program
    try:
        assert cluster.stdout is not None
        yield json.loads(cluster.stdout.readline())  # One line, once a leader is found and writes are served.
    finally:
        cluster.send_signal(signal.SIGINT)
        cluster.wait()


def leader(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the node that says it leads: its metrics tell."""
    for node in nodes:
        with urllib.request.urlopen(f"http://{node['http']}/metrics") as page:
            if 'kvarts_raft_role{group="1"} 3' in page.read().decode():
                return node
    raise LookupError("no node leads at the moment")


def main() -> None:
    """Write from one client while the leader is killed; then read everything back."""
    with three_nodes() as cluster, kvarts.open(cluster["uri"], value=kvarts.U64, timeout=10) as db:
        print(f"three nodes at {cluster['uri']}")
        slowest = 0.0
        for number in range(1_000):
            if number == 500:
                victim = leader(cluster["nodes"])
                os.kill(victim["pid"], signal.SIGKILL)
                print(f"500 keys written; node {victim['id']}, which led, is killed")
            began = time.perf_counter()
            db.put(b"key %d" % number, number)  # No retry here: the client finds the new leader, and writes once.
            slowest = max(slowest, time.perf_counter() - began)
        print(f"1000 keys written and no error seen; the longest wait was {slowest:.2f} s")
        assert [db[b"key %d" % number] for number in range(1_000)] == list(range(1_000))
        print(f"two nodes hold all {len(db)} of them, as one store: {db.incr(b'visits')} visit")


if __name__ == "__main__":
    main()
