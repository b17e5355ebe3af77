"""A tiny cluster for tests of the client: nodes of one process that share a map in memory (no Raft, no disk)."""

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Self

from tests.processes import ROOT


@cache
def program() -> str:
    """Path of crates/kvarts-serve/examples/tiny_cluster, built if it must be; KVARTS_TINY_CLUSTER names another."""
    given = os.environ.get("KVARTS_TINY_CLUSTER")
    if given:
        return given
    # The whole workspace: what `cargo test` has built serves, with the same features.
    command = ["cargo", "build", "--quiet", "--workspace", "--example", "tiny_cluster"]
    done = subprocess.run(
        [*command, "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=1200
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    found = [each["executable"] for each in told if each.get("executable")]
    return str(Path(found[-1]))


class Tiny:
    """A running tiny cluster. `tell` makes things go wrong: see the example's own words."""

    def __init__(self, nodes: int = 1) -> None:
        self._process = subprocess.Popen(
            [program(), str(nodes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.addresses: list[str] = json.loads(self._read())["addresses"]

    @property
    def uri(self) -> str:
        """Names all nodes; the default keyspace."""
        return self.uri_of(*range(1, len(self.addresses) + 1))

    def uri_of(self, *nodes: int) -> str:
        """Name some nodes, by number from 1."""
        return "kvarts://" + ",".join(self.addresses[node - 1] for node in nodes)

    def tell(self, line: str) -> None:
        """Say what happens next, and wait until it has."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        assert self._read() == "ok\n", line

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()
