"""Runs repetitions, each in a process of its own, the peers interleaved in random order, and gathers the samples."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvarts.bench.board import Bar, Outcome, Row
from kvarts.bench.peers import PEERS, Peer

Task = dict[str, Any]
"""What a child does: at least `peer` and `setting`."""
Progress = Callable[[int, int, str], object]
CHILD = "kvarts.bench.child"


def _nothing() -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A bench: `module` has `repeat_once(task)`, which measures a peer in a setting and returns board.Figures.

    `counts` is how much of each operation a repetition does: `rows`, and what goes with it in proportion. `lacks` names
    what this Python or this build cannot measure, and why.
    """

    name: str
    module: str
    rows: tuple[Row, ...]
    counts: Mapping[str, int]
    settings: tuple[str, ...] = ("",)
    bars: tuple[Bar, ...] = ()
    peers: tuple[Peer, ...] = PEERS
    repetitions: int = 5
    lacks: Callable[[], tuple[str, ...]] = _nothing

    def counts_for(self, rows: int) -> dict[str, int]:
        """Return the counts of a smaller or larger repetition; each operation is done a few times at least."""
        whole = self.counts["rows"]
        return {name: max(min(count, 5), count * rows // whole) for name, count in self.counts.items()} | {"rows": rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: how much, how often, on whom. `seed` fixes the data and the order."""

    bench: Bench
    counts: Mapping[str, int]
    repetitions: int
    peers: tuple[Peer, ...] = field(default=())
    settings: tuple[str, ...] = field(default=())
    seed: int = 1

    @property
    def runnable(self) -> list[Peer]:
        """The peers that are installed."""
        return [peer for peer in self.peers or self.bench.peers if peer.is_installed]

    @property
    def missing(self) -> list[Peer]:
        """The peers that are not."""
        return [peer for peer in self.peers or self.bench.peers if not peer.is_installed]

    def tasks(self) -> list[Task]:
        """Return every repetition to run: peers in a new random order in each round, so that drift hits them alike."""
        rng = random.Random(self.seed)  # noqa: S311  # an order, no secret
        tasks = []
        for repetition in range(self.repetitions):
            for setting in self.settings or self.bench.settings:
                for peer in rng.sample(self.runnable, len(self.runnable)):
                    task = {"peer": peer.name, "setting": setting, "seed": self.seed + repetition}
                    tasks.append(task | {"module": self.bench.module, "counts": dict(self.counts)})
        return tasks


class RepetitionFailedError(Exception):
    """A child process ended badly: which peer, and the end of what it said."""


def run(plan: Plan, scratch: Path, progress: Progress) -> Outcome:
    """Run a plan in a folder, which is emptied after each repetition. Raises RepetitionFailedError."""
    outcome = Outcome()
    run_tasks(plan.tasks(), CHILD, scratch, outcome.add, progress)
    return outcome


def run_tasks(
    tasks: list[Task], module: str, scratch: Path, add: Callable[[Task, Any], object], progress: Progress
) -> None:
    """Run each task in a process of its own, with a folder of its own that is emptied after, and add its result.

    `progress` gets repetitions done, in all, and what comes next. Raises RepetitionFailedError.
    """
    for done, task in enumerate(tasks):
        progress(done, len(tasks), ", ".join(filter(None, (task["peer"], task["setting"]))))
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
