"""Deviations of resampled scores from the measured one, widened for small numbers.

Of m units that are resampled, a bootstrap sees a variance that is too small by (m - 1) / m, and its percentiles are
those of a normal where a t distribution with m - 1 degrees of freedom is right. Deviations are scaled for the first,
and ``widening`` gives the factor for the second (Hesterberg, "What Teachers Should Know about the Bootstrap", 2015,
calls it the expanded percentile interval). R: resamples.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan_jax.eval.statistics.bootstrap import RESAMPLES, generator, resampled_scores
from flan_jax.eval.statistics.sample import TaskSample

CONFIDENCE = 0.95
# Pseudo-counts of Jeffreys' prior, which keep some width where all scores are equal.
_PRIOR = 0.5
# Units of very different sizes count as this many at least, or their scale would be infinite.
_FEWEST_UNITS = 1.5


@dataclasses.dataclass(frozen=True, eq=False)
class Deviations:
    """Resampled deviations from a score.

    Attributes:
        values: ``[R]``, centered.
        freedom: degrees of freedom of their variance; infinite where nothing needs to be widened.
    """

    values: np.ndarray
    freedom: float

    @property
    def variance(self) -> float:
        """The variance of the score that they show."""
        return float(np.mean(self.values**2))


def widening(freedom: float) -> float:
    """Computes the factor from percentiles of a normal to those of a t distribution; at least 1."""
    import scipy.stats

    level = (1 + CONFIDENCE) / 2
    return 1.0 if np.isinf(freedom) else float(scipy.stats.t.ppf(level, freedom)) / float(scipy.stats.norm.ppf(level))


def example_deviations(sample: TaskSample, *, seed: int) -> Deviations:
    """Resamples the records of a task, each with all of its rows.

    Shares of right answers are drawn from Beta(right + 1/2, wrong + 1/2), and differences of such from the Dirichlet
    distribution: they keep some width where all examples score the same, which no resample of them has.
    """
    kinds = score_kinds(sample)
    if kinds is not None:
        counts = kind_counts(sample, kinds) + _PRIOR
        shares = generator(seed, sample.name).dirichlet(counts, size=RESAMPLES)
        # To the unbiased variance of a share: that of the distribution is smaller by (n - 1) / (n + 2).
        scale = np.sqrt((counts.sum() + 1) / max(sample.records - 1, 1))
        return Deviations((shares - counts / counts.sum()) @ np.asarray(kinds) * scale, np.inf)
    units = sample.examples if sample.has_repeats else None
    count = sample.records
    if count == 1:  # a score of one example says next to nothing
        lowest = sample.metric.lowest
        share = (sample.value - lowest) / (1 - lowest)
        drawn = generator(seed, sample.name).beta(share + _PRIOR, 1 - share + _PRIOR, size=RESAMPLES)
        return Deviations((drawn - drawn.mean()) * (1 - lowest), np.inf)
    scores = resampled_scores(sample.metric, sample.rows, name=sample.name, seed=seed, units=units)
    return _scaled(scores, count)


def template_deviations(sample: TaskSample, *, seed: int) -> Deviations:
    """Resamples the templates of a task with all of their examples.

    That carries the chance of the examples along, unless all templates have the same examples: then both add up.
    """
    assert sample.templates is not None
    _, sizes = np.unique(sample.templates, return_counts=True)
    scores = resampled_scores(
        sample.metric, sample.rows, name=f"{sample.name} templates", seed=seed, units=sample.templates
    )
    found = _scaled(scores, effective_number(sizes))
    if not sample.is_crossed:
        return found
    examples = example_deviations(sample, seed=seed)
    return Deviations(found.values + examples.values, added_freedom([found, examples]))


def unit_deviations(sums: np.ndarray, sizes: np.ndarray, *, name: str, seed: int) -> Deviations:
    """Resamples units, each a number of tasks with the sum of their scores: the deviations of the mean over tasks.

    Args:
        sums: ``[m]``, sums of scores.
        sizes: ``[m]``, numbers of tasks.
        name: what tells this draw from others.
        seed: another seed, another set of resamples.
    """
    count = len(sums)
    drawn = generator(seed, name).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return _scaled((drawn @ sums) / (drawn @ sizes), effective_number(sizes))


def score_kinds(sample: TaskSample) -> tuple[float, ...] | None:
    """Returns the scores that the examples of a mean can have: (0, 1), or (-1, 0, 1) of a difference, else ``None``.

    ``None`` too where records are in several rows, unless all of them score the same.
    """
    if not sample.metric.is_mean or (sample.has_repeats and np.ptp(sample.rows) > 0):
        return None
    kinds = (0.0, 1.0) if sample.metric.lowest == 0 else (-1.0, 0.0, 1.0)
    return kinds if np.isin(sample.rows[:, 0], kinds).all() else None


def kind_counts(sample: TaskSample, kinds: Sequence[float]) -> np.ndarray:
    """Counts the records of each kind of score, ``[kinds]``."""
    rows = np.asarray([np.sum(sample.rows[:, 0] == kind) for kind in kinds])
    return rows * sample.records // len(sample.rows)


def effective_number(sizes: np.ndarray) -> float:
    """Counts units of equal size that would vary as these do: (sum of sizes)² / sum of squares (Kish 1965)."""
    return float(sizes.sum()) ** 2 / float(np.square(sizes, dtype=np.float64).sum())


def added_freedom(parts: Sequence[Deviations]) -> float:
    """Computes the degrees of freedom of a sum of independent deviations (Satterthwaite 1946)."""
    variances = np.asarray([part.variance for part in parts])
    shared = sum(
        variance**2 / part.freedom for variance, part in zip(variances, parts, strict=True) if np.isfinite(part.freedom)
    )
    return float(variances.sum() ** 2 / shared) if shared > 0 else np.inf


def mean_deviations(parts: Sequence[Deviations]) -> Deviations:
    """Averages the deviations of independent tasks."""
    return Deviations(np.mean([part.values for part in parts], axis=0), added_freedom(parts))


def _scaled(scores: np.ndarray, units: float) -> Deviations:
    units = max(units, _FEWEST_UNITS)
    return Deviations((scores - scores.mean()) * np.sqrt(units / (units - 1)), max(units - 1, 1.0))
