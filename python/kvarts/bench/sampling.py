"""Samples as Criterion takes them: of more and more iterations, so that a line through them has no fixed costs in it.

Source: Criterion.rs, "Analysis Process": warm up for some time, then sample i of N does i × d iterations, where d is
such that all of them fill the time that is given.
"""

from collections.abc import Callable
from math import ceil

from kvarts.bench.statistics import Point

Routine = Callable[[int], float]
"""Does so many iterations and returns the nanoseconds they took: what it prepares for them is not in it."""


def take_samples(
    routine: Routine,
    *,
    samples: int,
    warm_ns: float,
    measure_ns: float,
    progress: Callable[[int, int], object],
) -> list[Point]:
    """Warm up, then return points of increasing iterations. `progress` gets samples done, and in all."""
    step = plan_step(_warm_up(routine, warm_ns), samples, measure_ns)
    points = []
    for number in range(1, samples + 1):
        progress(number - 1, samples)
        count = number * step
        points.append((count, routine(count)))
    progress(samples, samples)
    return points


def plan_step(unit_ns: float, samples: int, measure_ns: float) -> int:
    """Return by how many iterations each sample is longer than the one before, at least 1."""
    units = samples * (samples + 1) / 2
    return max(1, ceil(measure_ns / (unit_ns * units)))


def _warm_up(routine: Routine, warm_ns: float) -> float:
    count, done, elapsed = 1, 0, 0.0
    while elapsed < warm_ns or done == 0:
        elapsed += routine(count)
        done += count
        count *= 2
    return max(elapsed / done, 1.0)
