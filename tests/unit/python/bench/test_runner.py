"""The plan interleaves, the child does every operation, the runner gathers what children measured."""

from collections import Counter
from pathlib import Path

import pytest

from kvarts.bench.child import repeat_once
from kvarts.bench.embedded import EMBEDDED, ROWS
from kvarts.bench.peers import BY_NAME, Peer
from kvarts.bench.runner import Plan, RepetitionFailedError, run
from kvarts.bench.workloads import Data, Stopwatch

TINY = {"rows": 2_000, "puts": 200, "syncs": 2, "gets": 400, "ranges": 10}
BUILT_IN = ("kvarts", "sqlite3", "dict")


def plan(repetitions: int = 1, seed: int = 1) -> Plan:
    peers = tuple(BY_NAME[name] for name in BUILT_IN)
    return Plan(bench=EMBEDDED, counts=TINY, repetitions=repetitions, peers=peers, settings=("100 B",), seed=seed)


def test_plan_runs_each_peer_once_a_round_in_changing_order() -> None:
    tasks = plan(repetitions=6, seed=3).tasks()
    rounds = [tuple(task["peer"] for task in tasks[first : first + 3]) for first in range(0, len(tasks), 3)]
    assert all(Counter(order) == Counter(BUILT_IN) for order in rounds)
    assert len(set(rounds)) > 1
    assert tasks == plan(repetitions=6, seed=3).tasks()


def test_every_peer_of_a_round_gets_the_same_data() -> None:
    assert len({task["seed"] for task in plan().tasks()}) == 1
    assert Data.make(10, 100, 7).pairs == Data.make(10, 100, 7).pairs != Data.make(10, 100, 8).pairs


def test_counts_go_with_the_rows_and_nothing_is_done_less_than_five_times() -> None:
    assert EMBEDDED.counts_for(20_000) == {"rows": 20_000, "puts": 10_000, "syncs": 60, "gets": 20_000, "ranges": 400}
    assert EMBEDDED.counts_for(100)["syncs"] == 5


@pytest.mark.parametrize("name", [peer for peer in BY_NAME if peer != "kvarts"])
def test_peer_does_what_it_says(name: str, tmp_path: Path) -> None:
    peer = BY_NAME[name]
    if not peer.is_installed:
        pytest.skip(f"{name} is not installed")
    task = {"module": EMBEDDED.module, "peer": name, "setting": "100 B", "seed": 1, "counts": TINY}
    done = repeat_once(task | {"folder": str(tmp_path / "run")})
    missing = {row.name for row in ROWS} - done.keys()
    assert missing <= {"dict": {"put_fsync", "range", "disk"}, "dbm.gnu": {"scan", "range"}}.get(name, set())
    assert all(figures[name] > 0 for figures in done.values())


def test_missing_peer_is_named_and_left_out() -> None:
    absent = Peer("absent", "no_such_module_here", "absent", BY_NAME["dict"].open)
    found = Plan(bench=EMBEDDED, counts=TINY, repetitions=1, peers=(absent, BY_NAME["dict"]))
    assert [peer.name for peer in found.missing] == ["absent"]
    assert {task["peer"] for task in found.tasks()} == {"dict"}


def test_failing_child_is_named(tmp_path: Path) -> None:
    counts = TINY | {"rows": 0}
    broken = Plan(bench=EMBEDDED, counts=counts, repetitions=1, peers=(BY_NAME["sqlite3"],))
    with pytest.raises(RepetitionFailedError, match="sqlite3 ended with 1"):
        run(broken, tmp_path, lambda *_: None)


def test_run_measures_ours_beside_the_others(tmp_path: Path) -> None:
    seen: list[str] = []
    outcome = run(plan(), tmp_path, lambda done, total, what: seen.append(f"{done}/{total}"))
    assert seen == ["0/3", "1/3", "2/3", "3/3"]
    assert list(tmp_path.iterdir()) == []
    assert outcome.peers("100 B") == list(BUILT_IN)
    assert set(outcome.samples["100 B"]["get_hot"]) == set(BUILT_IN)


def test_stopwatch_tells_times_and_rates_by_the_median_of_what_it_timed() -> None:
    instants = iter([0, 1_000, 5_000, 8_000, 10_000, 12_000])
    watch = Stopwatch(clock=lambda: next(instants))
    for _ in range(3):
        with watch.measure("scan", 1):
            pass
    with_rate = [row for row in ROWS if row.name == "scan"]
    assert watch.figures(with_rate, "kvarts") == {"scan": {"kvarts": 2.0}}
    assert watch.total_ns("scan") == 6_000
