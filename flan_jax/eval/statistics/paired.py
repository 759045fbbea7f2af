"""Paired differences of two models on the same examples: intervals, sign-flip tests, wins and losses.

A difference is the score of the second minus that of the first. Its interval resamples examples with both answers, so
that what makes an example hard for both cancels out.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from flan_jax.eval.metrics.metric import Metric, mean_of
from flan_jax.eval.statistics.holm import holm
from flan_jax.eval.statistics.intervals import suite_intervals
from flan_jax.eval.statistics.levels import DEFAULT_LEVELS
from flan_jax.eval.statistics.sample import TaskSample
from flan_jax.eval.statistics.sign_flip import Pairs, flip_examples, flip_values

Swapped = Literal["example", "task", "cluster"]
"""What a test swaps as a whole; by ``cluster``, tasks of one need not be independent."""


@dataclasses.dataclass(frozen=True, eq=False)
class PairedTask:
    """The answers of two models to the same examples of a task.

    Attributes:
        first, second: samples of the same examples, row by row.
        first_scores, second_scores: ``[n]``, scores of single examples, for wins and losses.
    """

    first: TaskSample
    second: TaskSample
    first_scores: np.ndarray
    second_scores: np.ndarray

    @property
    def difference(self) -> TaskSample:
        """The sample of the difference, whose rows hold both models' and are resampled together."""
        metric = self.first.metric
        rows = (
            (self.second.rows - self.first.rows) if metric.is_mean else np.hstack([self.first.rows, self.second.rows])
        )
        return dataclasses.replace(self.first, metric=difference_of(metric), rows=rows)

    @property
    def pairs(self) -> Pairs:
        """The rows to swap: records by themselves, each with all of its rows."""
        first, second, count = self.first.rows, self.second.rows, len(self.first.rows)
        examples = self.first.examples
        if examples is not None and self.first.has_repeats and self.first.metric.of_rows is None:
            _, numbers = np.unique(examples, return_inverse=True)
            first, second = (_summed(rows, numbers) for rows in (first, second))
        return Pairs(self.first.metric, first, second, count)


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """The difference of two models on a task, on a cluster or on a suite; scores run from 0 to 1.

    Attributes:
        name: of the task, cluster or suite.
        tasks, n: number of tasks, and of examples.
        first, second: their scores; means over tasks where there are several.
        difference: second minus first.
        interval: its 95% interval over examples.
        intervals: names of levels → 95% interval, as in ``flan_jax.eval.statistics.intervals``.
        p: of the sign-flip test, two-sided.
        p_holm: p after Holm's correction over the tasks, or clusters, that were compared together.
        test: ``exact`` or ``sampled``.
        wins, ties, losses: examples on which the second scores higher, the same, lower.
    """

    name: str
    tasks: int
    n: int
    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    intervals: dict[str, tuple[float, float]]
    p: float
    p_holm: float
    test: str
    wins: int
    ties: int
    losses: int


@dataclasses.dataclass(frozen=True)
class PairedComparison:
    """Two models on a suite.

    Attributes:
        average: the mean over tasks.
        tasks, clusters: each by itself; the p values of each of the two are one family for Holm's correction.
        swapped: what the tests swap.
        tasks_won, tasks_tied, tasks_lost: tasks on which the second scores higher, the same, lower.
    """

    average: PairedDifference
    tasks: tuple[PairedDifference, ...]
    clusters: tuple[PairedDifference, ...]
    swapped: Swapped
    tasks_won: int
    tasks_tied: int
    tasks_lost: int


def compare(tasks: Sequence[PairedTask], *, name: str, swapped: Swapped = "example", seed: int = 0) -> PairedComparison:
    """Compares two models on a suite, on its clusters and on its tasks.

    Args:
        tasks: at least one.
        name: of the suite.
        swapped: what the test of the suite's mean swaps as a whole. Tasks by themselves are tested by example.
        seed: of resamples and swaps.
    """
    by_cluster: dict[str, list[PairedTask]] = {}
    for task in tasks:
        by_cluster.setdefault(task.first.cluster, []).append(task)
    single = [difference([task], name=task.first.name, seed=seed) for task in tasks]
    won, lost = (sum(sign * found.difference > 0 for found in single) for sign in (1, -1))
    return PairedComparison(
        average=difference(tasks, name=name, swapped=swapped, seed=seed),
        tasks=corrected(single),
        clusters=corrected([difference(own, name=cluster, seed=seed) for cluster, own in by_cluster.items()]),
        swapped=swapped,
        tasks_won=won,
        tasks_tied=len(single) - won - lost,
        tasks_lost=lost,
    )


def difference(
    tasks: Sequence[PairedTask], *, name: str, swapped: Swapped = "example", seed: int = 0
) -> PairedDifference:
    """Computes the difference of the means over tasks, with intervals and a test."""
    samples = [task.difference for task in tasks]
    values = np.asarray([sample.value for sample in samples])
    observed = float(values.mean())
    intervals = suite_intervals(samples, seed=seed)
    if swapped == "example":
        p, test = flip_examples([task.pairs for task in tasks], observed=observed, name=name, seed=seed)
    else:
        names = [getattr(sample, {"task": "name", "cluster": "cluster"}[swapped]) for sample in samples]
        _, numbers = np.unique(names, return_inverse=True)
        units = np.bincount(numbers, weights=values / len(values))
        p, test = flip_values(units, observed=observed, name=name, seed=seed)
    changes = np.concatenate([task.second_scores - task.first_scores for task in tasks])
    wins, losses = int((changes > 0).sum()), int((changes < 0).sum())
    return PairedDifference(
        name=name,
        tasks=len(tasks),
        n=len(changes),
        first=float(np.mean([task.first.value for task in tasks])),
        second=float(np.mean([task.second.value for task in tasks])),
        difference=observed,
        interval=intervals[DEFAULT_LEVELS],
        intervals=intervals,
        p=p,
        p_holm=p,
        test=test,
        wins=wins,
        ties=len(changes) - wins - losses,
        losses=losses,
    )


def corrected(family: Sequence[PairedDifference]) -> tuple[PairedDifference, ...]:
    """Corrects the p values of tests that are read together."""
    adjusted = holm([found.p for found in family])
    return tuple(dataclasses.replace(found, p_holm=p) for found, p in zip(family, adjusted, strict=True))


def paired_scores(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    *,
    name: str = "",
    cluster: str = "",
    templates: Sequence[int] | None = None,
    examples: Sequence[int] | None = None,
) -> PairedTask:
    """Makes a paired task of two lists of per-example scores, whose mean is the task's score.

    Args:
        first, second: from 0 to 1, of the same examples in the same order.
        name: the task.
        cluster: its cluster.
        templates: of each example.
        examples: the record of each example, where records are asked several times.
    """
    scores = [np.asarray(given, np.float64) for given in (first, second)]
    if len(scores[0]) != len(scores[1]) or not len(scores[0]):
        raise ValueError(f"{len(scores[0])} and {len(scores[1])} scores cannot be paired.")
    ids = [None if given is None else np.asarray(given, np.int64) for given in (templates, examples)]
    samples = [TaskSample(name, cluster, _MEAN, own[:, None], *ids) for own in scores]
    return PairedTask(samples[0], samples[1], scores[0], scores[1])


def difference_of(metric: Metric) -> Metric:
    """Makes the metric of a difference: of rows ``second - first`` where it is a mean, else of both side by side."""
    name = f"difference of {metric.name}"
    if metric.is_mean:
        return dataclasses.replace(_MEAN, name=name, lowest=-1.0)

    def aggregate(sums: np.ndarray, count: int) -> np.ndarray:
        first, second = np.split(sums, 2, axis=-1)
        return metric.aggregate(second, count) - metric.aggregate(first, count)

    def of_rows(rows: np.ndarray) -> np.ndarray:
        assert metric.of_rows is not None
        first, second = np.split(rows, 2, axis=-1)
        return metric.of_rows(second) - metric.of_rows(first)

    # A difference of correlations may reach -2; none that is measured comes near it.
    return dataclasses.replace(
        _MEAN,
        name=name,
        aggregate=aggregate,
        of_rows=None if metric.of_rows is None else of_rows,
        is_mean=False,
        lowest=-1.0,
    )


def _unused(prediction: str, reference: str) -> float:
    raise NotImplementedError("Scores are given, not computed from texts.")


_MEAN = mean_of("mean", _unused)


def _summed(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    sums = np.zeros((int(numbers.max()) + 1, rows.shape[1]))
    np.add.at(sums, numbers, rows)
    return sums
