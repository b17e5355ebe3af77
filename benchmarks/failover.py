"""How long writes pause when a leader dies, and when it hands over: three nodes on this machine, one writer.

Run with python/ on the path: `PYTHONPATH=python python benchmarks/failover.py [deaths] [transfers]`. Each death is a
kill -9 of the leader, at a random moment; the node is started again and has caught up before the next. A pause is the
time of the slowest put of those under way when it happened. Any error that reaches the writer ends the run.
"""

import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kvarts
from kvarts import _native
from kvarts.bench.statistics import median, quantile
from kvarts.remote.admin import call

SEED = 1
REST_S = 0.5
SETTLE_S = 20
TIMEOUT_S = 30

Node = dict[str, Any]


class Writer(threading.Thread):
    """Puts one row after the other and remembers when each put began and ended."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self.uri = uri
        self.puts: list[tuple[float, float]] = []
        self.stopping = False
        self.error: kvarts.KvartsError | None = None

    def run(self) -> None:
        """Put until told to stop, or until a put fails."""
        try:
            with kvarts.open(self.uri, timeout=TIMEOUT_S) as db:
                while not self.stopping:
                    begun = time.monotonic()
                    db[b"%d" % (len(self.puts) % 1000)] = b"v" * 256
                    self.puts.append((begun, time.monotonic()))
        except kvarts.KvartsError as error:
            self.error = error

    def work(self, seconds: float) -> None:
        """Let it put for so long. Raises what ended it before."""
        self.join(seconds)
        if self.error is not None:
            raise self.error

    def pause_ms(self, moment: float) -> float:
        """Return the time of the slowest put that ended between a moment and now."""
        return max(1000 * (ended - begun) for begun, ended in self.puts if ended > moment)


@contextlib.contextmanager
def three_nodes(directory: Path) -> Iterator[dict[str, Any]]:
    """Run `kvarts dev` and yield what it says of itself."""
    command = [sys.executable, "-m", "kvarts", "dev", "--nodes", "3", "--data", str(directory), "--json"]
    dev = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert dev.stdout is not None
    try:
        yield json.loads(dev.stdout.readline())
    finally:
        dev.send_signal(signal.SIGINT)
        dev.wait()


def leader_of(writer: Writer) -> int:
    """Return the number of the node that leads, once one does."""
    while not (leader := int(call(writer.uri, "status")["leader"])):
        writer.work(REST_S)
    return leader


def applied_at(address: str) -> int:
    """Return how far one node is, asked itself."""
    client = _native.Client([address])
    try:
        answer = client.call(_native.Request.admin("status", "{}", address), 1000)
        return int(json.loads(answer)["groups"][0]["applied"])
    finally:
        client.close()


def die(writer: Writer, nodes: dict[int, Node], started: dict[int, subprocess.Popen[bytes]]) -> float:
    """Kill the leader, start it again, wait until its log is whole, and return when it died."""
    leader = leader_of(writer)
    pid = started[leader].pid if leader in started else nodes[leader]["pid"]
    argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    moment = time.monotonic()
    subprocess.run(["kill", "-9", str(pid)], check=True)
    if leader in started:
        started[leader].wait()
    writer.work(4 * REST_S)
    quiet = subprocess.DEVNULL
    started[leader] = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
    give_up = time.monotonic() + SETTLE_S
    while time.monotonic() < give_up:
        with contextlib.suppress(kvarts.KvartsError):
            target = call(writer.uri, "status")["groups"][0]["committed"]
            if applied_at(nodes[leader]["address"]) >= target:
                return moment
        writer.work(REST_S)
    raise TimeoutError(f"node {leader} did not catch up in {SETTLE_S} s")


def tell(what: str, pauses_ms: list[float]) -> None:
    """Print the quantiles of pauses."""
    ordered = sorted(pauses_ms)
    figures = {
        "what": what,
        "times": len(ordered),
        "median_ms": round(median(ordered), 1),
        "p90_ms": round(quantile(ordered, 0.9), 1),
        "p99_ms": round(quantile(ordered, 0.99), 1),
        "most_ms": round(ordered[-1], 1),
    }
    print(json.dumps(figures), flush=True)


def main(deaths: int, transfers: int) -> None:
    """Measure both kinds of pause and print them."""
    rng = random.Random(SEED)
    started: dict[int, subprocess.Popen[bytes]] = {}
    with tempfile.TemporaryDirectory() as directory, three_nodes(Path(directory) / "dev") as said:
        uri, nodes = said["uri"], {node["id"]: node for node in said["nodes"]}
        writer = Writer(uri)
        writer.start()
        try:
            handovers, losses = [], []
            for _ in range(transfers):
                writer.work(REST_S * (1 + rng.random()))
                moment = time.monotonic()
                call(uri, "transfer", {"to": 0})
                writer.work(REST_S)
                handovers.append(writer.pause_ms(moment))
            tell("planned transfer", handovers)
            for done in range(deaths):
                writer.work(REST_S * (1 + rng.random()))
                losses.append(writer.pause_ms(die(writer, nodes, started)))
                print(f"death {done + 1} of {deaths}: {losses[-1]:.0f} ms", file=sys.stderr, flush=True)
            tell("kill -9 of the leader", losses)
        finally:
            writer.stopping = True
            writer.join()
            for node in started.values():
                node.terminate()
                node.wait()


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3] or ("20", "20")))
