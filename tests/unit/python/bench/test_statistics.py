"""Figures of samples, their bootstrap intervals, and that these hold the truth as often as they say."""

import random
from collections.abc import Callable, Sequence
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvarts.bench.statistics import (
    NORMAL_PER_MAD,
    Estimate,
    bootstrap,
    mad,
    mean,
    median,
    median_estimate,
    quantile,
    r_squared,
    ratio_estimate,
    slope,
    std_dev,
    summarise,
)

SAMPLES = st.lists(st.floats(1, 1e6), min_size=1, max_size=20)


@pytest.mark.parametrize(("samples", "middle"), [([3], 3), ([1, 9], 5), ([9, 1, 2], 2), ([4, 1, 3, 2], 2.5)])
def test_median(samples: list[float], middle: float) -> None:
    assert median(samples) == middle


@pytest.mark.parametrize(("share", "value"), [(0, 10), (1, 40), (0.5, 25), (0.25, 17.5)])
def test_quantile_lies_between_neighbours(share: float, value: float) -> None:
    assert quantile([10, 20, 30, 40], share) == value


@given(SAMPLES)
def test_interval_holds_the_median_and_stays_within_the_samples(samples: list[float]) -> None:
    found = median_estimate(samples, draws=200)
    assert min(samples) <= found.low <= found.high <= max(samples)
    assert found.value == median(samples)


@given(SAMPLES, SAMPLES)
def test_ratio_is_that_of_the_medians_and_the_same_each_time(ours: list[float], theirs: list[float]) -> None:
    found = ratio_estimate(ours, theirs, draws=100)
    assert found.value == median(ours) / median(theirs)
    assert found == ratio_estimate(ours, theirs, draws=100)
    assert found.low <= found.high


def test_interval_narrows_with_samples_that_agree() -> None:
    wide = ratio_estimate([10, 20, 30], [10, 10, 10])
    narrow = ratio_estimate([19, 20, 21], [10, 10, 10])
    assert narrow.high - narrow.low < wide.high - wide.low
    assert str(narrow).startswith("2.00 [")


@pytest.mark.parametrize(
    ("figure", "samples", "value"),
    [
        (mean, [1, 2, 6], 3),
        (std_dev, [2, 4, 4, 4, 5, 5, 7, 9], (32 / 7) ** 0.5),
        (std_dev, [3], 0),
        (mad, [1, 1, 2, 2, 4, 6, 9], NORMAL_PER_MAD),
    ],
    ids=["mean", "deviation", "of one", "mad"],
)
def test_spread(figure: Callable[[Sequence[float]], float], samples: list[float], value: float) -> None:
    assert figure(samples) == pytest.approx(value)


@pytest.mark.parametrize(
    ("points", "by", "explained"),
    [([(1, 3.0), (2, 6.0), (4, 12.0)], 3, 1), ([(1, 1.0), (2, 1.0)], 0.6, 0), ([(2, 8.0), (2, 8.0)], 4, 1)],
    ids=["a line", "no line", "one point twice"],
)
def test_slope_goes_through_the_origin(points: list[tuple[int, float]], by: float, explained: float) -> None:
    assert slope(points) == pytest.approx(by)
    assert r_squared(points) == pytest.approx(explained)


def test_rate_of_a_time_turns_the_interval_round() -> None:
    assert Estimate(4.0, 2.0, 5.0).over(10) == Estimate(2.5, 2.0, 5.0)
    assert Estimate(4.0, 2.0, 5.0).scaled(2) == Estimate(8.0, 4.0, 10.0)


def test_summary_of_a_line_with_noise_is_what_made_it() -> None:
    rng = random.Random(7)
    points = [(count, count * (50 + rng.gauss(0, 2))) for count in range(10, 1010, 10)]
    found = summarise(points, draws=500)
    for figure in (found.slope, found.mean, found.median):
        assert figure.low < 50 < figure.high
        assert figure.high - figure.low < 2
    assert found.std_dev.low < 2 < found.std_dev.high
    assert found.mad.low < 2.2
    assert found.mad.high > 1.8
    assert 0.98 < found.r_squared.low <= found.r_squared.value <= found.r_squared.high <= 1
    assert found == summarise(points, draws=500)


WORLDS = 300


@pytest.mark.parametrize(
    ("name", "draw", "truth"),
    [
        ("mean", lambda rng: rng.gauss(10, 2), 10.0),
        ("mean", lambda rng: rng.expovariate(1), 1.0),
        ("median", lambda rng: rng.gauss(10, 2), 10.0),
        ("median", lambda rng: rng.expovariate(1), log(2)),
        ("std_dev", lambda rng: rng.gauss(10, 2), 2.0),
        ("mad", lambda rng: rng.gauss(10, 2), 2.0),
    ],
    ids=["mean normal", "mean skewed", "median normal", "median skewed", "deviation", "mad"],
)
def test_interval_holds_the_truth_about_95_times_in_100(
    name: str, draw: Callable[[random.Random], float], truth: float
) -> None:
    figures = {"mean": mean, "median": median, "std_dev": std_dev, "mad": mad}
    hits = 0
    for seed in range(WORLDS):
        rng = random.Random(seed)
        samples = [draw(rng) for _ in range(60)]
        found = bootstrap(samples, {name: figures[name]}, draws=150, seed=seed)[name]
        hits += found.low <= truth <= found.high
    # Percentile intervals of 60 samples and few draws are a little narrow, those of a deviation most.
    assert 0.88 <= hits / WORLDS <= 0.99, hits / WORLDS


def test_interval_of_a_slope_holds_the_truth_about_95_times_in_100() -> None:
    hits = 0
    for seed in range(WORLDS):
        rng = random.Random(seed)
        points = [(count, count * rng.gauss(50, 5)) for count in range(1, 61)]
        found = bootstrap(points, {"slope": slope}, draws=150, seed=seed)["slope"]
        hits += found.low <= 50 <= found.high
    assert 0.88 <= hits / WORLDS <= 0.99, hits / WORLDS


def test_interval_of_a_ratio_holds_the_truth_about_95_times_in_100() -> None:
    hits = 0
    for seed in range(WORLDS):
        rng = random.Random(seed)
        ours, theirs = ([rng.gauss(middle, middle / 10) for _ in range(15)] for middle in (5, 10))
        found = ratio_estimate(ours, theirs, draws=300, seed=seed)
        hits += found.low <= 0.5 <= found.high
    assert 0.88 <= hits / WORLDS <= 0.99, hits / WORLDS
