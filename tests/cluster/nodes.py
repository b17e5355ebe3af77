"""Nodes as real processes, each in a namespace of a Network."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.cluster.network import Network, in_namespace

PORT = 7420
HTTP_PORT = 7480
START_S_MAX = 30.0


class Nodes:
    """A cluster of `count` nodes on the first hosts of a network; other hosts are for clients and newcomers."""

    def __init__(self, network: Network, folder: Path, count: int, *options: str) -> None:
        self.network = network
        self.folder = folder
        self.options = options
        self.founders = range(1, count + 1)
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self._pulse = threading.Event()

    @property
    def uri(self) -> str:
        """All founders."""
        return "kvarts://" + ",".join(self.address(number) for number in self.founders)

    def address(self, number: int) -> str:
        """Where a node listens."""
        return f"{self.network.host(number).address}:{PORT}"

    def start(self, numbers: Iterable[int] | None = None, *more: str) -> None:
        """Start nodes, founders unless told otherwise, and wait until each listens."""
        started = list(self.founders if numbers is None else numbers)
        for number in started:
            self._forget(number)
            self.processes[number] = self._spawn(number, *more)
        for number in started:
            self._await_line(number)

    def kill(self, *numbers: int) -> None:
        """kill -9."""
        for number in numbers:
            self.processes[number].kill()
            self.processes[number].wait()

    def stop(self, number: int) -> int:
        """Ask a node to end well; return its exit code."""
        self.processes[number].terminate()
        return self.processes[number].wait(30)

    def pause(self, number: int) -> None:
        """SIGSTOP."""
        self.processes[number].send_signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """SIGCONT."""
        self.processes[number].send_signal(signal.SIGCONT)

    def leader(self, among: Iterable[int] | None = None, *, wait_s: float = 15.0) -> int:
        """Return the node that says it leads, the one of the highest term; waits for one."""
        until = time.monotonic() + wait_s
        while True:
            found = []
            for number in self.processes if among is None else among:
                figures = self.figures(number)
                if figures.get('kvarts_raft_role{group="1"}') == 3:
                    found.append((figures['kvarts_raft_term{group="1"}'], number))
            if found:
                return max(found)[1]
            if time.monotonic() > until:
                raise TimeoutError(f"no leader in {wait_s} s; see {self.folder}")
            self._pulse.wait(0.02)

    def figures(self, number: int) -> dict[str, float]:
        """Return a node's metrics; nothing where it does not answer."""
        process = self.processes.get(number)
        if process is None or process.poll() is not None:
            return {}
        host = self.network.host(number)
        url = f"http://{host.address}:{HTTP_PORT}/metrics"

        def read() -> str:
            with urllib.request.urlopen(url, timeout=1) as answer:
                return str(answer.read().decode())

        try:
            text = in_namespace(host.namespace, read)
        except (OSError, urllib.error.URLError):
            return {}
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def close(self) -> None:
        """End all."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _forget(self, number: int) -> None:
        """Let go of a process that has ended."""
        process = self.processes.pop(number, None)
        if process is not None and process.stdout is not None:
            process.stdout.close()

    def events(self, number: int) -> list[dict[str, Any]]:
        """Return what a node told."""
        return [json.loads(line) for line in self._log(number).read_text().splitlines() if line.startswith("{")]

    def data(self, number: int) -> Path:
        """Where a node keeps its data."""
        return self.folder / f"node-{number}"

    def told(self, number: int, name: str) -> list[dict[str, Any]]:
        """Return the events of a name that a node has told."""
        return [event for event in self.events(number) if event.get("event") == name]

    def applied(self, number: int) -> float:
        """Return the index that a node has applied, as it says."""
        return self.figures(number).get('kvarts_raft_applied_index{group="1"}', 0.0)

    def await_event(self, number: int, name: str, *, wait_s: float = 60.0) -> dict[str, Any]:
        """Return the first event of a name that a node tells, waiting for it."""
        until = time.monotonic() + wait_s
        while True:
            found = self.told(number, name)
            if found:
                return found[0]
            if time.monotonic() > until:
                raise TimeoutError(f"node {number} told no {name!r} in {wait_s} s; see {self._log(number)}")
            self._pulse.wait(0.02)

    def _log(self, number: int) -> Path:
        return self.folder / f"node-{number}.events"

    def _spawn(self, number: int, *more: str) -> subprocess.Popen[str]:
        host = self.network.host(number)
        place = ["--data", str(self.data(number)), "--http", f"{host.address}:{HTTP_PORT}", "--insecure"]
        if number in self.founders:
            peers = ",".join(f"{each}={self.address(each)}" for each in self.founders)
            place += ["--node", str(number), "--peers", peers]
        else:
            place += ["--listen", self.address(number)]
        words = ["ip", "netns", "exec", host.namespace, sys.executable, "-m", "kvarts", "serve", "--json", *place]
        with self._log(number).open("a") as events:
            return subprocess.Popen(
                [*words, *self.options, *more],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=events,
                text=True,
                env={**os.environ, "PYTHONFAULTHANDLER": "1"},
            )

    def _await_line(self, number: int) -> None:
        process = self.processes[number]
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"node {number} did not start: {self._log(number).read_text()[-2000:]}")
