"""`kvarts bench`: each command runs with tiny data, tells what it left out, and keeps what it measured."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.unit.python.cli.conftest import Kvarts, Result, environment

TINY = ("--rows", "500", "--repetitions", "1")
ALONE = (*TINY, "--peers", "kvarts")
VERDICTS = {"stretch", "holds", "touched", "missed", "no stretch", "not measured"}
ROWS = {
    "embedded": {"load", "put", "put_fsync", "get_hot", "get_missing", "get_many", "scan", "range", "disk"},
    "scan": {"scan", "range"},
    "parallel": {"gets_1", "gets_2", "gets_gain_2", "fsync_1", "fsync_16", "fsync_gain_16"},
    "compression": {"disk", "share", "load", "settle", "get", "scan"},
    "large": {"load", "settle", "get", "scan", "disk"},
    "open": {"open", "first_get"},
}


@pytest.mark.parametrize("name", ROWS)
def test_each_bench_measures_ours_and_judges_its_bars(kvarts: Kvarts, name: str) -> None:
    done = kvarts("bench", name, *ALONE, "--json")
    assert done.code == 0, done.err
    found = done.json
    assert found["kind"] == name
    assert found["options"]["rows"] == 500
    for cells in found["settings"].values():
        assert ROWS[name] <= set(cells)
        for cell in cells.values():
            assert set(cell) == {"unit", "higher_is_better", "samples", "median", "ratio_ours_to"}
            assert cell["samples"]["kvarts"][0] > 0
            assert set(cell["median"]["kvarts"]) == {"value", "low", "high"}
    assert found["bars"]
    assert all(bar["verdict"] in VERDICTS for bar in found["bars"])
    assert all(("left out: " + lack) in done.err for lack in found["skipped"])


def test_bench_writes_figures_plots_and_history(kvarts: Kvarts, tmp_path: Path) -> None:
    done = kvarts("bench", "embedded", *TINY, "--peers", "dict", "--out", "results", "--record", "--json")
    assert done.code == 0, done.err
    assert set(done.json["settings"]) == {"1000 B", "100 B"}
    assert set(done.json["settings"]["100 B"]["scan"]["median"]) == {"kvarts", "dict"}
    assert json.loads((tmp_path / "results/embedded.json").read_text()) == done.json
    for kind in ("png", "svg"):
        assert (tmp_path / f"results/embedded.{kind}").exists() is (find_spec("matplotlib") is not None)
    [line] = (tmp_path / "benchmarks/history.jsonl").read_text().splitlines()
    assert json.loads(line)["median"]["1000 B"]["put_fsync"]["kvarts"] > 0


def test_bench_prints_tables_and_the_bars(kvarts: Kvarts) -> None:
    done = kvarts("bench", "embedded", *TINY, "--peers", "sqlite3")
    assert done.code == 0, done.err
    assert "ours / theirs, 100 B" in done.out
    assert "put + fsync at 1000 B: " in done.out
    assert "not measured  get, in memory at 1000 B, asked: at most 0.75 of lmdb's" in done.out


def test_bench_refuses_unknown_peers(kvarts: Kvarts) -> None:
    done = kvarts("bench", "embedded", *TINY, "--peers", "oracle")
    assert done.code == 2
    assert "no peer 'oracle'" in done.err


def test_bench_names_peers_that_are_not_installed(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules.update(lmdb=None, plyvel=None, rocksdict=None, pyarrow=None)\n"
    )
    done = run_with(tmp_path, {}, "bench", "scan", *TINY, "--json")
    assert done.code == 0, done.err
    for name in ("lmdb", "plyvel", "rocksdict"):
        assert f"left out: {name} is not installed ({name})" in done.err
    assert sorted(done.json["missing"]) == ["lmdb", "plyvel", "rocksdict"]
    assert "scans to Arrow: pyarrow is not installed" in done.json["skipped"]
    assert {bar["verdict"] for bar in done.json["bars"]} == {"not measured"}


def test_bench_profile_tells_stages_and_that_nothing_counts_instructions(tmp_path: Path) -> None:
    done = run_with(tmp_path, {"PATH": str(tmp_path)}, "bench", "profile", *TINY)
    assert done.code == 0, done.err
    assert "left out: instruction counts: valgrind is not installed" in done.err
    assert "read and decode a block" in done.out
    assert "instructions" not in done.out
    done = run_with(tmp_path, {"PATH": str(tmp_path)}, "bench", "profile", *TINY, "--json", "--out", "results")
    assert set(done.json["stages"]) == {"1000 B", "100 B"}
    assert "|   read and decode a block | " in (tmp_path / "results/profile.md").read_text()


def test_bench_ycsb_compares_an_encrypted_store(kvarts: Kvarts) -> None:
    short = ("--records", "1000", "--operations", "200", "--repetitions", "2")
    done = kvarts("bench", "ycsb", "--encryption", *short, "--json")
    assert done.code == 0, done.err
    [cells] = done.json["settings"].values()
    for name in "ABCDEF":
        assert {kind: len(samples) for kind, samples in cells[name]["samples"].items()} == {
            "kvarts": 2,
            "kvarts encrypted": 2,
        }
    done = kvarts("bench", "ycsb", "c", *short)
    assert done.code == 0, done.err
    assert "C: gets, ops/s" in done.out
    assert "encrypted" not in done.out


FOUNDING = ("bench", "founding", "--pairs", "400", "--samples", "5", "--seconds", "0.02")


def test_bench_founding_tells_what_criterion_did_and_keeps_its_store(kvarts: Kvarts, tmp_path: Path) -> None:
    done = kvarts(*FOUNDING, "--store", "kept", "--json", "--record", "--out", "results")
    assert done.code == 0, done.err
    for name in ("get", "floor"):
        assert set(done.json[name]["ns"]) == {"slope", "r_squared", "mean", "median", "std_dev", "mad"}
        slope = done.json[name]["ns"]["slope"]
        assert 0 < slope["low"] <= slope["value"] <= slope["high"]
        counts = [count for count, _ in done.json[name]["points"]]
        assert counts == [counts[0] * number for number in range(1, 6)]
    rate = done.json["throughput_bytes_per_s"]["value"]
    assert rate == pytest.approx(1000e9 / done.json["get"]["ns"]["slope"]["value"])
    [line] = (tmp_path / "benchmarks/history.jsonl").read_text().splitlines()
    assert json.loads(line)["get_ns"] == done.json["get"]["ns"]
    assert (tmp_path / "results/founding.svg").exists() is (find_spec("matplotlib") is not None)

    again = kvarts(*FOUNDING, "--store", "kept", "--memory", "all")
    assert again.code == 0, again.err
    for word in ("Slope", "Throughput", "R²", "Mean", "Std. Dev.", "Median", "MAD", "of the founding 45.8 µs"):
        assert word in again.out
    assert f"{1e6 * done.json['load']['put_s'] / 400:.2f}\n" in again.out

    other = kvarts(*FOUNDING, "--store", "kept", "--seed", "2")
    assert other.code == 2
    assert "kept was loaded with pairs=400, seed=1" in other.err


def test_bench_founding_looks_for_room_first(kvarts: Kvarts) -> None:
    done = kvarts("bench", "founding", "--pairs", "10000000000000")
    assert done.code == 2
    assert "pairs need 25000.0 TB free in" in done.err
    done = kvarts("bench", "founding", "--pairs", "10000000000000", "--memory", "all")
    assert done.code == 2
    assert "--memory all needs" in done.err


def run_with(folder: Path, world: dict[str, str], *arguments: str) -> Result:
    """Run a command where a sitecustomize of the folder comes first."""
    whole = environment()
    whole |= {"PYTHONPATH": f"{folder}{os.pathsep}{whole['PYTHONPATH']}"} | world
    command = [sys.executable, "-m", "kvarts", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=whole, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.long
def test_instruction_counts_repeat() -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    code = "from kvarts.bench.instructions import *; import json; print(json.dumps(count_instructions(100, times=300)))"
    counts = [
        json.loads(
            subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), check=True).stdout
        )
        for _ in range(2)
    ]
    for name, count in counts[0].items():
        assert count == pytest.approx(counts[1][name], rel=0.05)
