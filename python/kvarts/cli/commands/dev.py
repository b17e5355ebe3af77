"""`dev`: a cluster of child processes on this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import click

from kvarts.base.errors import StoreFailed
from kvarts.base.private import make_private_directory, open_private
from kvarts.cli.commands.options import json_option
from kvarts.cli.help import Command
from kvarts.cli.output import print_aside, print_json

READY_S_MAX = 30.0
STOP_S_MAX = 10.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Child:
    """One node as a process of its own."""

    id: int
    process: subprocess.Popen[str]
    address: str
    http: str
    data: str

    def shown(self) -> dict[str, object]:
        """Return what a program wants to know of it."""
        place = {"address": self.address, "http": self.http, "data": self.data}
        return {"id": self.id, "pid": self.process.pid, **place}


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts dev", "three nodes in a temporary directory, until Ctrl-C"),
        ("kvarts dev --nodes 5 --data ./dev --json", "five that keep their data, as JSON for a program"),
    ],
)
@click.option("--nodes", type=click.IntRange(1, 9), default=3, show_default=True, help="How many.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep their data here.")
@click.option("--memory", metavar="SIZE", default="64MiB", show_default=True, help="Memory of each node.")
@json_option
def dev(nodes: int, data: Path | None, memory: str, as_json: bool) -> None:
    """Run a cluster on this machine until Ctrl-C. A node that dies stays dead, and the others go on."""
    with ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kvarts-dev-")))
        folder.parent.mkdir(parents=True, exist_ok=True)
        make_private_directory(folder)
        # Before the first child: one that is started is stopped.
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        children = stack.enter_context(_cluster(nodes, folder, memory, stop))
        if stop.is_set():
            return
        uri = "kvarts://" + ",".join(child.address for child in children)
        if as_json:
            print_json({"uri": uri, "nodes": [child.shown() for child in children]})
        else:
            click.echo(f"{uri}  ({nodes} nodes in {folder}; Ctrl-C stops them)")
        sys.stdout.flush()
        _watch(children, stop)


@contextmanager
def _cluster(nodes: int, folder: Path, memory: str, stop: threading.Event) -> Iterator[list[Child]]:
    peers = _peers(nodes, folder)
    processes: list[subprocess.Popen[str]] = []
    try:
        for number in range(1, nodes + 1):
            processes.append(_start(number, peers, folder, memory))
        children = [_child(number, each, folder) for number, each in enumerate(processes, 1)]
        _await_leader(children, stop)
        yield children
    finally:
        _end(processes)


def _peers(nodes: int, folder: Path) -> str:
    """Return the addresses of the nodes: as they were, or free ports."""
    kept = folder / "peers"
    with suppress(FileNotFoundError):
        text = kept.read_text()
        if text.count("=") != nodes:
            raise click.UsageError(f"{folder} holds a cluster of {text.count('=')} nodes, not of {nodes}")
        return text
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(nodes)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        text = ",".join(f"{number}=127.0.0.1:{each.getsockname()[1]}" for number, each in enumerate(sockets, 1))
    with os.fdopen(open_private(kept), "w") as file:
        file.write(text)
    return text


def _start(number: int, peers: str, folder: Path, memory: str) -> subprocess.Popen[str]:
    place = ["--node", str(number), "--peers", peers, "--data", str(folder / f"node-{number}"), "--memory", memory]
    with os.fdopen(open_private(folder / f"node-{number}.events", append=True), "a") as events:
        return subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-m", "kvarts", "serve", "--json", *place],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=events,
            text=True,
            # Ctrl-C is for us: we stop them one after the other.
            start_new_session=True,
        )


def _child(number: int, process: subprocess.Popen[str], folder: Path) -> Child:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise StoreFailed(f"node {number} did not start", hint=f"see {folder / f'node-{number}.events'}")
    place = json.loads(line)
    return Child(number, process, place["address"], place["http"], place["data"])


def _await_leader(children: list[Child], stop: threading.Event) -> None:
    until = time.monotonic() + READY_S_MAX
    waiting = list(children)
    while waiting and not stop.is_set():
        waiting = [child for child in waiting if not _is_ready(child)]
        if waiting and time.monotonic() > until:
            raise StoreFailed("the nodes have found no leader", hint="see their events in the data directory")
        stop.wait(POLL_S if waiting else 0)


def _is_ready(child: Child) -> bool:
    host, _, port = child.http.rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _watch(children: list[Child], stop: threading.Event) -> None:
    """Wait for the end; tell once of each child that dies before."""
    alive = list(children)
    while not stop.wait(0.2):
        for child in [each for each in alive if each.process.poll() is not None]:
            alive.remove(child)
            print_aside(f"node {child.id} (pid {child.process.pid}) ended with {child.process.returncode}")


def _end(processes: list[subprocess.Popen[str]]) -> None:
    for each in processes:
        if each.poll() is None:
            each.terminate()
    until = time.monotonic() + STOP_S_MAX
    for each in processes:
        try:
            each.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            each.kill()
            each.wait()
        if each.stdout is not None:
            each.stdout.close()
