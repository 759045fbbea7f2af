"""Percentile bootstrap intervals over examples, reproducible anywhere.

The generator's key is a hash of the seed and the task's name, so an interval does not depend on
which other tasks are measured, or in what order.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from flan_jax.eval.metrics.metric import Metric
from flan_jax.tasks.hashing import counter_hash

RESAMPLES = 2000
_LEVEL = 0.95
# Rows gathered at once: bounds the memory to some tens of megabytes.
_CHUNK_ROWS = 1 << 20


def interval(metric: Metric, statistics: np.ndarray, *, name: str, seed: int = 0) -> tuple[float, float]:
    """Computes the 95% percentile interval of a task's score.

    Args:
        metric: gives the score of a resample.
        statistics: ``[n, k]``, one row an example.
        name: what tells this draw from others.
        seed: another seed, another set of resamples.

    Returns:
        (low, high). It has no width when all examples score the same, as at 0 or 1: a
        percentile bootstrap cannot see beyond the scores that occurred.
    """
    return _percentiles(resampled_scores(metric, statistics, name=name, seed=seed))


def average_interval(tasks: Mapping[str, tuple[Metric, np.ndarray]], *, seed: int = 0) -> tuple[float, float]:
    """Computes the 95% percentile interval of an unweighted mean over tasks.

    Examples are resampled within each task; the tasks themselves are taken as given, so the
    interval speaks of these tasks and not of others that might have been chosen.

    Args:
        tasks: name → (metric, statistics ``[n, k]``); not empty.
        seed: as in ``interval``.
    """
    scores = [
        resampled_scores(metric, statistics, name=name, seed=seed) for name, (metric, statistics) in tasks.items()
    ]
    return _percentiles(np.mean(scores, axis=0))


def resampled_scores(
    metric: Metric, statistics: np.ndarray, *, name: str, seed: int = 0, resamples: int = RESAMPLES
) -> np.ndarray:
    """Computes the scores of ``resamples`` draws of n examples with replacement, float64 ``[resamples]``."""
    rng = np.random.Generator(np.random.Philox(key=counter_hash("bootstrap", seed, name)))
    count = len(statistics)
    parts = []
    for size in _chunks(resamples, max(1, _CHUNK_ROWS // count)):
        drawn = rng.integers(count, size=(size, count))
        if metric.of_rows is not None:
            parts.append(metric.of_rows(statistics[drawn]))
            continue
        sums = np.stack([column[drawn].sum(axis=1) for column in statistics.T], axis=-1)
        parts.append(metric.aggregate(sums, count))
    return np.concatenate(parts)


def _chunks(total: int, size: int) -> Iterator[int]:
    for start in range(0, total, size):
        yield min(size, total - start)


def _percentiles(scores: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(scores, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
