"""Runs worlds and tells about them: a line for one that held, a timeline and the command again for one that did not."""

from __future__ import annotations

from dataclasses import dataclass

from kvarts_sim.cluster.invariants import Broken
from kvarts_sim.cluster.moving_world import MovingWorld
from kvarts_sim.cluster.muscle import SimMuscle
from kvarts_sim.cluster.world import Outline, Scenario, World


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended. `broken` names the rule, if one was."""

    text: str
    broken: str | None = None
    outline: Outline | None = None
    at_us: int = 0
    deeds: tuple[int, ...] = ()
    """Numbers of the nemesis's deeds that happened."""
    nodes: int = 0
    clients: int = 0


def world_of(scenario: Scenario, muscle: type[SimMuscle] = SimMuscle) -> World:
    """Return the world of a scenario."""
    return MovingWorld(scenario) if scenario.moves else World(scenario, muscle=muscle)


def run_world(world: World, *, again: str, lines: int = 60) -> Report:
    """Run a world. Only broken rules are caught: any other exception is a bug of the simulator."""
    had = {"nodes": world.scenario.nodes, "clients": world.scenario.clients}
    try:
        outline = world.run()
    except Broken as broken:
        words = [*world.timeline.tail(lines), f"BROKEN {broken}", f"again: {again}"]
        return Report("\n".join(words), broken.rule, None, world.agenda.now_us, tuple(world.nemesis.done), **had)
    faults = " ".join(f"{kind}={count}" for kind, count in sorted(outline.faults.items()))
    what = f"{outline.events} events, {outline.calls} calls, {outline.committed} entries, {outline.terms} terms"
    text = f"seed={world.scenario.seed} held: {what}; {faults}; digest {outline.digest[:16]}"
    return Report(text, None, outline, world.agenda.now_us, tuple(world.nemesis.done), **had)


SCENARIOS = {
    "any": Scenario.of,
    "breaks": Scenario.breaks,
    "canary": Scenario.canary,
    "changes": Scenario.changes,
    "coups": Scenario.coups,
    "echoes": Scenario.echoes,
    "halves": Scenario.halves,
    "leases": Scenario.leases,
    "moves": Scenario.moving,
    "quiet": Scenario.quiet,
    "refusals": Scenario.refusals,
    "shards": Scenario.shards,
    "storm": Scenario.storm,
}
