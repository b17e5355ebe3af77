"""A cluster that grows and shrinks while it is written to: two nodes join, one is drained and leaves, one is killed.

python examples/growing_cluster.py
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kvarts

KVARTS = [sys.executable, "-m", "kvarts"]


def told(*arguments: str) -> Any:
    """Return what a command of kvarts prints as JSON."""
    done = subprocess.run([*KVARTS, *arguments, "--json"], stdout=subprocess.PIPE, check=True)  # noqa: S603  # our own program
    return json.loads(done.stdout)


@contextmanager
def three_nodes(folder: Path) -> Iterator[dict[str, Any]]:
    """Run a cluster of three processes, and yield its URI and what each node is."""
    command = [*KVARTS, "dev", "--nodes", "3", "--data", str(folder), "--json"]
    cluster = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own program
    try:
        assert cluster.stdout is not None
        yield json.loads(cluster.stdout.readline())
    finally:
        cluster.send_signal(signal.SIGINT)
        cluster.wait()


@contextmanager
def joined(folder: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run one more node, which joins the cluster that `address` belongs to."""
    options = ["--data", str(folder), "--listen", "127.0.0.1:0", "--join", address]
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        node = subprocess.Popen([*KVARTS, "serve", *options], stdout=log, stderr=log)  # noqa: S603  # our own program
    try:
        yield node
    finally:
        node.send_signal(signal.SIGINT)
        node.wait()


class Writer:
    """Writes numbered keys, one after another, until it is stopped; `longest_s` is the longest wait for one."""

    def __init__(self, uri: str) -> None:
        self.written, self.longest_s = 0, 0.0
        self._uri, self._is_over, self._news = uri, threading.Event(), threading.Condition()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        with kvarts.open(self._uri, value=kvarts.U64, timeout=20) as db:
            while not self._is_over.is_set():
                began = time.perf_counter()
                db.put(b"key %d" % self.written, self.written)  # An error ends this thread.
                with self._news:
                    self.longest_s = max(self.longest_s, time.perf_counter() - began)
                    self.written += 1
                    self._news.notify_all()

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def await_written(self, count: int) -> None:
        """Wait until so many keys are written."""
        with self._news:
            assert self._news.wait_for(lambda: self.written >= count, timeout=60), "a write failed"


def kept(uri: str, count: int) -> str:
    """Wait until `count` nodes keep shards and none moves, and tell how many replicas each keeps."""
    while True:
        shards = told("cluster", "shards", uri)["shards"]
        nodes = sorted(voter for shard in shards for voter in shard["voters"])
        plan = told("cluster", "plan", uri)
        if len(set(nodes)) == count and not plan["moving"] and not plan["moves"]:
            return ", ".join(f"node {node}: {nodes.count(node)}" for node in sorted(set(nodes)))


def main() -> None:
    """Grow from three nodes to five, shrink to four, lose one, and read every key that was written meanwhile."""
    folder = Path(tempfile.mkdtemp(prefix="kvarts-growing-"))
    with three_nodes(folder / "first") as cluster:
        uri = cluster["uri"]
        address = re.sub(r"^kvarts://", "", uri).split(",")[0]
        with kvarts.open(f"{uri}/users", value=kvarts.U64, shards=8, timeout=20):
            print(f"three nodes at {uri}; the keyspace has 8 shards, three replicas each")
        with joined(folder / "fourth", address), joined(folder / "fifth", address), Writer(f"{uri}/users") as writer:
            print(f"two more joined and got their share: {kept(uri, 5)}")
            told("cluster", "drain", uri, "3")
            told("cluster", "remove", uri, "3")
            print(f"node 3 was drained and has left: {kept(uri, 4)}")
            victim = next(node for node in cluster["nodes"] if node["id"] == 2)
            os.kill(victim["pid"], signal.SIGKILL)
            writer.await_written(writer.written + 100)
            print("node 2 was killed; the others go on")
            with kvarts.open(f"{uri}/users", value=kvarts.U64, timeout=20) as db:
                count = writer.written
                assert all(db[b"key %d" % number] == number for number in range(count))
            print(f"all {count} keys are there and no error was seen; the longest wait was {writer.longest_s:.2f} s")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
