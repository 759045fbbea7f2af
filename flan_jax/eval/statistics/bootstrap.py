"""Resampled scores of a task, reproducible anywhere.

The generator's key is a hash of the seed and the task's name, so what is drawn does not depend on
which other tasks are measured, or in what order.
"""

from collections.abc import Iterator

import numpy as np

from flan_jax.eval.metrics.metric import Metric
from flan_jax.tasks.hashing import counter_hash

RESAMPLES = 2000
# Rows gathered at once: bounds the memory to some tens of megabytes.
_CHUNK_ROWS = 1 << 20
# With so few kinds of rows, as right and wrong are two, the number of each is drawn and not the rows.
_FEW_KINDS = 8


def generator(*parts: object) -> np.random.Generator:
    """Makes the generator of what the parts name."""
    return np.random.Generator(np.random.SFC64(counter_hash("bootstrap", *parts)))


def resampled_scores(
    metric: Metric,
    rows: np.ndarray,
    *,
    name: str,
    seed: int = 0,
    resamples: int = RESAMPLES,
    units: np.ndarray | None = None,
) -> np.ndarray:
    """Computes the scores of resamples drawn with replacement, float64 ``[resamples]``.

    Args:
        metric: gives the score of a resample.
        rows: ``[n, k]``, what is resampled.
        name: what tells this draw from others.
        seed: another seed, another set of resamples.
        resamples: how many.
        units: ``[n]``, which unit each row is of: units are drawn, with all of their rows. Without it, rows are.

    Returns:
        Scores of draws of n rows, or of as many units as there are; the sums over a resample that
        is larger or smaller than n are scaled to n rows, which means and ratios do not notice.
    """
    if units is not None:
        return _of_units(metric, rows, units, generator(seed, name, "units"), resamples)
    rng, count = generator(seed, name), len(rows)
    if metric.of_rows is None:
        kinds, found = np.unique(rows, axis=0, return_counts=True)
        if len(kinds) <= _FEW_KINDS:
            return metric.aggregate(rng.multinomial(count, found / count, size=resamples) @ kinds, count)
    parts = []
    for size in _chunks(resamples, max(1, _CHUNK_ROWS // count)):
        drawn = rng.integers(count, size=(size, count), dtype=np.int32)
        if metric.of_rows is not None:
            parts.append(metric.of_rows(rows[drawn]))
            continue
        sums = np.stack([column.take(drawn).sum(axis=1) for column in rows.T], axis=-1)
        parts.append(metric.aggregate(sums, count))
    return np.concatenate(parts)


def _of_units(
    metric: Metric, rows: np.ndarray, units: np.ndarray, rng: np.random.Generator, resamples: int
) -> np.ndarray:
    names, numbers = np.unique(units, return_inverse=True)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    if metric.of_rows is not None:
        return np.asarray([metric.of_rows(np.repeat(rows, times[numbers], axis=0)) for times in drawn], np.float64)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, numbers, rows)
    sizes = drawn @ np.bincount(numbers)
    return metric.aggregate((drawn @ sums) * (len(rows) / sizes)[:, None], len(rows))


def _chunks(total: int, size: int) -> Iterator[int]:
    for start in range(0, total, size):
        yield min(size, total - start)
