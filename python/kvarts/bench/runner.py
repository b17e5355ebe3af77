"""Runs repetitions, each in a process of its own, the peers interleaved in random order, and gathers the samples."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kvarts.bench.peers import OURS, PEERS, Peer
from kvarts.bench.workloads import Counts

VALUE_BYTES = (1_000, 100)
Task = dict[str, Any]
"""What a child does: at least `peer` and `value_bytes`."""
Progress = Callable[[int, int, str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: how much, how often, on whom. `seed` fixes the data and the order."""

    counts: Counts = field(default_factory=Counts)
    repetitions: int = 5
    value_bytes: tuple[int, ...] = VALUE_BYTES
    peers: tuple[Peer, ...] = PEERS
    seed: int = 1

    @property
    def runnable(self) -> list[Peer]:
        """The peers that are installed."""
        return [peer for peer in self.peers if peer.is_installed]

    @property
    def missing(self) -> list[Peer]:
        """The peers that are not."""
        return [peer for peer in self.peers if not peer.is_installed]

    def tasks(self) -> list[dict[str, Any]]:
        """Return every repetition to run: peers in a new random order in each round, so that drift hits them alike."""
        rng = random.Random(self.seed)  # noqa: S311  # an order, no secret
        tasks = []
        for repetition in range(self.repetitions):
            for value_bytes in self.value_bytes:
                for peer in rng.sample(self.runnable, len(self.runnable)):
                    task = {"peer": peer.name, "value_bytes": value_bytes, "seed": self.seed + repetition}
                    tasks.append(task | {"counts": asdict(self.counts)})
        return tasks


class RepetitionFailedError(Exception):
    """A child process ended badly: which peer, and the end of what it said."""


Samples = dict[int, dict[str, dict[str, list[float]]]]


@dataclass(slots=True)
class Outcome:
    """What was measured: ns per unit by value size, operation and peer; and bytes on disk by value size and peer."""

    samples: Samples = field(default_factory=dict)
    disk_bytes: dict[int, dict[str, list[int]]] = field(default_factory=dict)

    def add(self, task: dict[str, Any], result: dict[str, Any]) -> None:
        """Take in one repetition."""
        by_operation = self.samples.setdefault(task["value_bytes"], {})
        for operation, unit_ns in result["unit_ns"].items():
            by_operation.setdefault(operation, {}).setdefault(task["peer"], []).append(unit_ns)
        self.disk_bytes.setdefault(task["value_bytes"], {}).setdefault(task["peer"], []).append(result["disk_bytes"])


def run(plan: Plan, scratch: Path, progress: Progress) -> Outcome:
    """Run a plan in a folder, which is emptied after each repetition. Raises RepetitionFailedError."""
    outcome = Outcome()
    run_tasks(plan.tasks(), "kvarts.bench.child", scratch, outcome.add, progress)
    return outcome


def run_tasks(
    tasks: list[Task], module: str, scratch: Path, add: Callable[[Task, Any], object], progress: Progress
) -> None:
    """Run each task in a process of its own, with a folder of its own that is emptied after, and add its result.

    `progress` gets repetitions done, in all, and what comes next. Raises RepetitionFailedError.
    """
    for done, task in enumerate(tasks):
        progress(done, len(tasks), f"{task['peer']}, {task['value_bytes']} B")
        folder = scratch / f"{done:03d}"
        try:
            add(task, _run_child(module, task | {"folder": str(folder)}))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    progress(len(tasks), len(tasks), "done")


def _run_child(module: str, task: Task) -> Any:
    command = [sys.executable, "-m", module]
    done = subprocess.run(  # noqa: S603  # our own module
        command, input=json.dumps(task), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        end = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise RepetitionFailedError(f"{task['peer']} ended with {done.returncode}:\n{end}")
    return json.loads(done.stdout)


def others(outcome: Outcome, value_bytes: int) -> list[str]:
    """Return the names of the peers that were measured, in the order of the table, ours aside."""
    measured = outcome.disk_bytes.get(value_bytes, {})
    return [peer.name for peer in PEERS if peer.name in measured and peer is not OURS]
