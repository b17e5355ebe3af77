"""Bars are judged by the whole interval; tables, JSON and history hold what was measured."""

from pathlib import Path

import pytest

from kvarts.bench import plot
from kvarts.bench.board import BEST, NOT_MEASURED, Bar, Outcome, Row, judge, shown, verdicts
from kvarts.bench.peers import BY_NAME, OURS
from kvarts.bench.report import Table, document, figure_table, history_line, markdown, ratio_table
from kvarts.bench.runner import Bench, Plan
from kvarts.bench.statistics import Estimate

ROWS = (Row("get", "get"), Row("scan", "scan", "rows/s", higher=True))
BARS = (
    Bar(row="get", peer="lmdb", limit=0.75, stretch=0.5),
    Bar(row="get", peer=BEST, limit=0.4),
    Bar(row="get", limit=0.6),
    Bar(row="get", stretch=0.4),
    Bar(row="scan", peer=BEST, limit=1.2),
    Bar(row="scan", peer="rocksdict", peer_row="get", setting="100 B", limit=2.0),
    Bar(row="scan", peer="plyvel", limit=1.0),
    Bar(row="scan", setting="1000 B", limit=1.0),
)
BENCH = Bench(name="canned", module="none", rows=ROWS, counts={"rows": 10}, settings=("100 B",), bars=BARS)
PLAN = Plan(bench=BENCH, counts=BENCH.counts, repetitions=1, peers=(BY_NAME["dict"],))
CONTEXT = {"when": "2025-01-01", "commit": "abc", "machine": {"processor": "X", "cores": 2}, "versions": {}}


def canned() -> Outcome:
    outcome = Outcome()
    figures = {OURS.name: (0.5, 3e6), "lmdb": (1.0, 1e6), "rocksdict": (2.0, 2e6), "dict": (0.1, 9e6)}
    for name, (get, scan) in figures.items():
        outcome.add({"setting": "100 B", "peer": name}, {"get": {name: get}, "scan": {name: scan}})
    return outcome


def test_bars_compare_with_a_peer_with_the_best_or_with_a_figure() -> None:
    found = [(v.bar.row, v.peer, v.found and v.found.value, v.verdict) for v in verdicts(BARS, ROWS, canned())]
    assert found == [
        ("get", "lmdb", 0.5, "stretch"),
        ("get", "lmdb", 0.5, "missed"),
        ("get", None, 0.5, "holds"),
        ("get", None, 0.5, "no stretch"),
        ("scan", "rocksdict", 1.5, "holds"),
        ("scan", "rocksdict", 1.5e6, "holds"),
        ("scan", "plyvel", None, NOT_MEASURED),
        ("scan", None, None, NOT_MEASURED),
    ]


def test_verdict_says_what_was_found_and_what_was_asked() -> None:
    lines = [str(verdict) for verdict in verdicts(BARS, ROWS, canned())]
    assert lines[0] == "stretch: get at 100 B: 0.50 [0.50, 0.50] of lmdb's, asked: at most 0.75 (stretch 0.5)"
    assert lines[2] == "holds: get at 100 B: 0.5 [0.5, 0.5] µs, asked: at most 0.6"
    assert lines[3] == "no stretch: get at 100 B: 0.5 [0.5, 0.5] µs, hoped for: at most 0.4"
    assert lines[4] == "holds: scan at 100 B: 1.50 [1.50, 1.50] of rocksdict's, asked: at least 1.2"
    assert lines[6] == "not measured: scan at 100 B, asked: at least 1 of plyvel's"


@pytest.mark.parametrize(
    ("low", "high", "higher", "verdict"),
    [
        (0.5, 1.0, False, "holds"),
        (0.1, 0.2, False, "stretch"),
        (0.9, 1.1, False, "touched"),
        (1.1, 2.0, False, "missed"),
        (1.0, 1.5, True, "holds"),
        (3.0, 4.0, True, "stretch"),
        (0.9, 1.1, True, "touched"),
        (0.5, 0.9, True, "missed"),
    ],
)
def test_bar_is_judged_by_the_whole_interval(low: float, high: float, higher: bool, verdict: str) -> None:
    found = Estimate((low + high) / 2, low, high)
    assert judge(found, 1.0, higher=higher, stretch=2.0 if higher else 0.25) == verdict


def test_tables_put_ours_first_and_say_which_way_is_better() -> None:
    assert figure_table(PLAN, canned(), "100 B") == [
        ("100 B", "kvarts", "rocksdict", "lmdb", "dict"),
        ("get, µs", "0.5", "2.00", "1.00", "0.1"),
        ("scan, rows/s", "3.00 M", "2.00 M", "1.00 M", "9.00 M"),
    ]
    assert ratio_table(PLAN, canned(), "100 B")[2] == (
        "scan (more is better)",
        "1.50 [1.50, 1.50]",
        "3.00 [3.00, 3.00]",
        "0.33 [0.33, 0.33]",
    )


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (4.5678, "4.57"), (45.678, "45.7"), (4567.8, "4,568"), (4.5e6, "4.50 M")]
)
def test_figures_are_shown_in_three_digits_or_so(value: float, text: str) -> None:
    assert shown(value) == text


def test_document_and_history_hold_the_figures_and_the_bars() -> None:
    whole = document(PLAN, canned(), CONTEXT)
    cell = whole["settings"]["100 B"]["get"]
    assert cell["ratio_ours_to"]["lmdb"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert cell["samples"]["lmdb"] == [1.0]
    assert (cell["unit"], cell["higher_is_better"]) == ("µs", False)
    assert whole["bars"][0]["found"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    line = history_line(whole)
    assert line["median"]["100 B"]["get"] == {"kvarts": 0.5, "lmdb": 1.0, "rocksdict": 2.0, "dict": 0.1}
    assert line["bars"][0] == {"row": "get", "setting": "100 B", "peer": "lmdb", "verdict": "stretch", "found": 0.5}


def test_markdown_has_a_row_per_figure_with_ratios_in_brackets_and_the_bars() -> None:
    page = markdown(PLAN, canned(), CONTEXT).splitlines()
    assert page[0] == "X, 2 cores, 2025-01-01, abc"
    assert "| get, µs | 0.5 | 2.00 (0.25) | 1.00 (0.50) | 0.1 (5.00) |" in page
    assert sum(line.startswith("- ") for line in page) == len(BARS)


def test_plot_is_drawn_where_matplotlib_is(tmp_path: Path) -> None:
    if not plot.is_possible():
        pytest.skip("matplotlib is not installed")
    assert [path.name for path in plot.draw(PLAN, canned(), "title", tmp_path)] == ["canned.png", "canned.svg"]
    assert (tmp_path / "canned.png").read_bytes().startswith(b"\x89PNG")


def test_stages_are_drawn_where_matplotlib_is(tmp_path: Path) -> None:
    if not plot.is_possible():
        pytest.skip("matplotlib is not installed")
    table: Table = [
        ("stage", "µs", "%"),
        ("get", "3", "100"),
        ("  call", "1", "33"),
        ("  rest", "2", "67"),
        ("  none", "-1", "0"),
    ]
    assert [path.name for path in plot.draw_stages({"100 B": table}, "title", tmp_path)] == [
        "profile.png",
        "profile.svg",
    ]
    drawn = (tmp_path / "profile.svg").read_text()
    assert "<!-- rest -->" in drawn
    assert "<!-- none -->" not in drawn
