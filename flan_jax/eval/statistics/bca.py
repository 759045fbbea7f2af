"""Bias-corrected and accelerated bootstrap intervals, widened for few examples.

Percentiles of a bootstrap lie wrong where a score is biased or its variance changes with its value, as a correlation's
does. BCa (Efron 1987) moves the percentiles; here they are also taken from a t distribution and for an unbiased
variance, as in ``flan_jax.eval.statistics.deviations``, without which few examples are covered too seldom.
"""

import numpy as np

from flan_jax.eval.metrics.metric import Metric
from flan_jax.eval.statistics.bootstrap import generator, resampled_scores
from flan_jax.eval.statistics.deviations import CONFIDENCE

# Examples left out, one at a time, of metrics that rank all rows again each time.
_MOST_LEFT_OUT = 200


def bca_interval(metric: Metric, rows: np.ndarray, *, name: str, seed: int = 0) -> tuple[float, float]:
    """Computes the 95% interval of a score over its examples.

    Args:
        metric: gives the score of rows.
        rows: ``[n, k]``, one row an example; at least two.
        name: what tells these draws from others.
        seed: another seed, another set of resamples.
    """
    import scipy.stats

    count, value = len(rows), metric.of(rows)
    scores = resampled_scores(metric, rows, name=name, seed=seed)
    below = np.mean(scores < value) + np.mean(scores == value) / 2
    bias = float(scipy.stats.norm.ppf(np.clip(below, 1 / len(scores), 1 - 1 / len(scores))))
    speed = acceleration(metric, rows, name=name, seed=seed)
    # A mean costs one degree of freedom, a correlation three (Fisher 1921).
    freedom = max(1, count - (3 if metric.lowest < 0 else 1))
    reach = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * np.sqrt(count / freedom)
    levels = []
    for z in (bias - reach, bias + reach):
        levels.append(scipy.stats.norm.cdf(bias + z / max(1 - speed * z, 0.1)))
    low, high = np.quantile(scores, levels)
    return min(float(low), value), max(float(high), value)


def acceleration(metric: Metric, rows: np.ndarray, *, name: str, seed: int = 0) -> float:
    """Computes how fast the standard error changes with the score: a sixth of the skewness of the jackknife, by root n."""
    count = len(rows)
    if metric.of_rows is None:
        left = metric.aggregate(rows.sum(axis=0) - rows, count - 1)
    else:
        out = np.arange(count)
        if count > _MOST_LEFT_OUT:
            out = generator(seed, name, "jackknife").choice(count, _MOST_LEFT_OUT, replace=False)
        left = np.asarray([metric.of(np.delete(rows, row, axis=0)) for row in out])
    influence = left.mean() - left
    variance = np.mean(influence**2)
    if variance <= 0:
        return 0.0
    return float(np.mean(influence**3) / variance**1.5 / (6 * np.sqrt(count)))
