"""Student's t interval of a mean: over runs, seeds or pairs of runs, which are few."""

from collections.abc import Sequence

import numpy as np

from flan_jax.eval.statistics.deviations import CONFIDENCE


def t_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float] | None:
    """Computes the 95% interval of the mean of values; ``None`` of fewer than two, which say nothing of their spread."""
    own = np.asarray(values, np.float64)
    if len(own) < 2:
        return None
    return t_interval_of(float(own.mean()), float(own.std(ddof=1)), count=len(own), freedom=len(own) - 1)


def t_interval_of(mean: float, deviation: float, *, count: int, freedom: int) -> tuple[float, float]:
    """Computes the 95% interval of a mean from a standard deviation that is known from elsewhere too.

    Args:
        mean: of the values.
        deviation: standard deviation of one value.
        count: values that the mean is of.
        freedom: degrees of freedom of the deviation; with that of the values alone, ``count - 1``.
    """
    import scipy.stats

    reach = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * deviation / np.sqrt(count)
    return mean - float(reach), mean + float(reach)
