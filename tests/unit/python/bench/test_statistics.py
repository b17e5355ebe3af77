"""Medians, quantiles and bootstrap intervals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvarts.bench.statistics import median, median_estimate, quantile, ratio_estimate

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
