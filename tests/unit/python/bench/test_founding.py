"""The founding benchmark: its data, its sampling, its loading and its floor."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

import kvarts
from kvarts.bench import founding
from kvarts.bench.founding import Measured
from kvarts.bench.instructions import NOTHING, OPERATIONS, perform
from kvarts.bench.numbered import ALPHANUMERIC, POOL_BYTES, Numbered
from kvarts.bench.sampling import plan_step, take_samples


def test_rows_follow_from_their_number_and_the_seed() -> None:
    data, again, other = Numbered(500, 500, 1), Numbered(500, 500, 1), Numbered(500, 500, 2)
    assert data.pairs(5, 9) == again.pairs(5, 9) == [(data.key(number), data.value(number)) for number in range(5, 9)]
    assert data.key(5) != other.key(5)
    assert data.value(5) != other.value(5)
    assert data.draw(100, 50) == again.draw(100, 50) != data.draw(100, 50, salt=1)


def test_keys_are_alphanumeric_all_different_and_in_random_order() -> None:
    data = Numbered(500, 500, 1)
    keys = [data.key(number) for number in range(2_000)]
    assert {len(key) for key in keys} == {500}
    assert len(set(keys)) == 2_000
    letters = Counter(b"".join(keys))
    assert set(letters) == set(ALPHANUMERIC)
    # 256 bytes on 62 letters: eight letters come five times where the others come four.
    assert max(letters.values()) / min(letters.values()) < 1.4
    ascending = sum(left < right for left, right in pairwise(keys))
    assert 900 < ascending < 1_100


def test_values_have_their_size_to_the_end_of_the_pool() -> None:
    data = Numbered(16, 300, 1)
    starts = [number * 7919 % POOL_BYTES for number in range(10_000)]
    assert len(set(starts)) == len(starts)
    last = starts.index(max(starts))
    assert len(data.value(last)) == 300


@pytest.mark.parametrize(
    ("unit_ns", "samples", "measure_ns", "step"),
    [(1_000, 100, 5e9, 991), (1_000, 100, 1, 1), (1e9, 10, 5e9, 1)],
    ids=["fills the time", "no time", "slow"],
)
def test_steps_fill_the_time(unit_ns: float, samples: int, measure_ns: float, step: int) -> None:
    assert plan_step(unit_ns, samples, measure_ns) == step


def test_samples_are_of_increasing_iterations_after_warming_up() -> None:
    counts: list[int] = []
    seen: list[int] = []

    def routine(count: int) -> float:
        counts.append(count)
        return count * 100.0

    points = take_samples(
        routine, samples=4, warm_ns=1_000, measure_ns=10_000, progress=lambda done, _: seen.append(done)
    )
    assert counts == [1, 2, 4, 8, 10, 20, 30, 40]
    assert points == [(10, 1000.0), (20, 2000.0), (30, 3000.0), (40, 4000.0)]
    assert seen == [0, 1, 2, 3, 4]
    measured = Measured.of(points)
    assert measured.summary.slope.value == 100
    assert measured.throughput(1_000).value == 1e10


@pytest.mark.parametrize("compacts", [False, True])
def test_load_puts_every_pair_and_tells_making_from_putting(tmp_path: Path, compacts: bool) -> None:
    data, seen = Numbered(500, 500, 1), []
    instants = iter(range(0, 100 * 10**9, 10**9))
    with kvarts.open(tmp_path / "store") as store:
        loaded = founding.load(store, data, 300, lambda done, total: seen.append((done, total)), lambda: next(instants))
        assert (loaded.put_s, loaded.generate_s) == (1, 1)
        assert seen == [(0, 300), (300, 300)]
        assert len(store) == 300
        founding.settle(store, lambda _: None, compacts=compacts)
        [space] = store.stats().keyspaces
        assert (space.memtable_rows, space.table_rows) == (0, 300)
        founding.check(store, data, 300)
        store.put(data.key(7), b"another")
        with pytest.raises(AssertionError, match="row 7 is not what was put"):
            founding.check(store, data, 8)


def test_gets_and_floor_are_routines_of_so_many_calls(tmp_path: Path) -> None:
    data = Numbered(500, 500, 1)
    with kvarts.open(tmp_path / "store") as store:
        store.put_many(data.pairs(0, 200))
        store.flush()
        read: list[int] = []
        total = founding.warm_page_cache(tmp_path, lambda done, _: read.append(done))
        assert read[-1] == total == sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
        assert founding.gets_of(store, data, 200)(50) > 0
        with founding.block_reads_of(tmp_path, 8 << 10) as reads:
            assert reads(50) > 0
        founding.warm_store(store, data, 200, lambda *_: None)


@pytest.mark.parametrize(("floor_us", "asked"), [(2.0, 4.58), (6.0, 6.0)], ids=["a tenth", "the floor"])
def test_a_get_may_take_a_tenth_or_the_floor(floor_us: float, asked: float) -> None:
    floor = Measured.of([(1, floor_us * 1e3), (2, floor_us * 2e3)])
    assert founding.asked_us(floor) == pytest.approx(asked)


@pytest.mark.parametrize("name", [NOTHING, *OPERATIONS])
def test_what_instructions_are_counted_of_runs(tmp_path: Path, name: str) -> None:
    perform(name, 20, 100, tmp_path)
