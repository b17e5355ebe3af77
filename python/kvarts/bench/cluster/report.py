"""The figures as one JSON object and as tables; the bars that we must clear."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from kvarts.bench import board
from kvarts.bench.cluster.peers import ETCD, OURS, OURS_ALONE, REDIS
from kvarts.bench.cluster.runner import Outcome, Plan
from kvarts.bench.cluster.workloads import BY_NAME, FIGURES, START, WORKLOADS, Workload
from kvarts.bench.statistics import Estimate, median, median_estimate, ratio_estimate

START_S_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Bar:
    """What is asked of a workload: our figure over the peer's, at least that of a rate, at most that of a time."""

    workload: str
    ours: str
    peer: str
    ratio: float
    stretch: float | None = None


BARS = (
    Bar("put_1", OURS.name, ETCD.name, 1.0, 0.5),
    Bar("put_64", OURS.name, ETCD.name, 3.0, 5.0),
    Bar("put_256", OURS.name, ETCD.name, 3.0, 5.0),
    Bar("unary_64", OURS.name, ETCD.name, 1.5, 2.0),
    Bar("many_1", OURS.name, ETCD.name, 4.0),
    Bar("many_16", OURS.name, ETCD.name, 4.0),
    Bar("get_1", OURS.name, ETCD.name, 0.5, 0.2),
    Bar("get_64", OURS.name, ETCD.name, 3.0, 6.0),
    Bar("get_sync", OURS_ALONE.name, REDIS.name, 1.2),
)


def document(plan: Plan, outcome: Outcome, context: dict[str, Any]) -> dict[str, Any]:
    """Return everything: plan, machine, versions, every sample, medians, the bars with their ratios."""
    return {
        **context,
        "load": asdict(plan.load),
        "missing": [peer.name for peer in plan.missing],
        "samples": outcome.as_dict(),
        "medians": _medians(outcome),
        "bars": [
            asdict(bar) | {"value_bytes": size, "measured": asdict(found), "verdict": judge(bar, found)}
            for bar, size, found in bars(outcome)
        ],
        "start_s": {peer: asdict(found) for peer, found in starts(outcome)},
    }


def figure_table(outcome: Outcome, size: int, figure: str) -> list[tuple[str, ...]]:
    """Return the medians of one figure: a row per workload, a column per peer."""
    names = outcome.peers(size)
    rows: list[tuple[str, ...]] = [(f"{FIGURES[figure]}, {size} B values", *names)]
    for workload in WORKLOADS:
        cells = [outcome.of(size, workload.name, name, figure) for name in names]
        if any(cells):
            rows.append((workload.title, *(_shown(median(cell)) if cell else "–" for cell in cells)))
    return rows


def bars(outcome: Outcome) -> Iterator[tuple[Bar, int, Estimate]]:
    """Yield each bar with value size and the ratio measured."""
    for size in outcome.samples:
        for bar in BARS:
            figure = BY_NAME[bar.workload].figure
            ours = outcome.of(size, bar.workload, bar.ours, figure)
            theirs = outcome.of(size, bar.workload, bar.peer, figure)
            if ours and theirs:
                yield bar, size, ratio_estimate(ours, theirs)


def starts(outcome: Outcome) -> Iterator[tuple[str, Estimate]]:
    """Yield for each peer the seconds from nothing to a put served; the size of values does not matter here."""
    for name in {name: None for size in outcome.samples for name in outcome.peers(size)}:
        samples = [value for size in outcome.samples for value in outcome.of(size, START.name, name, START.figure)]
        yield name, median_estimate(samples)


def judge(bar: Bar, found: Estimate) -> str:
    """Return "stretch", "holds" or "missed" where the whole interval says so, else "touched"."""
    return board.judge(found, bar.ratio, higher=not _is_time(BY_NAME[bar.workload]), stretch=bar.stretch)


def bar_line(bar: Bar, size: int, found: Estimate) -> str:
    """Return what a bar asks and what was measured, for people."""
    workload = BY_NAME[bar.workload]
    what, side = ("time", "at most") if _is_time(workload) else ("rate", "at least")
    stretch = "" if bar.stretch is None else f" (stretch {bar.stretch:g})"
    return f"{workload.title} at {size} B: {found} of {bar.peer}'s {what}, asked: {side} {bar.ratio:g}{stretch}"


def markdown(outcome: Outcome, context: dict[str, Any]) -> str:
    """Return the tables of all figures and the bars, for the documents."""
    machine = context["machine"]
    lines = [f"{machine['processor']}, {machine['cores']} cores, {context['when']}, {context['commit']}"]
    lines += [", ".join(f"{name} {version}" for name, version in context["versions"].items())]
    for size in outcome.samples:
        for figure in FIGURES:
            lines += ["", *_as_markdown(figure_table(outcome, size, figure))]
    lines += ["", *(f"- {judge(bar, found)}: {bar_line(bar, size, found)}" for bar, size, found in bars(outcome))]
    lines += [f"- {START.title}, s: {name} {found}" for name, found in starts(outcome)]
    return "\n".join(lines) + "\n"


def _is_time(workload: Workload) -> bool:
    return workload.figure != "rate"


def _medians(outcome: Outcome) -> dict[str, Any]:
    return {
        str(size): {
            workload: {
                peer: {name: median([each[name] for each in samples]) for name in samples[0]}
                for peer, samples in by_peer.items()
            }
            for workload, by_peer in workloads.items()
        }
        for size, workloads in outcome.samples.items()
    }


def _as_markdown(table: list[tuple[str, ...]]) -> list[str]:
    header, *rows = (f"| {' | '.join(row)} |" for row in table)
    return [header, "|---" * len(table[0]) + "|", *rows]


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
