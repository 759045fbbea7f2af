"""The numbers by which the runs of a study are compared: one a run, named ``SUITE/METRIC``."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Sequence

from flan_jax.errors import UserError, unknown
from flan_jax.eval.examples import TaskResult
from flan_jax.eval.statistics.deviations import CONFIDENCE
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.mixture import run_mixture, run_suites

SCORE = "score"
"""The name of every task's own metric, whichever that is."""
DEFAULT = "held_out/choice_probability"
LOWER_IS_BETTER = ("brier", "calibration_error", "loss")


@dataclasses.dataclass(frozen=True)
class Objective:
    """A suite's mean by one metric: over its clusters, of each the mean over its tasks.

    Attributes:
        suite: its name.
        metric: ``score`` for every task's own metric, or the name of one of its others (``choice_probability``).
        part: a cluster or a task of the suite, whose mean alone counts; ``""`` for the whole suite.
    """

    suite: str
    metric: str
    part: str = ""

    def __str__(self) -> str:
        return "/".join(word for word in (self.suite, self.metric, self.part) if word)

    @property
    def higher_is_better(self) -> bool:
        """The direction of the metric."""
        return self.metric not in LOWER_IS_BETTER


def parse_objective(text: str) -> Objective:
    """Reads ``SUITE/METRIC`` or ``SUITE/METRIC/CLUSTER``, the last also a task.

    >>> parse_objective("held_out/choice_probability")
    Objective(suite='held_out', metric='choice_probability', part='')

    Raises:
        UserError: it is neither.
    """
    words = text.split("/", 2)
    if len(words) < 2 or not all(words):
        raise UserError(
            f"The objective {text!r} names no suite and metric. Write SUITE/METRIC, such as {DEFAULT}, or SUITE/METRIC/CLUSTER."
        )
    return Objective(*words)


def check_measured(objective: Objective, config: RunConfig) -> None:
    """Makes sure that the runs of a study measure what they are compared by.

    Whether a task has the metric is known when it is measured.

    Args:
        objective: of the study.
        config: its base run; all its runs measure the same.

    Raises:
        UserError: no run measures that suite, or that cluster or task of it.
    """
    suffix = config.evaluation.suite_suffix
    suites = {f"{suite.name}{suffix}": suite.tasks for suite in run_suites(run_mixture(config), config.evaluation)}
    if not suites:
        raise UserError(
            f"study.objective is {str(objective)!r}, and the runs measure no suite. Let them measure the one that it names."
        )
    if objective.suite not in suites:
        raise unknown("suite of study.objective", objective.suite, suites)
    tasks = suites[objective.suite]
    if objective.part and objective.part not in (
        known := {name for task in tasks for name in (task.name, task.cluster)}
    ):
        raise unknown(f"cluster or task of study.objective in the suite {objective.suite!r}", objective.part, known)


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean over tasks.

    Attributes:
        cluster: whose tasks they are; ``""`` for the mean over clusters.
        metric: of which.
        value: the mean.
        tasks: number of tasks that have the metric.
        n: examples of these tasks.
        interval: 95%, over other tasks of the same clusters and their examples; ``None`` where no cluster has two tasks.
    """

    cluster: str
    metric: str
    value: float
    tasks: int
    n: int
    interval: tuple[float, float] | None = None


def metrics_of(result: TaskResult) -> dict[str, float]:
    """Returns every number that was computed of a task, by the name of its metric; its own one also as ``score``.

    A value on a scale of its own (``native_scale``) is no ``score``: it is averaged with no other.
    """
    found = {name: float(value) for name, value in result.metrics.items() if not isinstance(value, str)}
    found[result.metric] = result.value
    if not result.native_scale:
        found[SCORE] = result.value
    return {name: value for name, value in found.items() if math.isfinite(value)}


def means(results: Sequence[TaskResult]) -> Iterator[Mean]:
    """Yields the means of a suite's clusters, and of the clusters' means, by every metric.

    A task that does not have a metric is in none of its means, and a cluster without any such task is not either; a
    reader sees by ``tasks`` of how many a mean is.

    Scores of tasks hold the chance of their examples, so that their spread within clusters, pooled over the suite's,
    says how far a mean over tasks is off by both: intervals are those of t. They may reach past the metric's ends.
    """
    scored = [(result, metrics_of(result)) for result in results]
    for metric in dict.fromkeys(name for _, found in scored for name in found):
        clusters: dict[str, list[tuple[float, int]]] = {}
        for result, found in scored:
            if metric in found:
                clusters.setdefault(result.cluster, []).append((found[metric], result.n))
        of_clusters = [_mean(cluster, metric, own) for cluster, own in clusters.items()]
        spread = _spread([[value for value, _ in own] for own in clusters.values()])
        yield from (_with_interval(mean, spread, 1 / mean.tasks) for mean in of_clusters)
        whole = Mean(
            "",
            metric,
            _average(mean.value for mean in of_clusters),
            sum(mean.tasks for mean in of_clusters),
            sum(mean.n for mean in of_clusters),
        )
        yield _with_interval(whole, spread, sum(1 / mean.tasks for mean in of_clusters) / len(of_clusters) ** 2)


def _mean(cluster: str, metric: str, own: Sequence[tuple[float, int]]) -> Mean:
    return Mean(cluster, metric, _average(value for value, _ in own), len(own), sum(n for _, n in own))


def _spread(clusters: Sequence[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation of tasks within clusters, pooled, and its degrees of freedom."""
    freedom = sum(len(own) - 1 for own in clusters)
    squares = math.fsum((value - _average(own)) ** 2 for own in clusters for value in own)
    return math.sqrt(squares / freedom) if freedom else math.nan, freedom


def _with_interval(mean: Mean, spread: tuple[float, int], share: float) -> Mean:
    """Adds the interval of a mean whose variance is ``share`` of that of a task within its cluster."""
    deviation, freedom = spread
    if not freedom:
        return mean
    half = _t(freedom) * deviation * math.sqrt(share)
    return dataclasses.replace(mean, interval=(mean.value - half, mean.value + half))


@functools.cache
def _t(freedom: int) -> float:
    """The t value of a 95% interval."""
    import scipy.stats

    return float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom))


def _average(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)
