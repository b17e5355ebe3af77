"""Real clusters for tests: `kvarts dev` with one node or three, each node a `kvarts serve` process."""

import json
import signal
import subprocess
import tempfile
from typing import Any, Self

from tests.processes import python, surroundings


class Cluster:
    """A running cluster; its data go with it."""

    def __init__(self, nodes: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kvarts-nodes-")
        self.folder = self._folder.name
        command = python("-m", "kvarts", "dev", "--nodes", str(nodes), "--data", self._folder.name, "--json")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **surroundings())
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the cluster did not start: exit code {self._process.wait()}"
        told = json.loads(line)
        self.uri: str = told["uri"]
        self.nodes: list[dict[str, Any]] = told["nodes"]

    def stop(self) -> None:
        """End all nodes."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
