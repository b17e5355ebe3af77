"""What every bench measures in: rows of figures by setting and peer, and the bars that ours must clear."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kvarts.bench.peers import OURS, PEERS
from kvarts.bench.statistics import Estimate, median, median_estimate, ratio_estimate

BEST = "the best peer"
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Row:
    """A figure: its name, what it says in tables, its unit ("" where it counts), and whether more of it is better.

    One that is not `compared` has no ratios: another row says the same, or there is nothing to be better at.
    """

    name: str
    title: str
    unit: str = "µs"
    higher: bool = False
    compared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What our figure of a row must reach: `limit` times that of `peer`, or `limit` itself where there is no peer.

    `peer` BEST is whichever is best. `setting` None is all settings. `peer_row` is the peer's row where it is another.
    `limit` None asks for the stretch only, which is no bar: nothing is missed by it.
    """

    row: str
    limit: float | None = None
    stretch: float | None = None
    peer: str | None = None
    setting: str | None = None
    peer_row: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a bar was met: "stretch", "holds", "touched" (the interval reaches over it), "missed", or not measured; "no
    stretch" where only that was hoped for.

    `found` is a ratio, or the figure itself where the bar names no peer.
    """

    bar: Bar
    row: Row
    setting: str
    peer: str | None
    found: Estimate | None
    verdict: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.text}"

    @property
    def text(self) -> str:
        """What was found and what was asked, for people."""
        side = "at least" if self.row.higher else "at most"
        if self.bar.limit is None:
            asked = f"hoped for: {side} {_asked(self.bar.stretch)}"
        else:
            stretch = "" if self.bar.stretch is None else f" (stretch {_asked(self.bar.stretch)})"
            asked = f"asked: {side} {_asked(self.bar.limit)}{stretch}"
        where = f"{self.row.title} at {self.setting}" if self.setting else self.row.title
        what = f" of {self.peer}'s" if self.peer else f" {self.row.unit}"
        if self.found is None:
            return f"{where}, {asked}{what}"
        figures = [self.found.value, self.found.low, self.found.high]
        value, low, high = (f"{figure:.2f}" if self.peer else shown(figure) for figure in figures)
        return f"{where}: {value} [{low}, {high}]{what}, {asked}"


Samples = dict[str, dict[str, dict[str, list[float]]]]
"""Samples by setting, row and peer, in the unit of the row."""
Figures = dict[str, dict[str, float]]
"""What a repetition measured: by row and peer."""


@dataclass(slots=True)
class Outcome:
    """What was measured."""

    samples: Samples = field(default_factory=dict)

    def add(self, task: dict[str, Any], figures: Figures) -> None:
        """Take in one repetition."""
        rows = self.samples.setdefault(task["setting"], {})
        for row, by_peer in figures.items():
            for peer, figure in by_peer.items():
                rows.setdefault(row, {}).setdefault(peer, []).append(figure)

    def of(self, setting: str, row: str, peer: str) -> list[float]:
        """Return the samples of a cell; none where it was not measured."""
        return self.samples.get(setting, {}).get(row, {}).get(peer, [])

    def peers(self, setting: str) -> list[str]:
        """Return the names of what was measured, ours first, else in the order they are known in."""
        measured = {peer for by_peer in self.samples.get(setting, {}).values() for peer in by_peer}
        return sorted(measured, key=_place)


def judge(found: Estimate, limit: float | None, *, higher: bool = False, stretch: float | None = None) -> str:
    """Return how a bar was met, by the whole interval. One that touches the bar asks for a quieter machine."""
    if stretch is not None and _clears(found, stretch, higher):
        return "stretch"
    if limit is None:
        return "no stretch"
    if _clears(found, limit, higher):
        return "holds"
    falls_short = found.high < limit if higher else found.low > limit
    return "missed" if falls_short else "touched"


def verdicts(bars: tuple[Bar, ...], rows: tuple[Row, ...], outcome: Outcome) -> Iterator[Verdict]:
    """Yield each bar's verdict in each setting that it is for; one that nothing was measured for too."""
    by_name = {row.name: row for row in rows}
    for bar in bars:
        settings = [setting for setting in outcome.samples if bar.setting in (None, setting)]
        for setting in settings or [bar.setting or ""]:
            yield _verdict(bar, by_name[bar.row], setting, outcome)


def _verdict(bar: Bar, row: Row, setting: str, outcome: Outcome) -> Verdict:
    peer = _best(outcome, bar, row, setting) if bar.peer == BEST else bar.peer
    ours = outcome.of(setting, bar.row, OURS.name)
    theirs = outcome.of(setting, bar.peer_row or bar.row, peer) if peer else []
    if not ours or (bar.peer and not theirs):
        missing = {"peer": peer or bar.peer, "found": None, "verdict": NOT_MEASURED}
        return Verdict(bar=bar, row=row, setting=setting, **missing)  # type: ignore[arg-type]
    found = ratio_estimate(ours, theirs) if theirs else median_estimate(ours)
    verdict = judge(found, bar.limit, higher=row.higher, stretch=bar.stretch)
    return Verdict(bar=bar, row=row, setting=setting, peer=peer, found=found, verdict=verdict)


def _best(outcome: Outcome, bar: Bar, row: Row, setting: str) -> str | None:
    by_peer = outcome.samples.get(setting, {}).get(bar.peer_row or bar.row, {})
    rivals = {peer: median(samples) for peer, samples in by_peer.items() if not is_ours(peer) and peer != "dict"}
    if not rivals:
        return None
    return (max if row.higher else min)(rivals, key=rivals.__getitem__)


def is_ours(peer: str) -> bool:
    """Tell whether a name is one of ours: "kvarts", or "kvarts zstd" and the like."""
    return peer.split(" ", maxsplit=1)[0] == OURS.name


def shown(value: float) -> str:
    """Return a figure in three digits or so: 0.123, 4.56, 78.9, 12,345, 6.78 M."""
    for size, form in ((1e6, ""), (100, ",.0f"), (10, ".1f"), (1, ".2f")):
        if abs(value) >= size:
            return format(value, form) if form else f"{value / 1e6:,.2f} M"
    return format(value, ".3g")


def _asked(limit: float | None) -> str:
    return shown(limit) if limit is not None and limit >= 1_000 else f"{limit:g}"


def _clears(found: Estimate, limit: float, higher: bool) -> bool:
    return found.low >= limit if higher else found.high <= limit


_ORDER = tuple(peer.name for peer in PEERS)


def _place(peer: str) -> tuple[int, str]:
    first = peer.split(" ", maxsplit=1)[0]
    return (_ORDER.index(first) if first in _ORDER else len(_ORDER), peer)
