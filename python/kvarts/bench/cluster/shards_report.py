"""The figures of many shards as one JSON object, as tables and as a picture."""

from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from kvarts.bench.board import Row, shown
from kvarts.bench.cluster.shards import BARS, BY_NAME, ROWS, Outcome, Plan, verdicts
from kvarts.bench.plot import OUR_COLOURS
from kvarts.bench.report import Table, as_markdown
from kvarts.bench.statistics import median

PANELS = ("put_rate", "put_p50", "put_cpu", "puts_per_entry", "get_rate", "idle_cores")


def document(plan: Plan, outcome: Outcome, context: dict[str, Any]) -> dict[str, Any]:
    """Return everything: plan, machine, versions, every sample, medians with intervals, the bars."""
    return {
        "kind": "shards",
        **context,
        "options": {"repetitions": plan.repetitions, "seed": plan.seed, "memory": plan.memory, **asdict(plan.load)},
        "shards": {
            str(count): {
                name: {"unit": BY_NAME[name].unit, "samples": samples, "median": asdict(outcome.estimate(count, name))}
                for name, samples in outcome.samples[count].items()
            }
            for count in outcome.counts
        },
        "bars": [
            asdict(found.bar) | {"found": asdict(found.found), "verdict": found.verdict} for found in verdicts(outcome)
        ],
    }


def history_line(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the short form that is kept per run: medians and verdicts only."""
    medians = {
        count: {row: float(format(cell["median"]["value"], ".5g")) for row, cell in rows.items()}
        for count, rows in whole["shards"].items()
    }
    bars = [{name: bar[name] for name in ("row", "shards", "verdict")} for bar in whole["bars"]]
    kept = {name: whole[name] for name in ("kind", "when", "commit", "machine", "versions", "options")}
    return kept | {"median": medians, "bars": bars}


def table(outcome: Outcome) -> Table:
    """Return medians: a row per figure, a column per number of shards."""
    counts = outcome.counts
    rows: Table = [("", *(f"{count} shard{'s' if count > 1 else ''}" for count in counts))]
    for row in ROWS:
        cells = [outcome.of(count, row.name) for count in counts]
        if any(cells):
            rows.append((_label(row), *(shown(median(cell)) if cell else "–" for cell in cells)))
    return rows


def markdown(outcome: Outcome, context: dict[str, Any]) -> str:
    """Return the table and the bars, for the documents."""
    machine = context["machine"]
    lines = [f"{machine['processor']}, {machine['cores']} cores, {context['when']}, {context['commit']}", ""]
    lines += [as_markdown(table(outcome)), "", *(f"- {each.verdict}: {each.text}" for each in verdicts(outcome))]
    return "\n".join(lines) + "\n"


def draw(outcome: Outcome, title: str, folder: Path) -> list[Path]:
    """Write shards.png and shards.svg into a folder and return their paths. Needs matplotlib, which is optional."""
    # By name: the type checker may not find it.
    figure = import_module("matplotlib.figure").Figure(figsize=(12, 6.5), layout="constrained")
    for place, name in enumerate(PANELS, start=1):
        _draw_panel(figure.add_subplot(2, 3, place), outcome, BY_NAME[name])
    figure.suptitle(title, fontsize=11)
    paths = [folder / "shards.png", folder / "shards.svg"]
    for path in paths:
        figure.savefig(path, dpi=110)
    return paths


def _draw_panel(axes: Any, outcome: Outcome, row: Row) -> None:
    counts = [count for count in outcome.counts if outcome.of(count, row.name)]
    found = [outcome.estimate(count, row.name) for count in counts]
    values = [each.value for each in found]
    spread = [[each.value - each.low for each in found], [each.high - each.value for each in found]]
    axes.errorbar(counts, values, yerr=spread, fmt="o-", color=OUR_COLOURS[0], markersize=5, capsize=3)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_ylim(bottom=0)
    axes.grid(color="#eee")
    axes.set_title(f"{_label(row)}: {'higher' if row.higher else 'lower'} is better", fontsize=9)
    if any(bar.row == row.name and not bar.of_one for bar in BARS):
        axes.axhline(next(bar.limit for bar in BARS if bar.row == row.name), color="#888", linestyle=":")


def _label(row: Row) -> str:
    return f"{row.title}, {row.unit}" if row.unit else row.title
