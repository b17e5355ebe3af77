"""What callers noticed of a changing cluster, as one JSON object, as tables and as a picture."""

from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from kvarts.bench.board import shown
from kvarts.bench.cluster.growing import FIGURES, PHASES, Outcome, Plan, verdict
from kvarts.bench.plot import COLOURS, OUR_COLOURS
from kvarts.bench.report import Table, as_markdown
from kvarts.bench.statistics import median, median_estimate


def document(plan: Plan, outcome: Outcome, context: dict[str, Any]) -> dict[str, Any]:
    """Return everything: plan, machine, versions, every sample, medians with intervals, the bar."""
    return {
        "kind": "growing",
        **context,
        "options": asdict(plan),
        "phases": {
            phase: {
                name: {"unit": FIGURES[name], "samples": samples, "median": asdict(median_estimate(samples))}
                for name, samples in rows.items()
            }
            for phase, rows in outcome.samples.items()
        },
        "timelines": outcome.timelines,
        "bar": asdict(verdict(outcome)),
    }


def history_line(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the short form that is kept per run: medians and the verdict only."""
    medians = {
        phase: {name: float(format(cell["median"]["value"], ".5g")) for name, cell in rows.items()}
        for phase, rows in whole["phases"].items()
    }
    kept = {name: whole[name] for name in ("kind", "when", "commit", "machine", "versions", "options")}
    return kept | {"median": medians, "bar": whole["bar"]["verdict"]}


def table(outcome: Outcome) -> Table:
    """Return medians: a row per phase."""
    labels = [f"{name}, {unit}" if unit else name for name, unit in FIGURES.items()]
    rows: Table = [("phase", "what happens", *labels)]
    for phase, what in PHASES.items():
        rows.append((phase, what, *(shown(median(outcome.samples[phase][name])) for name in FIGURES)))
    return rows


def markdown(outcome: Outcome, context: dict[str, Any]) -> str:
    """Return the table and the bar, for the documents."""
    machine, found = context["machine"], verdict(outcome)
    lines = [f"{machine['processor']}, {machine['cores']} cores, {context['when']}, {context['commit']}", ""]
    return "\n".join([*lines, as_markdown(table(outcome)), "", f"- {found.verdict}: {found.text}"]) + "\n"


def draw(outcome: Outcome, title: str, folder: Path) -> list[Path]:
    """Write growing.png and growing.svg into a folder and return their paths. Needs matplotlib, which is optional."""
    # By name: the type checker may not find it.
    figure = import_module("matplotlib.figure").Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for number, timeline in enumerate(outcome.timelines):
        seconds, p99 = zip(*timeline["p99"], strict=True)
        axes.plot(seconds, p99, color=OUR_COLOURS[number % len(OUR_COLOURS)], linewidth=1.2)
        if number == 0:
            for name, begin in timeline["marks"]:
                axes.axvline(begin, color=COLOURS[0], linestyle=":", linewidth=1)
                axes.text(begin, 1.0, f" {name}", fontsize=8, va="top", transform=axes.get_xaxis_transform())
    axes.set_yscale("log")
    axes.set_xlabel("seconds; a line per repetition, phases are the first one's")
    axes.set_title("p99 of the requests of each second, ms: lower is better", fontsize=9)
    axes.grid(color="#eee")
    figure.suptitle(title, fontsize=10)
    paths = [folder / "growing.png", folder / "growing.svg"]
    for path in paths:
        figure.savefig(path, dpi=110)
    return paths
