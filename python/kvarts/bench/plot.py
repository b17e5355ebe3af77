"""The figures as a picture: a panel per row of figures, a line per peer. Needs matplotlib, which is optional."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kvarts.bench.board import Outcome, Row, is_ours
from kvarts.bench.founding import Measured
from kvarts.bench.report import Table
from kvarts.bench.runner import Plan
from kvarts.bench.statistics import median, median_estimate

COLOURS = ("#2f6f8f", "#9fb8c4", "#c9a14a")
OUR_COLOURS = ("#c2410c", "#f0a37a", "#7c2d12")
COLUMNS = 4
LOG_SPAN_MIN = 4
"""Axes are logarithmic where the largest median is so many times the smallest."""
LOG_SPAN_WIDE = 50
"""Above this only powers of ten are labelled."""


def is_possible() -> bool:
    """Tell whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def draw(plan: Plan, outcome: Outcome, title: str, folder: Path) -> list[Path]:
    """Write a PNG and an SVG named after the bench into a folder and return their paths."""
    measured = {name for rows in outcome.samples.values() for name in rows}
    rows = [row for row in plan.bench.rows if row.name in measured]
    columns = min(COLUMNS, len(rows))
    panels = -(-len(rows) // columns)
    peers = max(len(outcome.peers(setting)) for setting in outcome.samples)
    figure = _figure(4 * columns, (1.6 + 0.36 * peers) * panels + 0.6)
    for place, row in enumerate(rows, start=1):
        axes = figure.add_subplot(panels, columns, place)
        _draw_panel(axes, outcome, row)
        unit = f"{row.unit}, " if row.unit else ""
        axes.set_title(f"{row.title}\n{unit}{'higher' if row.higher else 'lower'} is better", fontsize=9)
    named = [setting for setting in outcome.samples if setting]
    legend = f"\nmedians and their 95 % intervals; from dark to light: {', '.join(named)}" if len(named) > 1 else ""
    figure.suptitle(f"{title}{legend}", fontsize=10)
    return _save(figure, folder, plan.bench.name)


def draw_founding(get: Measured, floor: Measured, title: str, folder: Path) -> list[Path]:
    """Write founding.png and founding.svg: the regression, and how times per get are spread."""
    figure = _figure(11, 4.2)
    line, spread = figure.subplots(1, 2)
    for measured, name, colour in ((get, "get", OUR_COLOURS[0]), (floor, "floor: a read of one block", COLOURS[0])):
        counts = [count for count, _ in measured.points]
        line.scatter(counts, [time / 1e6 for _, time in measured.points], s=9, color=colour, label=name)
        ends = [0, max(counts)]
        line.plot(ends, [end * measured.summary.slope.value / 1e6 for end in ends], color=colour, linewidth=1)
        times = [time / count / 1e3 for count, time in measured.points]
        spread.hist(times, bins=30, color=colour, alpha=0.6)
        spread.axvline(measured.summary.mean.value / 1e3, color=colour, linewidth=1)
    line.set_xlabel("iterations")
    line.set_ylabel("ms")
    line.legend(fontsize=8)
    spread.set_xlabel("µs per iteration; the lines are means")
    spread.set_ylabel("samples")
    figure.suptitle(title, fontsize=10)
    return _save(figure, folder, "founding")


def draw_stages(staged: dict[str, Table], title: str, folder: Path) -> list[Path]:
    """Write profile.png and profile.svg: a bar per operation, of its stages; one below 0 is noise, and left out."""
    titles = list(dict.fromkeys(row[0] for table in staged.values() for row in table if row[0].startswith(" ")))
    palette = import_module("matplotlib").colormaps["tab20"]
    figure = _figure(12, 2.6 * len(staged) + 1.8)
    for place, (setting, table) in enumerate(staged.items(), start=1):
        axes = figure.add_subplot(len(staged), 1, place)
        names: list[str] = []
        left = 0.0
        for name, amount, _ in table[1:]:
            if not name.startswith(" "):
                names.append(f"{name} ({amount} µs)")
                left = 0.0
            elif (width := float(amount)) > 0:
                colour = palette(titles.index(name) % 20)
                axes.barh(len(names) - 1, width, left=left, color=colour, label=name.strip())
                left += width
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel(f"µs, {setting}", fontsize=8)
    pairs = [pair for axes in figure.axes for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in pairs}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return _save(figure, folder, "profile")


def _figure(width: float, height: float) -> Any:
    # By name: matplotlib is optional, so the type checker may not find it.
    return import_module("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, folder: Path, name: str) -> list[Path]:
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    for path in paths:
        figure.savefig(path, dpi=110)
    return paths


def _draw_panel(axes: Any, outcome: Outcome, row: Row) -> None:
    settings = [setting for setting in outcome.samples if row.name in outcome.samples[setting]]
    names = [name for name in outcome.peers(settings[0]) if any(outcome.of(s, row.name, name) for s in settings)]
    medians = []
    for number, setting in enumerate(settings):
        for line, name in enumerate(names):
            if samples := outcome.of(setting, row.name, name):
                medians.append(median(samples))
                place = line + (number - (len(settings) - 1) / 2) * 0.8 / len(settings)
                draw_points(axes, samples, place, (OUR_COLOURS if is_ours(name) else COLOURS)[number % 3])
    finish_axes(axes, names, logarithmic=min(medians) > 0 and max(medians) > LOG_SPAN_MIN * min(medians))


def draw_points(axes: Any, samples: list[float], place: float, colour: str) -> None:
    """Draw the median of some samples with its interval in the row `place`."""
    found = median_estimate(samples)
    spread = [[found.value - found.low], [found.high - found.value]]
    # Points, not bars: on a logarithmic axis the length of a bar means nothing.
    axes.errorbar(found.value, place, xerr=spread, fmt="o", color=colour, markersize=6, capsize=3)
    axes.text(found.high, place, f"   {_short(found.value)}", va="center", fontsize=8)


def finish_axes(axes: Any, names: list[str], *, logarithmic: bool = True) -> None:
    """Set up the axes of a panel with a row per name."""
    low, high = axes.dataLim.x0, axes.dataLim.x1
    if logarithmic:
        span = max(high / low, LOG_SPAN_MIN)
        axes.set_xscale("log")
        axes.set_xlim(low / span**0.08, high * span**0.35)
        steps = (1, 2, 5) if span < LOG_SPAN_WIDE else (1,)
        axes.xaxis.set_major_locator(import_module("matplotlib.ticker").LogLocator(subs=steps))
        axes.xaxis.set_minor_formatter("")
    else:
        axes.set_xlim(0, 1.35 * high)
        axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))
    axes.tick_params(axis="x", labelsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color="#eee")
    axes.set_axisbelow(True)


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.3g} M"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
