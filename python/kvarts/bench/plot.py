"""The figures as a picture: a panel per operation, a row per peer. Needs matplotlib, which is optional."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kvarts.bench.peers import OURS
from kvarts.bench.runner import Outcome, others
from kvarts.bench.statistics import median_estimate
from kvarts.bench.workloads import OPERATIONS

COLOURS = ("#2f6f8f", "#9fb8c4")
OUR_COLOURS = ("#c2410c", "#f0a37a")
COLUMNS = 4


def is_possible() -> bool:
    """Tell whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def draw(outcome: Outcome, title: str, folder: Path) -> list[Path]:
    """Write embedded.png and embedded.svg into a folder and return their paths."""
    # By name: matplotlib is optional, so the type checker may not find it.
    figures: Any = import_module("matplotlib.figure")
    panels = -(-len(OPERATIONS) // COLUMNS)
    figure = figures.Figure(figsize=(16, 4.2 * panels), layout="constrained")
    for place, operation in enumerate(OPERATIONS, start=1):
        axes = figure.add_subplot(panels, COLUMNS, place)
        _draw_panel(axes, outcome, operation.name)
        axes.set_title(f"{operation.title}\nµs per {operation.unit}", fontsize=10)
    sizes = " and ".join(f"{size} B" for size in outcome.samples)
    figure.suptitle(f"{title}\nlower is better; dark: values of {sizes.replace(' and ', ', light: ')}", fontsize=11)
    paths = [folder / "embedded.png", folder / "embedded.svg"]
    for path in paths:
        figure.savefig(path, dpi=110)
    return paths


def _draw_panel(axes: Any, outcome: Outcome, operation: str) -> None:
    sizes = list(outcome.samples)
    names = [OURS.name, *others(outcome, sizes[0])]
    for number, size in enumerate(sizes):
        by_peer = outcome.samples[size].get(operation, {})
        for row, name in enumerate(names):
            if name not in by_peer:
                continue
            colour = (OUR_COLOURS if name == OURS.name else COLOURS)[number % 2]
            place = row + (number - (len(sizes) - 1) / 2) * 0.4
            draw_points(axes, [sample / 1000 for sample in by_peer[name]], place, colour)
    finish_axes(axes, names)


def draw_points(axes: Any, samples: list[float], place: float, colour: str) -> None:
    """Draw the median of some samples with its interval in the row `place`."""
    found = median_estimate(samples)
    spread = [[found.value - found.low], [found.high - found.value]]
    # Points, not bars: on a logarithmic axis the length of a bar means nothing.
    axes.errorbar(found.value, place, xerr=spread, fmt="o", color=colour, markersize=7, capsize=3)
    axes.text(found.high, place, f"   {_short(found.value)}", va="center", fontsize=8)


def finish_axes(axes: Any, names: list[str]) -> None:
    """Set up the axes of a panel with a row per name."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.tick_params(axis="x", labelsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color="#eee")
    axes.set_axisbelow(True)
    axes.margins(x=0.2)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
