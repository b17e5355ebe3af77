"""What single benches do between their timings: threads that take turns, values, stages, questions about the build."""

import threading
import zlib
from collections.abc import Callable

import pytest

from kvarts.bench import parallel
from kvarts.bench.abilities import lacks_compression
from kvarts.bench.board import Outcome
from kvarts.bench.compression import KINDS, make_bench, make_values
from kvarts.bench.large import pace_of
from kvarts.bench.parallel import ROWS as PARALLEL_ROWS
from kvarts.bench.profile import ROWS as PROFILE_ROWS
from kvarts.bench.profile import STAGES, stage_table
from kvarts.bench.scans import count_built
from kvarts.cli.commands.bench_run import chosen


def test_threads_begin_together_and_their_errors_are_raised() -> None:
    barrier = threading.Barrier(3)
    parallel.run_threads([barrier.wait] * 3)  # one alone would wait for ever

    def fail() -> None:
        raise ValueError("of a thread")

    with pytest.raises(ValueError, match="of a thread"):
        parallel.run_threads([fail, lambda: None])


def test_forms_take_turns_and_gains_are_of_the_same_turn() -> None:
    now, done = 0, list[str]()
    slowness = iter([5, 5, 1, 1, 100, 100, 1, 1])  # the machine, a turn being two forms

    def form(name: str, ns: int) -> Callable[[], None]:
        def do() -> None:
            nonlocal now
            done.append(name)
            now += ns * next(slowness)

        return do

    forms = {"1": (form("1", 200), 10), "2": (form("2", 100), 10)}
    found = parallel._take_turns("gets", forms, passes=3, clock=lambda: now)
    assert done == ["1", "2"] * 4
    assert found == pytest.approx({"gets_1": 10e9 / 200, "gets_2": 10e9 / 100, "gets_gain_2": 2.0})
    assert set(found) <= {row.name for row in PARALLEL_ROWS}


def test_record_batches_of_tuples_have_every_row() -> None:
    pytest.importorskip("pyarrow")
    pairs = [(b"%06d" % number, b"value") for number in range(70_000)]
    assert count_built(pairs) == 70_000
    assert count_built([]) == 0


def test_values_compress_as_their_kind_says() -> None:
    shares = {}
    for kind in KINDS:
        values = make_values(kind, 200, seed=1)
        assert values == make_values(kind, 200, seed=1) != make_values(kind, 200, seed=2)
        whole = b"".join(values)
        shares[kind] = len(zlib.compress(whole)) / len(whole)
    assert shares["random values"] > 0.99
    assert 0.2 < shares["JSON values"] < 0.5
    assert 0.2 < shares["text values"] < 0.5


def test_compression_has_each_peer_by_default_and_by_each_compression_of_this_build() -> None:
    bench = make_bench()
    names = [peer.name for peer in bench.peers]
    assert len(set(names)) == len(names)
    assert {"kvarts", "kvarts none", "kvarts lz4", "rocksdict", "rocksdict zstd"} <= set(names)
    assert ("kvarts zstd" in names) is (lacks_compression("zstd") is None)
    assert {peer.name.split(" ")[0] for peer in chosen(bench.peers, "kvarts")} == {"kvarts"}
    assert {peer.name for peer in chosen(bench.peers, "rocksdict zstd")} >= {"kvarts", "rocksdict zstd"}


def test_what_a_build_cannot_do_is_said() -> None:
    assert lacks_compression("lz4") is None
    assert lacks_compression("snappy") == "compression='snappy': this build of kvarts has none"


def test_stages_of_an_operation_add_up_to_it() -> None:
    names = {row.name for row in PROFILE_ROWS}
    outcome = Outcome()
    for place, row in enumerate(PROFILE_ROWS, start=1):
        outcome.add({"setting": "100 B"}, {row.name: {"kvarts": float(2**place)}})
    for stage in STAGES:
        assert {stage.operation, *stage.plus, *stage.minus} <= names
    table = stage_table(outcome, "100 B")
    wholes = [number for number, row in enumerate(table) if row[2] == "100" and not row[0].startswith("  ")]
    assert len(wholes) == len({stage.operation for stage in STAGES})
    for start, end in zip(wholes, [*wholes[1:], len(table)], strict=True):
        parts = [float(row[1]) for row in table[start + 1 : end]]
        assert sum(parts) == pytest.approx(float(table[start][1]))


def test_the_pace_of_a_load_tells_its_slowest_second_and_longest_call() -> None:
    even, slow = [1e6] * 3000, [2e6] * 500
    assert pace_of(even) == {"longest": 1.0, "slowest": 1.0}
    assert pace_of([*even, *slow, 1e6]) == {"longest": 2.0, "slowest": 0.5}
    assert pace_of([*even, 2.9e9, *even])["slowest"] == 0.0, "a second without a row"
    assert pace_of([1e6] * 10) == {"longest": 1.0}, "less than a second says nothing of seconds"
