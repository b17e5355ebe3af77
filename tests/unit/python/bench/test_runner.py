"""The plan interleaves, the child does every operation, the report says what was measured."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from kvarts.bench import plot
from kvarts.bench.child import repeat_once
from kvarts.bench.peers import BY_NAME, OURS, Peer
from kvarts.bench.report import bars, document, history_line, judge, markdown, ratio_table, time_table
from kvarts.bench.runner import Outcome, Plan, RepetitionFailedError, run
from kvarts.bench.statistics import Estimate
from kvarts.bench.workloads import OPERATIONS, Counts, Data

TINY = Counts(rows=2_000, puts=200, syncs=2, gets=400, ranges=10)
BUILT_IN = ("kvarts", "sqlite3", "dict")


def plan(**options: object) -> Plan:
    peers = tuple(BY_NAME[name] for name in BUILT_IN)
    return Plan(counts=TINY, repetitions=1, value_bytes=(100,), peers=peers, **options)  # type: ignore[arg-type]


def test_plan_runs_each_peer_once_a_round_in_changing_order() -> None:
    tasks = Plan(counts=TINY, repetitions=6, value_bytes=(100,), peers=plan().peers, seed=3).tasks()
    rounds = [tuple(task["peer"] for task in tasks[first : first + 3]) for first in range(0, len(tasks), 3)]
    assert all(Counter(order) == Counter(BUILT_IN) for order in rounds)
    assert len(set(rounds)) > 1
    assert tasks == Plan(counts=TINY, repetitions=6, value_bytes=(100,), peers=plan().peers, seed=3).tasks()


def test_every_peer_of_a_round_gets_the_same_data() -> None:
    assert len({task["seed"] for task in plan().tasks()}) == 1
    assert Data.make(10, 100, 7).pairs == Data.make(10, 100, 7).pairs != Data.make(10, 100, 8).pairs


@pytest.mark.parametrize("name", [peer for peer in BY_NAME if peer != "kvarts"])
def test_peer_does_what_it_says(name: str, tmp_path: Path) -> None:
    peer = BY_NAME[name]
    if not peer.is_installed:
        pytest.skip(f"{name} is not installed")
    task = {"peer": name, "value_bytes": 100, "seed": 1, "folder": str(tmp_path), "counts": asdict(TINY)}
    done = repeat_once(task)["unit_ns"]
    missing = {operation.name for operation in OPERATIONS} - done.keys()
    assert missing <= {"dict": {"put_fsync", "range"}, "dbm.gnu": {"scan", "range"}}.get(name, set())
    assert all(value > 0 for value in done.values())


def test_missing_peer_is_named_and_left_out() -> None:
    absent = Peer("absent", "no_such_module_here", "absent", BY_NAME["dict"].open)
    found = Plan(peers=(absent, BY_NAME["dict"]))
    assert [peer.name for peer in found.missing] == ["absent"]
    assert {task["peer"] for task in found.tasks()} == {"dict"}


def test_failing_child_is_named(tmp_path: Path) -> None:
    broken = Plan(counts=Counts(rows=0), repetitions=1, value_bytes=(100,), peers=(BY_NAME["sqlite3"],))
    with pytest.raises(RepetitionFailedError, match="sqlite3 ended with 1"):
        run(broken, tmp_path, lambda *_: None)


def test_run_measures_ours_beside_the_others(tmp_path: Path) -> None:
    seen: list[str] = []
    outcome = run(plan(), tmp_path, lambda done, total, what: seen.append(f"{done}/{total}"))
    assert seen == ["0/3", "1/3", "2/3", "3/3"]
    assert list(tmp_path.iterdir()) == []
    assert set(outcome.samples[100]["get_hot"]) == set(BUILT_IN)
    assert {peer for _, _, peer, _ in bars(outcome)} == {"sqlite3"}


def canned() -> Outcome:
    outcome = Outcome()
    for name, unit_ns in ((OURS.name, 1000.0), ("lmdb", 2000.0), ("dict", 100.0)):
        task = {"peer": name, "value_bytes": 100}
        outcome.add(task, {"unit_ns": {"get_hot": unit_ns, "load": unit_ns}, "disk_bytes": 5_000_000})
    return outcome


def test_tables_put_ours_first_and_ratios_below_one_where_we_are_faster() -> None:
    header, _, hot, disk = time_table(canned(), 100)
    assert header == ("µs, 100 B values", "kvarts", "lmdb", "dict")
    assert hot == ("get, in memory", "1.00", "2.00", "0.10")
    assert disk[1:] == ("5.0", "5.0", "5.0")
    assert ratio_table(canned(), 100)[2] == ("get, in memory", "0.50 [0.50, 0.50]", "10.00 [10.00, 10.00]")


def test_document_and_history_hold_the_figures() -> None:
    context = {"when": "2025-01-01", "commit": "abc", "machine": {}, "versions": {}}
    whole = document(plan(), canned(), context)
    hot = whole["sizes"]["100"]["operations"]["get_hot"]
    assert hot["ratio_ours_to"]["lmdb"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert hot["samples_ns"]["lmdb"] == [2000.0]
    assert history_line(whole)["median_ns"]["100"]["get_hot"] == {"kvarts": 1000.0, "lmdb": 2000.0, "dict": 100.0}


def test_bars_compare_with_the_peers_asked_for() -> None:
    found = {(bar.operation, peer): ratio.value <= bar.ratio_max for bar, _, peer, ratio in bars(canned())}
    assert found == {("load", "lmdb"): True, ("get_hot", "lmdb"): True}


@pytest.mark.parametrize(("low", "high", "verdict"), [(0.5, 1.0, "holds"), (0.9, 1.1, "unclear"), (1.1, 2.0, "missed")])
def test_bar_is_judged_by_the_whole_interval(low: float, high: float, verdict: str) -> None:
    assert judge(Estimate(1.0, low, high), 1.0) == verdict


def test_plot_is_drawn_where_matplotlib_is(tmp_path: Path) -> None:
    if not plot.is_possible():
        pytest.skip("matplotlib is not installed")
    assert [path.name for path in plot.draw(canned(), "title", tmp_path)] == ["embedded.png", "embedded.svg"]
    assert (tmp_path / "embedded.png").read_bytes().startswith(b"\x89PNG")


def test_markdown_has_a_row_per_operation_with_ratios_in_brackets() -> None:
    context = {"when": "2025-01-01", "commit": "abc", "machine": {"processor": "X", "cores": 2}}
    page = markdown(canned(), context).splitlines()
    assert page[0] == "X, 2 cores, 2025-01-01, abc"
    assert "| get, in memory | 1.00 | 2.00 (0.50) | 0.10 (10.00) |" in page
    assert page[-1] == "| MB on disk | 5.0 | 5.0 | 5.0 |"
