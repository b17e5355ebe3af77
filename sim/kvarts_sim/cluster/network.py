"""Packets between nodes: late, lost, twice, out of order, queues that build up, cuts in one direction or both."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from kvarts_sim.cluster.agenda import MS, Agenda


@dataclass(slots=True)
class Weather:
    """How bad the network is at the moment."""

    delay_us: int = 300
    jitter_us: int = 700
    loss: float = 0.0
    twice: float = 0.0
    late: float = 0.0
    """Chance that a packet takes up to `late_us` longer, and arrives after those sent later."""
    late_us: int = 300 * MS


class Network:
    """Who can reach whom, and when it arrives."""

    def __init__(self, agenda: Agenda, rng: random.Random) -> None:
        self._agenda = agenda
        self._rng = rng
        self.weather = Weather()
        self.cuts: set[tuple[int, int]] = set()
        """Directed: (from, to)."""
        self.lags: dict[tuple[int, int], int] = {}
        """Queues that have built up: how much longer a packet takes from one to the other, in microseconds."""

    def send(self, sender: int, to: int, deliver: Callable[[], None]) -> bool:
        """Let a packet travel; return whether any copy of it will arrive unless the link is cut meanwhile."""
        rng, weather = self._rng, self.weather
        lost = rng.random() < weather.loss
        copies = 0 if lost else 2 if rng.random() < weather.twice else 1
        for _ in range(copies):
            delay = weather.delay_us + rng.randrange(weather.jitter_us) + self.lags.get((sender, to), 0)
            if rng.random() < weather.late:
                delay += rng.randrange(weather.late_us)
            self._agenda.after(delay, lambda: self._arrive(sender, to, deliver))
        return copies > 0 and (sender, to) not in self.cuts

    def _arrive(self, sender: int, to: int, deliver: Callable[[], None]) -> None:
        if (sender, to) not in self.cuts:
            deliver()

    def heal(self) -> None:
        """Good weather, no cuts, no queues; what is on its way takes its time."""
        self.cuts.clear()
        self.lags.clear()
        self.weather = Weather()
