"""Makes a failing case small: a shorter run, fewer deeds, clients and nodes that break the same rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kvarts_sim.cases import Case
from kvarts_sim.cluster.agenda import MS
from kvarts_sim.cluster.runs import Report


@dataclass(slots=True)
class Shrinker:
    """`case` fails with `report`; each step replaces both by smaller ones that break the same rule."""

    case: Case
    report: Report
    tried: int = 0

    def shrink(self, rounds: int = 4) -> None:
        """Make the case as small as it gets."""
        for _ in range(rounds):
            before = self.case
            self._shorten()
            deeds = minimal(self.report.deeds, lambda kept: self._accept(replace(self.case, deeds=frozenset(kept))))
            self._accept(replace(self.case, deeds=frozenset(deeds)))
            self._fewer("clients", self.report.clients, 0)
            self._fewer("nodes", self.report.nodes, 1)
            if self.case == before:
                return

    def _accept(self, case: Case) -> bool:
        """Take a smaller case if it breaks the same rule."""
        self.tried += 1
        report = case.run()
        if report.broken != self.report.broken:
            return False
        self.case, self.report = case, report
        return True

    def _shorten(self) -> None:
        """End the run where it broke; if that is after healing, heal earlier."""
        if self.report.at_us < self.case.duration_us:
            self._accept(replace(self.case, duration_us=(self.report.at_us // MS + 1) * MS))
            return
        cut_us = self.case.duration_us // 2 // MS * MS
        while cut_us > MS:
            shorter = max(MS, (self.case.duration_us - cut_us) // MS * MS)
            if not self._accept(replace(self.case, duration_us=shorter)):
                cut_us = cut_us // 2 // MS * MS

    def _fewer(self, what: str, count: int, least: int) -> None:
        for number in range(least, count):
            if self._accept(replace(self.case, **{what: number})):  # type: ignore[arg-type]  # nodes and clients are ints
                return


def minimal(items: Sequence[int], fails: Callable[[Sequence[int]], bool]) -> Sequence[int]:
    """Return a part of `items` that fails and of which no single one can be left out. Source: Zeller, ddmin."""
    parts = 2
    while items:
        size = -(-len(items) // parts)
        smaller = (rest for at in range(0, len(items), size) if fails(rest := [*items[:at], *items[at + size :]]))
        found = next(smaller, None)
        if found is not None:
            items, parts = found, max(2, parts - 1)
        elif size == 1:
            return items
        else:
            parts = min(len(items), 2 * parts)
    return items
