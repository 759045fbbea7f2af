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


def resampled_rows(points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draws points with replacement and returns the rows of their runs: replicates go together.

    Args:
        points: [n], the number of each run's point.
        generator: draws.
    """
    members = [np.flatnonzero(points == point) for point in range(points.max() + 1)]
    return np.concatenate([members[point] for point in generator.integers(len(members), size=len(members))])


def bootstrapped(
    statistic: Callable[[np.ndarray], float], points: np.ndarray, *, resamples: int, seed: int
) -> Estimate:
    """Returns a statistic of runs with its percentile interval over resampled points.

    Args:
        statistic: of the rows that it is given.
        points: [n], the number of each run's point.
        resamples: how many.
        seed: of the draws.
    """
    generator = np.random.default_rng(np.random.SeedSequence((seed, 3)))
    members = [np.flatnonzero(points == point) for point in range(points.max() + 1)]
    single = len(members) == len(points)
    draws = np.empty(resamples)
    for at in range(resamples):
        chosen = generator.integers(len(members), size=len(members))
        draws[at] = statistic(chosen if single else np.concatenate([members[point] for point in chosen]))
    return Estimate(statistic(np.arange(len(points))), *percentiles(draws))
