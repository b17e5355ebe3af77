"""The figures of many shards as one JSON object, as tables and as a picture."""

from dataclasses import asdict
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any

from kvarts.bench.board import Row, shown
from kvarts.bench.cluster.shards import BARS, BY_NAME, ROWS, Cell, Outcome, Plan, verdicts
from kvarts.bench.plot import OUR_COLOURS
from kvarts.bench.report import Table, as_markdown
from kvarts.bench.statistics import median

PANELS = ("put_rate", "put_p50", "put_cpu", "puts_per_entry", "get_rate", "idle_cores")


def document(plan: Plan, outcome: Outcome, context: dict[str, Any]) -> dict[str, Any]:
    """Return everything: plan, machine, versions, every sample, medians with intervals, the bars."""
    return {
        "kind": "shards",
        **context,
        "options": {
            "repetitions": plan.repetitions,
            "seed": plan.seed,
            "memory": plan.memory,
            "seconds": plan.load.seconds,
            "warm_seconds": plan.load.warm_seconds,
        },
        "keys": {
            str(keys): {str(count): _cell(outcome, keys, count) for count in outcome.counts(keys)}
            for keys in outcome.keys
        },
        "bars": [
            asdict(found.bar) | {"keys": found.keys, "found": asdict(found.found), "verdict": found.verdict}
            for found in verdicts(outcome)
        ],
    }


def _cell(outcome: Outcome, keys: int, count: int) -> dict[str, Any]:
    return {
        name: {"unit": BY_NAME[name].unit, "samples": samples, "median": asdict(outcome.estimate(keys, count, name))}
        for name, samples in outcome.samples[Cell(keys, count)].items()
    }


def history_line(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the short form that is kept per run: medians and verdicts only."""
    medians = {
        keys: {
            count: {row: float(format(cell["median"]["value"], ".5g")) for row, cell in rows.items()}
            for count, rows in counts.items()
        }
        for keys, counts in whole["keys"].items()
    }
    bars = [{name: bar[name] for name in ("row", "keys", "shards", "verdict")} for bar in whole["bars"]]
    kept = {name: whole[name] for name in ("kind", "when", "commit", "machine", "versions", "options")}
    return kept | {"median": medians, "bars": bars}


def table(outcome: Outcome, keys: int) -> Table:
    """Return medians of so many keys: a row per figure, a column per number of shards."""
    counts = outcome.counts(keys)
    rows: Table = [("", *(f"{count} shard{'s' if count > 1 else ''}" for count in counts))]
    for row in ROWS:
        cells = [outcome.of(keys, count, row.name) for count in counts]
        if any(cells):
            rows.append((_label(row), *(shown(median(cell)) if cell else "–" for cell in cells)))
    return rows


def markdown(outcome: Outcome, context: dict[str, Any]) -> str:
    """Return the tables and the bars, for the documents."""
    machine = context["machine"]
    lines = [f"{machine['processor']}, {machine['cores']} cores, {context['when']}, {context['commit']}", ""]
    for keys in outcome.keys:
        lines += [f"{keys:,} keys:", "", as_markdown(table(outcome, keys)), ""]
    lines += [f"- {each.verdict}: {each.text}" for each in verdicts(outcome)]
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
    for keys, colour in zip(outcome.keys, cycle(OUR_COLOURS), strict=False):
        counts = [count for count in outcome.counts(keys) if outcome.of(keys, count, row.name)]
        found = [outcome.estimate(keys, count, row.name) for count in counts]
        values = [each.value for each in found]
        spread = [[each.value - each.low for each in found], [each.high - each.value for each in found]]
        label = f"{keys:,} keys"
        axes.errorbar(counts, values, yerr=spread, fmt="o-", color=colour, markersize=5, capsize=3, label=label)
    axes.set_xscale("log", base=2)
    counts = sorted({cell.shards for cell in outcome.samples})
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_ylim(bottom=0)
    axes.grid(color="#eee")
    axes.set_title(f"{_label(row)}: {'higher' if row.higher else 'lower'} is better", fontsize=9)
    if row.name == PANELS[0]:
        axes.set_xlabel("shards", fontsize=8)
        axes.legend(fontsize=8)
    if any(bar.row == row.name and not bar.of_one for bar in BARS):
        axes.axhline(next(bar.limit for bar in BARS if bar.row == row.name), color="#888", linestyle=":")


def _label(row: Row) -> str:
    return f"{row.title}, {row.unit}" if row.unit else row.title
