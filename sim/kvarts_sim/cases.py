"""A case: which world to run, for how long, with how much of it left out. What a failing run prints is its command."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from kvarts_sim.cluster.agenda import MS, SECOND
from kvarts_sim.cluster.muscle import SimMuscle
from kvarts_sim.cluster.runs import SCENARIOS, Report, run_world, world_of
from kvarts_sim.planted.bugs import Bug


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run. None leaves to the scenario what it draws from the seed."""

    seed: int
    scenario: str = "any"
    duration_us: int = 60 * SECOND
    bug: Bug | None = None
    nodes: int | None = None
    clients: int | None = None
    deeds: frozenset[int] | None = None

    def run(self, lines: int = 60) -> Report:
        """Run it. A failing report ends with this case's command."""
        drawn = SCENARIOS[self.scenario](self.seed, self.duration_us)
        scenario = replace(
            drawn,
            nodes=drawn.nodes if self.nodes is None else self.nodes,
            clients=drawn.clients if self.clients is None else self.clients,
            deeds=self.deeds,
        )
        planted: AbstractContextManager[None] = self.bug.planted() if self.bug else nullcontext()
        with planted:
            world = world_of(scenario, self.bug.muscle if self.bug else SimMuscle)
            return run_world(world, again=self.command, lines=lines)

    @property
    def command(self) -> str:
        """What runs the same again."""
        words = [f"nox -s sim -- {self.seed} --scenario {self.scenario} --seconds {self.duration_us // MS / 1000:g}"]
        words += [f'--planted "{self.bug.name}"'] if self.bug else []
        words += [f"--nodes {self.nodes}"] if self.nodes is not None else []
        words += [f"--clients {self.clients}"] if self.clients is not None else []
        words += [f"--deeds {','.join(map(str, sorted(self.deeds))) or 'none'}"] if self.deeds is not None else []
        return " ".join(words)
