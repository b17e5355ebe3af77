"""The bench of servers: the plan, the loops, the arithmetic, the report; a real run on each peer that is there."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from kvarts.bench.cluster import plot, report, runner
from kvarts.bench.cluster.child import repeat_once
from kvarts.bench.cluster.peers import BY_NAME, ETCD, OURS, OURS_ALONE, PEERS, REDIS, Peer
from kvarts.bench.cluster.servers import ServerFailedError, Servers, process_cpu_s, program_version
from kvarts.bench.cluster.workloads import WORKLOADS, Load, Meter, drive
from kvarts.bench.plot import is_possible
from kvarts.bench.runner import RepetitionFailedError
from kvarts.bench.statistics import Estimate

TINY = Load(seconds=0.05, warm_seconds=0.01, rows=200)
EVERYWHERE = tuple(replace(peer, programs=(), modules=()) for peer in PEERS)
"""The peers as if all were installed."""


def test_plan_runs_each_peer_once_a_round_in_changing_order() -> None:
    plan = runner.Plan(load=TINY, repetitions=6, value_bytes=(100,), peers=EVERYWHERE, seed=3)
    tasks = plan.tasks()
    rounds = [tuple(task["peer"] for task in tasks[first : first + 4]) for first in range(0, len(tasks), 4)]
    assert all(Counter(order) == Counter(list(BY_NAME)) for order in rounds)
    assert len(set(rounds)) > 1
    assert tasks == plan.tasks()


def test_peer_without_any_of_the_workloads_is_not_started() -> None:
    plan = runner.Plan(load=TINY, repetitions=1, value_bytes=(100,), peers=EVERYWHERE, workloads=("get_sync",))
    assert {task["peer"] for task in plan.tasks()} == {OURS_ALONE.name, REDIS.name}


def test_peer_whose_program_is_missing_is_named_and_left_out() -> None:
    absent = replace(ETCD, programs=("no-such-program-here",))
    plan = runner.Plan(peers=(absent, OURS))
    assert [peer.name for peer in plan.missing] == ["etcd"]
    assert {task["peer"] for task in plan.tasks()} == {"kvarts"}
    assert program_version(["no-such-program-here"]) is None


def test_ours_is_always_among_the_chosen() -> None:
    assert [peer.name for peer in runner.chosen(["redis"])] == ["kvarts", "kvarts alone", "redis"]
    with pytest.raises(KeyError):
        runner.chosen(["mongo"])


@pytest.mark.parametrize("in_flight", [1, 7])
def test_drive_keeps_that_many_calls_in_flight_and_asks_for_each_number_once(in_flight: int) -> None:
    asked: list[int] = []
    now = most = 0

    async def ask(number: int) -> None:
        nonlocal now, most
        asked.append(number)
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    waits = asyncio.run(drive(ask, in_flight, 0.02))
    assert most == in_flight
    assert len(waits) == len(asked) == len(set(asked)) > 2 * in_flight
    assert min(waits) > 0


def test_meter_counts_rows_and_shares_processor_time_among_them() -> None:
    seconds, cpu = iter([100.0, 102.0]), iter([5.0, 6.0])
    meter = Meter(lambda: next(cpu), clock=lambda: next(seconds))
    found = meter.figures([0.003, 0.001, 0.002], rows_per_call=100)
    assert found.rate == 150
    assert found.p50_us == pytest.approx(2000)
    assert found.server_us == pytest.approx(1e6 / 300)


def test_processor_time_of_a_process_is_what_the_system_says() -> None:
    before = process_cpu_s(os.getpid())
    while sum(os.times()[:2]) < before + 0.05:
        sum(range(10_000))
    assert before < process_cpu_s(os.getpid()) <= sum(os.times()[:2]) + 0.02
    assert process_cpu_s(2**22 + 1) == 0.0


def test_server_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    with (tmp_path / "events").open("w") as events:
        process = subprocess.Popen([sys.executable, "-c", "raise SystemExit('no disk')"], stderr=events, text=True)
    process.wait()
    servers = Servers([], [], [process], tmp_path / "events")
    with pytest.raises(ServerFailedError, match="no disk"):
        servers.check()
    servers.stop()


def test_failing_repetition_is_named(tmp_path: Path) -> None:
    here: Peer = replace(REDIS, programs=(), modules=())
    plan = runner.Plan(load=Load(rows=0), repetitions=1, value_bytes=(100,), peers=(here,))
    with pytest.raises(RepetitionFailedError, match="redis ended with 1"):
        runner.run(plan, runner.Outcome(), tmp_path, lambda *_: None)


@pytest.mark.parametrize("name", ["redis", "etcd"])
def test_peer_does_what_it_says(name: str, tmp_path: Path) -> None:
    peer = BY_NAME[name]
    if not peer.is_installed:
        pytest.skip(f"{name} is not installed ({peer.brings})")
    words = {"peer": name, "value_bytes": 100, "seed": 1, "folder": str(tmp_path / "run"), "load": asdict(TINY)}
    task = words | {"workloads": [workload.name for workload in WORKLOADS]}
    results = repeat_once(task)
    assert set(results) == {"start", *peer.workloads}
    assert all(found["rate"] > 0 for workload, found in results.items() if workload != "start")
    assert results["start"]["seconds"] > 0


def canned() -> runner.Outcome:
    outcome = runner.Outcome()
    for name, rate, p50 in ((OURS.name, 9000.0, 400.0), (ETCD.name, 3000.0, 1000.0)):
        figures = {"rate": rate, "p50_us": p50, "p99_us": 2 * p50, "server_us": 10.0, "client_us": 20.0}
        outcome.add(
            {"peer": name, "value_bytes": 256}, {"start": {"seconds": 2.0}, "put_1": figures, "put_64": figures}
        )
    return outcome


def test_table_has_a_row_per_workload_that_was_measured() -> None:
    assert report.figure_table(canned(), 256, "rate") == [
        ("rows/s, 256 B values", "kvarts", "etcd"),
        ("put, 1 in flight", "9,000", "3,000"),
        ("put, 64 in flight", "9,000", "3,000"),
    ]


def test_bars_compare_times_for_one_in_flight_and_rates_for_many() -> None:
    found = {bar.workload: (ratio.value, report.judge(bar, ratio)) for bar, _, ratio in report.bars(canned())}
    assert found == {"put_1": (0.4, "stretch"), "put_64": (3.0, "holds")}
    lines = [report.bar_line(bar, size, ratio) for bar, size, ratio in report.bars(canned())]
    assert lines[0].endswith("0.40 [0.40, 0.40] of etcd's time, asked: at most 1 (stretch 0.5)")
    assert lines[1].endswith("3.00 [3.00, 3.00] of etcd's rate, asked: at least 3 (stretch 5)")


@pytest.mark.parametrize(
    ("workload", "low", "high", "verdict"),
    [
        ("put_64", 5.0, 6.0, "stretch"),
        ("put_64", 4.0, 6.0, "holds"),
        ("put_64", 2.9, 6.0, "touched"),
        ("put_64", 2.0, 2.9, "missed"),
        ("get_1", 0.1, 0.2, "stretch"),
        ("get_1", 0.1, 0.5, "holds"),
        ("get_1", 0.4, 0.6, "touched"),
        ("get_1", 0.6, 0.7, "missed"),
    ],
)
def test_bar_is_judged_by_the_whole_interval(workload: str, low: float, high: float, verdict: str) -> None:
    bar = next(bar for bar in report.BARS if bar.workload == workload)
    assert report.judge(bar, Estimate((low + high) / 2, low, high)) == verdict


def test_samples_of_an_earlier_run_are_gone_on_from() -> None:
    plan = runner.Plan(load=TINY, peers=EVERYWHERE)
    context = {"when": "2025-01-01", "commit": "abc", "machine": {}, "versions": {}}
    whole = json.loads(json.dumps(report.document(plan, canned(), context)))
    outcome = runner.Outcome.from_dict(whole["samples"])
    assert outcome == canned()
    assert whole["start_s"]["etcd"]["value"] == 2.0
    assert [bar["verdict"] for bar in whole["bars"]] == ["stretch", "holds"]
    assert whole["medians"]["256"]["put_1"]["etcd"]["p99_us"] == 2000.0


def test_markdown_has_all_figures_and_bars() -> None:
    context = {"when": "2025-01-01", "commit": "abc", "machine": {"processor": "X", "cores": 2}, "versions": {"a": "1"}}
    page = report.markdown(canned(), context).splitlines()
    assert page[:2] == ["X, 2 cores, 2025-01-01, abc", "a 1"]
    assert "| put, 64 in flight | 9,000 | 3,000 |" in page
    assert sum(line.startswith("- ") for line in page) == 4


def test_plot_is_drawn_where_matplotlib_is(tmp_path: Path) -> None:
    if not is_possible():
        pytest.skip("matplotlib is not installed")
    assert [path.name for path in plot.draw(canned(), "title", tmp_path)] == ["cluster.png", "cluster.svg"]
    assert (tmp_path / "cluster.png").read_bytes().startswith(b"\x89PNG")
