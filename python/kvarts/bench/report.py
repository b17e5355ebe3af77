"""The figures of a bench as one JSON object, as a line of history and as tables."""

from dataclasses import asdict
from typing import Any

from kvarts.bench.board import Outcome, Row, is_ours, shown, verdicts
from kvarts.bench.peers import OURS
from kvarts.bench.runner import Plan
from kvarts.bench.statistics import median, median_estimate, ratio_estimate

Table = list[tuple[str, ...]]


def document(plan: Plan, outcome: Outcome, context: dict[str, Any]) -> dict[str, Any]:
    """Return everything: `context` (machine, versions, commit, when), options, all samples, medians, ratios, bars."""
    bench = plan.bench
    return {
        "kind": bench.name,
        **context,
        "options": {"repetitions": plan.repetitions, "seed": plan.seed, **plan.counts},
        "missing": [peer.name for peer in plan.missing],
        "skipped": list(bench.lacks()),
        "notes": {peer.name: peer.note for peer in plan.runnable if peer.note},
        "settings": {
            setting: {row.name: _cell(row, rows[row.name]) for row in bench.rows if row.name in rows}
            for setting, rows in outcome.samples.items()
        },
        "bars": [
            {
                "row": found.row.name,
                "setting": found.setting,
                "peer": found.peer,
                "limit": found.bar.limit,
                "stretch": found.bar.stretch,
                "found": found.found and asdict(found.found),
                "verdict": found.verdict,
            }
            for found in verdicts(bench.bars, bench.rows, outcome)
        ],
    }


def _cell(row: Row, by_peer: dict[str, list[float]]) -> dict[str, Any]:
    ours = by_peer.get(OURS.name)
    return {
        "unit": row.unit,
        "higher_is_better": row.higher,
        "samples": by_peer,
        "median": {peer: asdict(median_estimate(samples)) for peer, samples in by_peer.items()},
        "ratio_ours_to": {
            peer: asdict(ratio_estimate(ours, samples))
            for peer, samples in by_peer.items()
            if ours and peer != OURS.name and median(samples)
        },
    }


def history_line(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the short form that is kept per run: medians and verdicts only."""
    medians = {
        setting: {
            row: {peer: _rounded(found["value"]) for peer, found in cell["median"].items()}
            for row, cell in rows.items()
        }
        for setting, rows in whole["settings"].items()
    }
    bars = [
        {"row": bar["row"], "setting": bar["setting"], "peer": bar["peer"], "verdict": bar["verdict"]}
        | {"found": bar["found"] and _rounded(bar["found"]["value"])}
        for bar in whole["bars"]
    ]
    kept = {name: whole[name] for name in ("kind", "when", "commit", "machine", "versions", "options")}
    return kept | {"median": medians, "bars": bars}


def figure_table(plan: Plan, outcome: Outcome, setting: str) -> Table:
    """Return medians: a row per figure, a column per peer, ours first."""
    names = outcome.peers(setting)
    rows: Table = [(setting or plan.bench.name, *names)]
    for row in plan.bench.rows:
        cells = [outcome.of(setting, row.name, name) for name in names]
        if any(cells):
            rows.append((_label(row), *(shown(median(cell)) if cell else "–" for cell in cells)))
    return rows


def ratio_table(plan: Plan, outcome: Outcome, setting: str) -> Table:
    """Return our figure over each peer's, with 95 % intervals."""
    names = [name for name in outcome.peers(setting) if name != OURS.name]
    rows: Table = [(f"ours / theirs, {setting}", *names)]
    for row in plan.bench.rows:
        ours = outcome.of(setting, row.name, OURS.name)
        cells = [outcome.of(setting, row.name, name) for name in names]
        if row.compared and ours and any(cells):
            better = "more" if row.higher else "less"
            ratios = (str(ratio_estimate(ours, cell)) if cell and median(cell) else "–" for cell in cells)
            rows.append((f"{row.title} ({better} is better)", *ratios))
    return rows if names and len(rows) > 1 else []


def markdown(plan: Plan, outcome: Outcome, context: dict[str, Any]) -> str:
    """Return the tables and the verdicts for the documents; in brackets our figure over the peer's."""
    machine = context["machine"]
    lines = [f"{machine['processor']}, {machine['cores']} cores, {context['when']}, {context['commit']}"]
    for setting in outcome.samples:
        header, *rows = figure_table(plan, outcome, setting)
        table = [header]
        measured = [row for row in plan.bench.rows if row.name in outcome.samples[setting]]
        for row, (title, *cells) in zip(measured, rows, strict=True):
            pairs = zip(header[1:], cells, strict=True)
            texts = [_with_ratio(outcome, setting, row, name, cell) for name, cell in pairs]
            table.append((title, *texts))
        lines += ["", as_markdown(table)]
    bars = [f"- {found}" for found in verdicts(plan.bench.bars, plan.bench.rows, outcome)]
    return "\n".join([*lines, *(["", *bars] if bars else [])]) + "\n"


def as_markdown(table: Table) -> str:
    """Return a table for the documents."""
    lines = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([lines[0], "|---" * len(table[0]) + "|", *lines[1:]])


def _with_ratio(outcome: Outcome, setting: str, row: Row, name: str, cell: str) -> str:
    ours, theirs = outcome.of(setting, row.name, OURS.name), outcome.of(setting, row.name, name)
    if not row.compared or is_ours(name) or not ours or not theirs or not median(theirs):
        return cell
    return f"{cell} ({median(ours) / median(theirs):.2f})"


def _label(row: Row) -> str:
    return f"{row.title}, {row.unit}" if row.unit else row.title


def _rounded(value: float) -> float:
    return float(format(value, ".5g"))
