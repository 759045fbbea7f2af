"""95% intervals of scores, by what they take for chance: other examples, templates, tasks, clusters.

The outermost of the levels asked for is resampled with all that is in it, which carries the chance of the levels
within along; resampling those once more would count it twice (Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8). The variance of a level within that is not asked for is estimated and taken out. An
interval is never narrower than that of fewer levels.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from flan_jax.eval.statistics.bca import bca_interval
from flan_jax.eval.statistics.deviations import (
    CONFIDENCE,
    Deviations,
    example_deviations,
    kind_counts,
    mean_deviations,
    score_kinds,
    template_deviations,
    unit_deviations,
    widening,
)
from flan_jax.eval.statistics.levels import DEFAULT_LEVELS, LEVELS, join_levels
from flan_jax.eval.statistics.sample import TaskSample

Interval = tuple[float, float]
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def task_intervals(sample: TaskSample, *, seed: int = 0) -> dict[str, Interval]:
    """Computes the intervals of a task's score: over examples, and over templates where it has several.

    Over examples, a share of right answers has Wilson's interval, a difference of two such that of Bonett and Price,
    and other scores have the bias-corrected and accelerated percentiles of a bootstrap, widened; over templates, those
    of a bootstrap, widened.

    Args:
        sample: what was measured.
        seed: another seed, another set of resamples.

    Returns:
        Name of the levels → (low, high).
    """
    return suite_intervals([sample], seed=seed)


def suite_intervals(samples: Sequence[TaskSample], *, seed: int = 0) -> dict[str, Interval]:
    """Computes the intervals of the unweighted mean over tasks, for every set of levels that can be told apart.

    Args:
        samples: a suite's tasks; not empty.
        seed: another seed, another set of resamples.

    Returns:
        Name of the levels (``example+task``) → (low, high). There are no templates where no task has two, no
        tasks where there is one, and no clusters where all tasks are of one.
    """
    values = np.asarray([sample.value for sample in samples])
    found = _deviations(samples, values, seed)
    parts = _components(samples, values, found)
    lowest = min(sample.metric.lowest for sample in samples)
    intervals = {}
    for size in range(1, len(found) + 1):
        for chosen in itertools.combinations(found, size):
            intervals[join_levels(chosen)] = _interval(float(values.mean()), chosen, found, parts, lowest)
    if len(samples) == 1:
        exact = _of_examples(samples[0], seed)
        if exact is not None:
            intervals = {name: _union(exact, own) if _has_examples(name) else own for name, own in intervals.items()}
            intervals[DEFAULT_LEVELS] = exact
    return intervals


def _has_examples(name: str) -> bool:
    return DEFAULT_LEVELS in name.split("+")


def _union(first: Interval, second: Interval) -> Interval:
    return min(first[0], second[0]), max(first[1], second[1])


def _deviations(samples: Sequence[TaskSample], values: np.ndarray, seed: int) -> dict[str, Deviations]:
    """Level → deviations of the mean over tasks where its units are resampled with all that is in them."""
    by_task = [example_deviations(sample, seed=seed) for sample in samples]
    found = {"example": mean_deviations(by_task)}
    if any(sample.has_templates for sample in samples):
        # A task with one template shows nothing of how templates differ; its examples vary all the same.
        found["template"] = mean_deviations(
            [
                template_deviations(sample, seed=seed) if sample.has_templates else examples
                for sample, examples in zip(samples, by_task, strict=True)
            ]
        )
    if len(samples) > 1:
        found["task"] = unit_deviations(values, np.ones(len(values)), name="tasks", seed=seed)
    numbers = _cluster_numbers(samples)
    if numbers.max() > 0:
        sums = np.bincount(numbers, weights=values)
        found["cluster"] = unit_deviations(sums, np.bincount(numbers), name="clusters", seed=seed)
    return found


def _cluster_numbers(samples: Sequence[TaskSample]) -> np.ndarray:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(sample.cluster for sample in samples))}
    return np.asarray([numbers[sample.cluster] for sample in samples])


def _components(samples: Sequence[TaskSample], values: np.ndarray, found: Mapping[str, Deviations]) -> dict[str, float]:
    """Level → the variance of the mean that is its own, without that of the levels within it."""
    parts, inner = {}, 0.0
    for level in LEVELS[:2]:
        if level in found:
            parts[level] = max(0.0, found[level].variance - inner)
            inner = max(inner, found[level].variance)
    if "task" in found:
        # Tasks differ within their clusters by this; without a cluster of two it cannot be told.
        numbers = _cluster_numbers(samples)
        sizes = np.bincount(numbers)
        centers = np.bincount(numbers, weights=values) / sizes
        freedom = len(values) - len(sizes)
        within = float(np.square(values - centers[numbers]).sum()) / freedom if freedom else 0.0
        parts["task"] = max(0.0, within / len(values) - inner)
    return parts


def _interval(
    value: float, chosen: Sequence[str], found: Mapping[str, Deviations], parts: Mapping[str, float], lowest: float
) -> Interval:
    """The widest of the intervals that each of the chosen levels gives as the outermost."""
    low = high = value
    for outermost in chosen:
        deviations = found[outermost]
        within = LEVELS[: LEVELS.index(outermost)]
        off = sum(parts.get(level, 0.0) for level in within if level not in chosen)
        kept = max(0.0, 1 - off / deviations.variance) if deviations.variance > 0 else 0.0
        below, above = np.quantile(deviations.values, _TAILS) * widening(deviations.freedom) * np.sqrt(kept)
        low, high = min(low, value + float(below)), max(high, value + float(above))
    return max(low, lowest), min(high, 1.0)


def _of_examples(sample: TaskSample, seed: int) -> Interval | None:
    """The interval of one task over its examples; ``None`` where they are asked several times, or there is but one."""
    kinds = score_kinds(sample)
    if kinds is None:
        if sample.has_repeats or len(sample.rows) < 2:
            return None
        return bca_interval(sample.metric, sample.rows, name=sample.name, seed=seed)
    counts = kind_counts(sample, kinds).tolist()
    return wilson(counts[1], sum(counts)) if len(kinds) == 2 else bonett_price(counts[2], counts[0], sum(counts))


def wilson(right: int, count: int) -> Interval:
    """Computes the score interval of a share (Wilson 1927), which holds for any count and has width at 0 and 1.

    >>> [round(bound, 3) for bound in wilson(20, 20)]
    [0.839, 1.0]
    """
    import scipy.stats

    found = scipy.stats.binomtest(right, count).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def bonett_price(won: int, lost: int, count: int) -> Interval:
    """Computes the interval of a difference of two shares of the same examples (Bonett and Price 2012).

    Args:
        won: examples that only the second has right.
        lost: examples that only the first has right.
        count: all examples.
    """
    import scipy.stats

    gain, loss = (won + 1) / (count + 2), (lost + 1) / (count + 2)
    half = float(scipy.stats.norm.ppf(_TAILS[1])) * np.sqrt((gain + loss - (gain - loss) ** 2) / (count + 2))
    return max(-1.0, gain - loss - float(half)), min(1.0, gain - loss + float(half))
