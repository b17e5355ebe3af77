"""Medians and ratios of them, with bootstrap intervals. Pure: the same samples give the same figures."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

DRAWS = 2_000
SEED = 20_251_122


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with the interval in which it lies with 95 % confidence, as far as the samples can tell."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def median(samples: Sequence[float]) -> float:
    """Return the middle sample, or the mean of the two middle ones. There must be one at least."""
    ordered = sorted(samples)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of sorted values lie, between neighbours in proportion."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median_estimate(samples: Sequence[float], *, draws: int = DRAWS, seed: int = SEED) -> Estimate:
    """Return the median with its bootstrap interval: how far it moves when the samples are drawn anew."""
    rng = random.Random(seed)  # noqa: S311  # resampling, no secret
    medians = sorted(median(rng.choices(samples, k=len(samples))) for _ in range(draws))
    return Estimate(median(samples), quantile(medians, 0.025), quantile(medians, 0.975))


def ratio_estimate(ours: Sequence[float], theirs: Sequence[float], *, draws: int = DRAWS, seed: int = SEED) -> Estimate:
    """Return median(ours) / median(theirs) with its bootstrap interval. Times: below 1 we are faster."""
    rng = random.Random(seed)  # noqa: S311
    ratios = sorted(
        median(rng.choices(ours, k=len(ours))) / median(rng.choices(theirs, k=len(theirs))) for _ in range(draws)
    )
    return Estimate(median(ours) / median(theirs), quantile(ratios, 0.025), quantile(ratios, 0.975))
