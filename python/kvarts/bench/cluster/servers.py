"""Starts what is measured, as processes with their data in a folder; reads their processor time; ends them."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

STOP_S_MAX = 15.0
CLOCK_SCHED = 2
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ServerFailedError(Exception):
    """A server did not come up: the end of what it said."""


@dataclass(slots=True)
class Servers:
    """What runs: where clients reach it, whose processor time counts, and what must be ended."""

    addresses: list[str]
    pids: list[int]
    processes: list[subprocess.Popen[str]] = field(repr=False)
    events: Path = field(repr=False)
    pages: list[str] = field(default_factory=list)
    """Where they tell what they count, if they do."""

    def cpu_s(self) -> float:
        """Return the processor time, user and system, of all server processes so far."""
        return sum(process_cpu_s(pid) for pid in self.pids)

    def memory_bytes(self) -> int:
        """Return the memory that all server processes hold at the moment."""
        return sum(process_memory_bytes(pid) for pid in self.pids)

    def check(self) -> None:
        """Raise ServerFailedError if one has ended."""
        if any(process.poll() is not None for process in self.processes):
            end = self.events.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
            raise ServerFailedError("\n".join(end) or "a server ended and said nothing")

    def stop(self) -> None:
        """End all, kindly at first."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def process_cpu_s(pid: int) -> float:
    """Return the processor time of a process with all its threads, to the nanosecond; 0 once it is gone."""
    # As clock_getcpuclockid(3) of Linux makes the clock's number: what /proc tells comes in ticks of 10 ms.
    clock = ~pid << 3 | CLOCK_SCHED
    try:
        return time.clock_gettime(clock)
    except OSError:
        return 0.0


def process_memory_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 once it is gone."""
    try:
        text = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8")
    except OSError:
        return 0
    return int(text.split()[1]) * PAGE_BYTES


def start_kvarts(folder: Path, nodes: int, *, memory: str | None = None) -> Servers:
    """Start `kvarts dev` and wait until it says that it serves."""
    events = folder / "events"
    command = [sys.executable, "-m", "kvarts", "dev", "--nodes", str(nodes), "--data", str(folder / "data"), "--json"]
    command += [] if memory is None else ["--memory", memory]
    process = _spawn(command, events, stdout=subprocess.PIPE)
    servers = Servers([], [], [process], events)
    with _ended_on_error(servers):
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.wait(STOP_S_MAX)
            servers.check()
        told = json.loads(line)
    servers.addresses = [node["address"] for node in told["nodes"]]
    servers.pids = [node["pid"] for node in told["nodes"]]
    servers.pages = [node["http"] for node in told["nodes"]]
    return servers


def join_kvarts(servers: Servers, folder: Path) -> None:
    """Start one more node, which joins the cluster that runs, and wait until it says that it serves."""
    command = [sys.executable, "-m", "kvarts", "serve", "--data", str(folder), "--listen", "127.0.0.1:0", "--json"]
    process = _spawn([*command, "--join", servers.addresses[0]], servers.events, stdout=subprocess.PIPE)
    _add(servers, process)
    assert process.stdout is not None
    if not process.stdout.readline():
        process.wait(STOP_S_MAX)
        servers.check()


def start_etcd(folder: Path, nodes: int) -> Servers:
    """Start a new etcd cluster; it may not serve yet."""
    ports = free_ports(2 * nodes)
    clients, peers = ports[:nodes], ports[nodes:]
    members = ",".join(f"n{number}=http://127.0.0.1:{port}" for number, port in enumerate(peers))
    servers = Servers([f"127.0.0.1:{port}" for port in clients], [], [], folder / "events")
    with _ended_on_error(servers):
        for number, (client, peer) in enumerate(zip(clients, peers, strict=True)):
            options = {
                "name": f"n{number}",
                "data-dir": str(folder / f"n{number}"),
                "listen-client-urls": f"http://127.0.0.1:{client}",
                "advertise-client-urls": f"http://127.0.0.1:{client}",
                "listen-peer-urls": f"http://127.0.0.1:{peer}",
                "initial-advertise-peer-urls": f"http://127.0.0.1:{peer}",
                "initial-cluster": members,
                "initial-cluster-state": "new",
                "log-outputs": "stderr",
                "logger": "zap",
                "log-level": "error",
            }
            command = ["etcd", *(f"--{name}={value}" for name, value in options.items())]
            _add(servers, _spawn(command, servers.events))
    return servers


def start_redis(folder: Path) -> Servers:
    """Start redis that syncs each write before it answers."""
    (port,) = free_ports(1)
    servers = Servers([f"127.0.0.1:{port}"], [], [], folder / "events")
    options = {"port": str(port), "bind": "127.0.0.1", "dir": str(folder), "save": "", "loglevel": "warning"}
    options |= {"appendonly": "yes", "appendfsync": "always"}
    command = ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]
    _add(servers, _spawn(command, servers.events))
    return servers


def program_version(command: Iterable[str]) -> str | None:
    """Return the first version number that a program prints, or None where it does not run."""
    try:
        done = subprocess.run([*command], capture_output=True, text=True, check=True)  # noqa: S603  # our own words
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"\d+\.\d+[.\d]*", done.stdout)
    return found[0] if found else None


def free_ports(count: int) -> list[int]:
    """Return ports that are free on loopback at the moment."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _add(servers: Servers, process: "subprocess.Popen[str]") -> None:
    servers.processes.append(process)
    servers.pids.append(process.pid)


@contextmanager
def _ended_on_error(servers: Servers) -> Iterator[None]:
    try:
        yield
    except BaseException:
        servers.stop()
        raise


def _spawn(command: list[str], events: Path, stdout: int | None = None) -> "subprocess.Popen[str]":
    with events.open("a", encoding="utf-8") as file:
        return subprocess.Popen(  # noqa: S603  # programs of the peers' names
            command, stdin=subprocess.DEVNULL, stdout=file if stdout is None else stdout, stderr=file, text=True
        )
