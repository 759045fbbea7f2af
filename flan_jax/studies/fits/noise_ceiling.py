"""The noise ceiling: how well any fit can predict a run, from the spread of runs that differ in their seed alone."""

import dataclasses
import math

import numpy as np
from scipy import stats

from flan_jax.studies.fits.estimate import LEVEL, Estimate


@dataclasses.dataclass(frozen=True)
class NoiseCeiling:
    """Limits that the noise of runs sets to every fit.

    Attributes:
        replicates: runs that have at least one equal.
        points: mixtures that were run more than once.
        sd: standard deviation of equal runs, pooled, with a chi-square interval: no fit has a smaller error.
        spearman: the rank correlation of scores with their own expectations, were those known.
    """

    replicates: int
    points: int
    sd: Estimate
    spearman: Estimate


def noise_ceiling(losses: np.ndarray, points: np.ndarray) -> NoiseCeiling | None:
    """Pools the variance within points; ``None`` where no mixture was run twice.

    The correlation of scores with their expectations is the square root of 1 - noise variance / variance of runs;
    Spearman's of two normal variables with correlation r is 6/π·asin(r/2).

    Args:
        losses: [n].
        points: [n], the number of each run's point.
    """
    groups = [losses[points == point] for point in range(points.max() + 1)]
    repeated = [group for group in groups if len(group) > 1]
    if not repeated:
        return None
    freedom = sum(len(group) - 1 for group in repeated)
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in repeated)
    low, high = (within / quantile for quantile in stats.chi2.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], freedom))
    # Variance of single runs: that of points' means, and the part of the noise which means have averaged away.
    averaged = within / freedom * (1 - float(np.mean([1 / len(group) for group in groups])))
    between = averaged + (float(np.var([group.mean() for group in groups], ddof=1)) if len(groups) > 1 else 0.0)
    return NoiseCeiling(
        sum(map(len, repeated)),
        len(repeated),
        Estimate(*(math.sqrt(variance) for variance in (within / freedom, low, high))),
        # More noise, less correlation: the ends change places.
        Estimate(*(_spearman(variance, between) for variance in (within / freedom, high, low))),
    )


def _spearman(noise: float, between: float) -> float:
    reliability = 0.0 if between <= 0 else min(max(1 - noise / between, 0.0), 1.0)
    return 6 / math.pi * math.asin(math.sqrt(reliability) / 2)
