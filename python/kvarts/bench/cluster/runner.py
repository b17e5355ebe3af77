"""The plan of a run, peers interleaved in random order, and the samples it brings."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from kvarts.bench.cluster.peers import PEERS, Peer
from kvarts.bench.cluster.workloads import START, WORKLOADS, Load
from kvarts.bench.runner import Progress, Task, run_tasks

VALUE_BYTES = (256, 1_000)
CHILD = "kvarts.bench.cluster.child"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: how long, how often, on whom. `seed` fixes the data and the order."""

    load: Load = field(default_factory=Load)
    repetitions: int = 5
    value_bytes: tuple[int, ...] = VALUE_BYTES
    peers: tuple[Peer, ...] = PEERS
    workloads: tuple[str, ...] = tuple(workload.name for workload in WORKLOADS)
    seed: int = 1

    @property
    def runnable(self) -> list[Peer]:
        """The peers that are installed."""
        return [peer for peer in self.peers if peer.is_installed]

    @property
    def missing(self) -> list[Peer]:
        """The peers that are not."""
        return [peer for peer in self.peers if not peer.is_installed]

    def tasks(self) -> list[Task]:
        """Return every repetition to run: peers in a new random order in each round, so that drift hits them alike.

        A peer that has none of the workloads is left out.
        """
        rng = random.Random(self.seed)  # noqa: S311  # an order, no secret
        peers = [peer for peer in self.runnable if set(peer.workloads) & set(self.workloads)]
        tasks = []
        for repetition in range(self.repetitions):
            for value_bytes in self.value_bytes:
                for peer in rng.sample(peers, len(peers)):
                    task = {"peer": peer.name, "value_bytes": value_bytes, "seed": self.seed + repetition}
                    task["setting"] = f"{value_bytes} B"
                    tasks.append(task | {"load": asdict(self.load), "workloads": self.workloads})
        return tasks


Figures = dict[str, float]
"""A figure by its name: those of workloads.Figures, or `seconds` of the start."""


@dataclass(slots=True)
class Outcome:
    """What was measured: by value size, workload and peer the figures of each repetition."""

    samples: dict[int, dict[str, dict[str, list[Figures]]]] = field(default_factory=dict)

    def add(self, task: Task, results: dict[str, Figures]) -> None:
        """Take in one repetition."""
        for workload, figures in results.items():
            self._list(task["value_bytes"], workload, task["peer"]).append(figures)

    def of(self, value_bytes: int, workload: str, peer: str, figure: str) -> list[float]:
        """Return the samples of one figure; none where the peer was not measured."""
        found = self.samples.get(value_bytes, {}).get(workload, {}).get(peer, [])
        return [figures[figure] for figures in found]

    def peers(self, value_bytes: int) -> list[str]:
        """Return the names of the peers that were measured, in the order of the table."""
        measured = self.samples.get(value_bytes, {}).get(START.name, {})
        return [peer.name for peer in PEERS if peer.name in measured]

    def as_dict(self) -> dict[str, Any]:
        """Return the samples as JSON has them."""
        return {str(size): workloads for size, workloads in self.samples.items()}

    @classmethod
    def from_dict(cls, sizes: dict[str, Any]) -> Self:
        """Return what `as_dict` gave: samples of an earlier run on the same machine, to go on from."""
        return cls({int(size): workloads for size, workloads in sizes.items()})

    def _list(self, value_bytes: int, workload: str, peer: str) -> list[Figures]:
        return self.samples.setdefault(value_bytes, {}).setdefault(workload, {}).setdefault(peer, [])


def run(plan: Plan, outcome: Outcome, scratch: Path, progress: Progress) -> None:
    """Run a plan in a folder and add to an outcome. Raises RepetitionFailedError; what was measured before stays."""
    run_tasks(plan.tasks(), CHILD, scratch, outcome.add, progress)


def chosen(names: Sequence[str] | None) -> tuple[Peer, ...]:
    """Return the peers of some names, ours always among them; all without names. Raises KeyError with a strange one."""
    if names is None:
        return PEERS
    by_name = {peer.name: peer for peer in PEERS}
    for name in names:
        by_name[name]
    return tuple(peer for peer in PEERS if peer.name.startswith("kvarts") or peer.name in names)
