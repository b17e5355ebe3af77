"""`kvarts bench embedded`: ours beside what every Python has."""

import json
from importlib.util import find_spec
from pathlib import Path

from tests.unit.python.cli.conftest import Kvarts

SHORT = ("bench", "embedded", "--quick", "--repetitions", "1")


def test_bench_writes_figures_and_history(kvarts: Kvarts, tmp_path: Path) -> None:
    done = kvarts(*SHORT, "--peers", "dict", "--out", "results", "--record", "--json")
    assert done.code == 0, done.err
    assert set(done.json["sizes"]) == {"1000", "100"}
    assert set(done.json["sizes"]["100"]["operations"]["scan"]["median_ns"]) == {"kvarts", "dict"}
    assert json.loads((tmp_path / "results/embedded.json").read_text()) == done.json
    assert (tmp_path / "results/embedded.png").exists() is (find_spec("matplotlib") is not None)
    [line] = (tmp_path / "benchmarks/history.jsonl").read_text().splitlines()
    assert json.loads(line)["median_ns"]["1000"]["put_fsync"]["kvarts"] > 0


def test_bench_prints_tables_and_the_bars(kvarts: Kvarts) -> None:
    done = kvarts(*SHORT, "--peers", "sqlite3")
    assert done.code == 0, done.err
    assert "ours / peer, 100 B" in done.out
    assert "put at 1000 B: " in done.out


def test_bench_refuses_unknown_peers(kvarts: Kvarts) -> None:
    done = kvarts(*SHORT, "--peers", "oracle")
    assert done.code == 2
    assert "no peer 'oracle'" in done.err


def test_bench_ycsb_compares_an_encrypted_store(kvarts: Kvarts) -> None:
    short = ("--records", "1000", "--operations", "200", "--repetitions", "2")
    done = kvarts("bench", "ycsb", "--encryption", *short, "--json")
    assert done.code == 0, done.err
    for name in "ABCDEF":
        assert {kind: len(samples) for kind, samples in done.json[name].items() if kind != "throughput_ratio"} == {
            "plain": 2,
            "encrypted": 2,
        }
    done = kvarts("bench", "ycsb", "c", *short)
    assert done.code == 0, done.err
    assert "workload" in done.out
    assert "encrypted" not in done.out
