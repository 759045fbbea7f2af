"""A number with its interval, and the bootstrap over a study's points that gives it."""

import dataclasses
from collections.abc import Callable

import numpy as np

LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """Returns the ends of the central 95% of draws; NaN draws (a constant sample has no correlation) are left out."""
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def resampled_counts(points: np.ndarray, generator: np.random.Generator, resamples: int) -> np.ndarray:
    """Draws points with replacement and returns how often each run is drawn: replicates go together.

    Args:
        points: [n], the number of each run's point.
        generator: draws.
        resamples: how many.

    Returns:
        [resamples, n] integers.
    """
    distinct = int(points.max()) + 1
    drawn = (np.bincount(generator.integers(distinct, size=distinct), minlength=distinct) for _ in range(resamples))
    return np.stack(list(drawn))[:, points]


def bootstrapped(
    statistic: Callable[[np.ndarray], np.ndarray], points: np.ndarray, *, resamples: int, seed: int
) -> Estimate:
    """Returns a statistic of runs with its percentile interval over resampled points.

    Args:
        statistic: of runs, each of which counts so often as it is given: [m, n] to [m].
        points: [n], the number of each run's point.
        resamples: how many.
        seed: of the draws.
    """
    counts = resampled_counts(points, np.random.default_rng(np.random.SeedSequence((seed, 3))), resamples)
    return Estimate(float(statistic(np.ones((1, len(points))))[0]), *percentiles(statistic(counts)))
