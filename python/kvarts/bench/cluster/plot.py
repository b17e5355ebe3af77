"""The figures as a picture: a panel per workload, a row per peer. Needs matplotlib, which is optional."""

from importlib import import_module
from pathlib import Path
from typing import Any

from kvarts.bench.cluster.runner import Outcome
from kvarts.bench.cluster.workloads import FIGURES, WORKLOADS, Workload
from kvarts.bench.plot import COLOURS, OUR_COLOURS, draw_points, finish_axes

COLUMNS = 3


def draw(outcome: Outcome, title: str, folder: Path) -> list[Path]:
    """Write cluster.png and cluster.svg into a folder and return their paths."""
    # By name: matplotlib is optional, so the type checker may not find it.
    figures: Any = import_module("matplotlib.figure")
    measured = {name for workloads in outcome.samples.values() for name in workloads}
    workloads = [workload for workload in WORKLOADS if workload.name in measured]
    rows = -(-len(workloads) // COLUMNS)
    figure = figures.Figure(figsize=(15, 2.9 * rows + 1), layout="constrained")
    for place, workload in enumerate(workloads, start=1):
        axes = figure.add_subplot(rows, COLUMNS, place)
        _draw_panel(axes, outcome, workload)
        better = "higher" if workload.figure == "rate" else "lower"
        axes.set_title(f"{workload.title}\n{FIGURES[workload.figure]}: {better} is better", fontsize=10)
    sizes = ", light: ".join(f"{size} B" for size in outcome.samples)
    figure.suptitle(f"{title}\ndark: values of {sizes}", fontsize=11)
    paths = [folder / "cluster.png", folder / "cluster.svg"]
    for path in paths:
        figure.savefig(path, dpi=110)
    return paths


def _draw_panel(axes: Any, outcome: Outcome, workload: Workload) -> None:
    sizes = list(outcome.samples)
    measured = {name: None for size in sizes for name in outcome.peers(size)}
    names = [name for name in measured if any(outcome.of(s, workload.name, name, workload.figure) for s in sizes)]
    for number, size in enumerate(sizes):
        for row, name in enumerate(names):
            if samples := outcome.of(size, workload.name, name, workload.figure):
                colour = (OUR_COLOURS if name.startswith("kvarts") else COLOURS)[number % 2]
                draw_points(axes, samples, row + (number - (len(sizes) - 1) / 2) * 0.4, colour)
    finish_axes(axes, names)
