"""The bench of many shards: the plan, the report, and a real run of each step on three nodes."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from kvarts.bench.cluster import shards, shards_report
from kvarts.bench.cluster.servers import process_memory_bytes
from kvarts.bench.cluster.shards import Outcome, Plan
from kvarts.bench.cluster.workloads import Load
from kvarts.bench.plot import is_possible

CONTEXT = {"when": "2025-01-01", "commit": "abc", "machine": {"processor": "X", "cores": 2}, "versions": {}}


def canned() -> Outcome:
    outcome = Outcome()
    for count, rate, idle in ((1, 10_000.0, 0.04), (8, 9_000.0, 0.05), (64, 5_000.0, 0.2)):
        outcome.add({"shards": count, "load": {"rows": 1000}}, {"put_rate": rate, "idle_cores": idle})
    return outcome


def test_plan_runs_each_number_of_shards_once_a_round_in_changing_order() -> None:
    plan = Plan(counts=(1, 8, 64), repetitions=6, seed=3)
    tasks = plan.tasks()
    rounds = [tuple(task["shards"] for task in tasks[first : first + 3]) for first in range(0, len(tasks), 3)]
    assert all(Counter(order) == Counter((1, 8, 64)) for order in rounds)
    assert len(set(rounds)) > 1
    assert tasks == plan.tasks()


def test_every_number_of_keys_meets_every_number_of_shards_and_many_keys_once() -> None:
    tasks = Plan(counts=(1, 8), keys=(1000, 1_000_000, 1_000_001), repetitions=3).tasks()
    cells = Counter((task["load"]["rows"], task["shards"]) for task in tasks)
    assert cells == {
        (keys, count): times for keys, times in ((1000, 3), (1_000_000, 3), (1_000_001, 1)) for count in (1, 8)
    }


def test_rates_are_judged_by_those_of_one_shard_and_rest_by_itself() -> None:
    found = {(each.bar.row, each.bar.shards): each for each in shards.verdicts(canned())}
    assert {name: each.verdict for name, each in found.items()} == {
        ("put_rate", 8): "holds",
        ("idle_cores", 64): "missed",
    }
    assert found["put_rate", 8].text.endswith("0.90 [0.90, 0.90] of one shard's, asked: at least 0.8")
    assert found["idle_cores", 64].text.endswith("0.20 [0.20, 0.20] cores, asked: at most 0.1 (stretch 0.03)")


def test_without_one_shard_no_rate_is_judged() -> None:
    outcome = canned()
    del outcome.samples[shards.Cell(1000, 1)]
    assert [each.bar.row for each in shards.verdicts(outcome)] == ["idle_cores"]


def test_numbers_of_keys_are_judged_each_by_itself() -> None:
    outcome = canned()
    for count, rate in ((1, 8000.0), (8, 4000.0)):
        outcome.add({"shards": count, "load": {"rows": 2000}}, {"put_rate": rate})
    found = {(each.keys, each.bar.row): each.verdict for each in shards.verdicts(outcome)}
    assert found == {(1000, "put_rate"): "holds", (1000, "idle_cores"): "missed", (2000, "put_rate"): "missed"}


def test_report_has_every_figure_that_was_measured() -> None:
    page = shards_report.markdown(canned(), CONTEXT).splitlines()
    assert page[0] == "X, 2 cores, 2025-01-01, abc"
    assert "| put, 64 in flight, puts/s | 10,000 | 9,000 | 5,000 |" in page
    whole = json.loads(json.dumps(shards_report.document(Plan(), canned(), CONTEXT)))
    assert whole["keys"]["1000"]["8"]["put_rate"]["median"]["value"] == 9000
    assert shards_report.history_line(whole)["median"]["1000"]["64"] == {"put_rate": 5000, "idle_cores": 0.2}


def test_plot_is_drawn_where_matplotlib_is(tmp_path: Path) -> None:
    if not is_possible():
        pytest.skip("matplotlib is not installed")
    assert [path.name for path in shards_report.draw(canned(), "title", tmp_path)] == ["shards.png", "shards.svg"]
    assert (tmp_path / "shards.png").read_bytes().startswith(b"\x89PNG")


def test_memory_of_a_process_is_what_it_holds() -> None:
    before = process_memory_bytes(os.getpid())
    held = bytearray(b"x") * (64 << 20)
    assert process_memory_bytes(os.getpid()) - before > len(held) // 2
    assert process_memory_bytes(2**22 + 1) == 0


def test_every_row_is_measured_on_three_nodes(tmp_path: Path) -> None:
    load = Load(seconds=0.2, warm_seconds=0.05)
    (task,) = Plan(counts=(4,), keys=(200,), load=load, idle_seconds=0.5, repetitions=1).tasks()
    folder = tmp_path / "run"
    folder.mkdir()
    found = shards.repeat_once(task | {"folder": str(folder)})
    assert list(found) == [row for row in found if row in shards.BY_NAME]
    assert set(found) == set(shards.BY_NAME)
    assert min(found.values()) > 0
