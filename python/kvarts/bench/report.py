"""The figures as one JSON object and as tables; the bars that we must clear."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from kvarts.bench.peers import OURS
from kvarts.bench.runner import Outcome, Plan, others
from kvarts.bench.statistics import Estimate, median, median_estimate, ratio_estimate
from kvarts.bench.workloads import OPERATIONS

PERSISTENT = ("plyvel", "rocksdict", "lmdb", "sqlite3", "dbm.gnu")


@dataclass(frozen=True, slots=True)
class Bar:
    """What issue and design ask for: our time is at most `ratio_max` times that of each of `peers`."""

    operation: str
    peers: tuple[str, ...]
    ratio_max: float


BARS = (
    Bar("load", PERSISTENT, 1.0),
    Bar("put", PERSISTENT, 1.0),
    Bar("get_hot", ("lmdb",), 1.5),
    Bar("scan", ("rocksdict",), 1.0),
)


def document(plan: Plan, outcome: Outcome, context: dict[str, Any]) -> dict[str, Any]:
    """Return everything: `context` (machine, versions, commit, when), the options, all samples, medians and ratios."""
    return {
        "kind": "embedded",
        **context,
        "options": {"repetitions": plan.repetitions, "seed": plan.seed, **asdict(plan.counts)},
        "missing": [peer.name for peer in plan.missing],
        "notes": {peer.name: peer.note for peer in plan.runnable if peer.note},
        "sizes": {str(size): _size_document(outcome, size) for size in outcome.samples},
    }


def _size_document(outcome: Outcome, size: int) -> dict[str, Any]:
    operations = {}
    for operation, by_peer in outcome.samples[size].items():
        ours = by_peer.get(OURS.name)
        ratios = {
            peer: asdict(ratio_estimate(ours, samples))
            for peer, samples in by_peer.items()
            if ours and peer != OURS.name
        }
        medians = {peer: asdict(median_estimate(samples)) for peer, samples in by_peer.items()}
        operations[operation] = {"samples_ns": by_peer, "median_ns": medians, "ratio_ours_to": ratios}
    disk = {peer: median(samples) for peer, samples in outcome.disk_bytes[size].items()}
    return {"operations": operations, "disk_bytes": disk}


def history_line(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the short form that is kept per commit: medians only."""
    sizes = {
        size: {
            operation: {peer: round(found["value"], 1) for peer, found in figures["median_ns"].items()}
            for operation, figures in part["operations"].items()
        }
        for size, part in whole["sizes"].items()
    }
    kept = {name: whole[name] for name in ("kind", "when", "commit", "machine", "versions", "options")}
    return kept | {"median_ns": sizes}


def time_table(outcome: Outcome, size: int) -> list[tuple[str, ...]]:
    """Return medians in µs per unit: a row per operation, a column per peer, ours first."""
    names = [OURS.name, *others(outcome, size)]
    rows: list[tuple[str, ...]] = [(f"µs, {size} B values", *names)]
    for operation in OPERATIONS:
        by_peer = outcome.samples[size].get(operation.name, {})
        if by_peer:
            rows.append((operation.title, *(_microseconds(by_peer.get(name)) for name in names)))
    disk = outcome.disk_bytes[size]
    return [*rows, ("MB on disk", *(f"{median(disk[name]) / 1e6:.1f}" if disk[name][0] else "–" for name in names))]


def ratio_table(outcome: Outcome, size: int) -> list[tuple[str, ...]]:
    """Return our time over each peer's, with 95 % intervals; below 1 we are faster."""
    names = others(outcome, size)
    rows: list[tuple[str, ...]] = [(f"ours / peer, {size} B", *names)]
    for operation in OPERATIONS:
        by_peer = outcome.samples[size].get(operation.name, {})
        if ours := by_peer.get(OURS.name):
            cells = (str(ratio_estimate(ours, by_peer[name])) if name in by_peer else "–" for name in names)
            rows.append((operation.title, *cells))
    return rows


def markdown(outcome: Outcome, context: dict[str, Any]) -> str:
    """Return the medians as a table for the documents: µs per unit, in brackets our time over the peer's."""
    machine = context["machine"]
    lines = [f"{machine['processor']}, {machine['cores']} cores, {context['when']}, {context['commit']}"]
    for size in outcome.samples:
        header, *rows = time_table(outcome, size)
        ratios = {title: cells for title, *cells in ratio_table(outcome, size)}
        lines += ["", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
        for title, ours, *theirs in rows:
            against = [ratio.split(" ")[0] for ratio in ratios.get(title, ["–"] * len(theirs))]
            cells = [
                value if ratio == "–" else f"{value} ({ratio})" for value, ratio in zip(theirs, against, strict=True)
            ]
            lines.append(f"| {' | '.join([title, ours, *cells])} |")
    return "\n".join(lines) + "\n"


def bars(outcome: Outcome) -> Iterator[tuple[Bar, int, str, Estimate]]:
    """Yield each bar with value size, peer and the ratio measured."""
    for size, operations in outcome.samples.items():
        for bar in BARS:
            by_peer = operations.get(bar.operation, {})
            for peer in bar.peers:
                if peer in by_peer and OURS.name in by_peer:
                    yield bar, size, peer, ratio_estimate(by_peer[OURS.name], by_peer[peer])


def judge(ratio: Estimate, ratio_max: float) -> str:
    """Return "holds" or "missed" where the whole interval says so, else "unclear": repeat on a quieter machine."""
    if ratio.high <= ratio_max:
        return "holds"
    return "missed" if ratio.low > ratio_max else "unclear"


def _microseconds(samples: list[float] | None) -> str:
    if not samples:
        return "–"
    value = median(samples) / 1000
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
