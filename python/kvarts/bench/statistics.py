"""Medians, spreads, slopes and ratios, each with its bootstrap interval. Pure: the same samples give the same figures.

The figures of a regression are those that Criterion prints: samples of more and more iterations, a line through the
origin, and what the times per iteration look like. Source: Efron and Tibshirani, An Introduction to the Bootstrap.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import TypeVar

DRAWS = 2_000
SEED = 20_251_122
CONFIDENCE = 0.95
NORMAL_PER_MAD = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""

Point = tuple[int, float]
"""Iterations, and the time that they took together."""
_S = TypeVar("_S")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with the interval in which it lies with 95 % confidence, as far as the samples can tell."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def scaled(self, factor: float) -> "Estimate":
        """Return it in another unit."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)

    def over(self, amount: float) -> "Estimate":
        """Return `amount` over it: a rate of a time. The low end of the one is the high end of the other."""
        return Estimate(amount / self.value, amount / self.high, amount / self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What Criterion tells of a measurement. All but `r_squared` are times per iteration."""

    slope: Estimate
    r_squared: Estimate
    mean: Estimate
    median: Estimate
    std_dev: Estimate
    mad: Estimate


def mean(samples: Sequence[float]) -> float:
    """Return the arithmetic mean."""
    return fsum(samples) / len(samples)


def median(samples: Sequence[float]) -> float:
    """Return the middle sample, or the mean of the two middle ones. There must be one at least."""
    ordered = sorted(samples)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def std_dev(samples: Sequence[float]) -> float:
    """Return the standard deviation of what the samples were drawn from; 0 for a single one."""
    if len(samples) < 2:
        return 0.0
    middle = mean(samples)
    return sqrt(fsum((sample - middle) ** 2 for sample in samples) / (len(samples) - 1))


def mad(samples: Sequence[float]) -> float:
    """Return the median absolute deviation, scaled so that it is the standard deviation where samples are normal."""
    middle = median(samples)
    return NORMAL_PER_MAD * median([abs(sample - middle) for sample in samples])


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of sorted values lie, between neighbours in proportion."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def slope(points: Sequence[Point]) -> float:
    """Return the time per iteration by the line through the origin that fits best (least squares)."""
    return fsum(count * time for count, time in points) / fsum(count * count for count, _ in points)


def r_squared(points: Sequence[Point]) -> float:
    """Return the share of the times' variance that the line explains; 1 where all times are equal and on it."""
    by = slope(points)
    middle = mean([time for _, time in points])
    left = fsum((time - by * count) ** 2 for count, time in points)
    whole = fsum((time - middle) ** 2 for _, time in points)
    if whole == 0:
        return 1.0 if left == 0 else 0.0
    return 1 - left / whole


def bootstrap(
    samples: Sequence[_S],
    figures: Mapping[str, Callable[[Sequence[_S]], float]],
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> dict[str, Estimate]:
    """Return each figure with its interval: how far it moves when the samples are drawn anew, with replacement."""
    rng = random.Random(seed)  # noqa: S311  # resampling, no secret
    drawn: dict[str, list[float]] = {name: [] for name in figures}
    for _ in range(draws):
        again = rng.choices(samples, k=len(samples))
        for name, figure in figures.items():
            drawn[name].append(figure(again))
    return {name: _interval(figure(samples), drawn[name]) for name, figure in figures.items()}


def median_estimate(samples: Sequence[float], *, draws: int = DRAWS, seed: int = SEED) -> Estimate:
    """Return the median with its interval."""
    return bootstrap(samples, {"median": median}, draws=draws, seed=seed)["median"]


def ratio_estimate(ours: Sequence[float], theirs: Sequence[float], *, draws: int = DRAWS, seed: int = SEED) -> Estimate:
    """Return median(ours) / median(theirs) with its bootstrap interval. Times: below 1 we are faster."""
    rng = random.Random(seed)  # noqa: S311
    ratios = [median(rng.choices(ours, k=len(ours))) / median(rng.choices(theirs, k=len(theirs))) for _ in range(draws)]
    return _interval(median(ours) / median(theirs), ratios)


def summarise(points: Sequence[Point], *, draws: int = DRAWS, seed: int = SEED) -> Summary:
    """Return the figures of a measurement by samples of increasing iterations."""
    lines = bootstrap(points, {"slope": slope, "r_squared": r_squared}, draws=draws, seed=seed)
    times = [time / count for count, time in points]
    spread = {"mean": mean, "median": median, "std_dev": std_dev, "mad": mad}
    return Summary(**lines, **bootstrap(times, spread, draws=draws, seed=seed + 1))


def _interval(value: float, drawn: list[float]) -> Estimate:
    drawn.sort()
    tail = (1 - CONFIDENCE) / 2
    return Estimate(value, quantile(drawn, tail), quantile(drawn, 1 - tail))
