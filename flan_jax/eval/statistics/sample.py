"""``TaskSample``: the measured rows of one task, with what resampling must keep together."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan_jax.eval.metrics.metric import Metric


@dataclasses.dataclass(frozen=True, eq=False)
class TaskSample:
    """The rows that a task's score is computed from.

    Attributes:
        name: the task.
        cluster: its cluster.
        metric: gives the score of any rows.
        rows: ``[n, k]``, the metric's sufficient statistics: one row an example, or one a group of a metric of groups.
        templates: ``[n]``, the template of each row; ``None`` where rows have none, or a group has several.
        examples: ``[n]``, the record of each row; rows of one record vary together. ``None``: each row is its own.
    """

    name: str
    cluster: str
    metric: Metric
    rows: np.ndarray
    templates: np.ndarray | None = None
    examples: np.ndarray | None = None

    @property
    def value(self) -> float:
        """The score of all rows."""
        return self.metric.of(self.rows)

    @property
    def records(self) -> int:
        """The number of records, or of groups."""
        return len(self.rows) if self.examples is None else len(np.unique(self.examples))

    @property
    def has_repeats(self) -> bool:
        """Tells whether records occur in several rows."""
        return self.records < len(self.rows)

    @property
    def is_crossed(self) -> bool:
        """Tells whether records occur under several templates."""
        if self.templates is None or self.examples is None or not self.has_repeats:
            return False
        pairs = np.unique(np.stack([self.examples, self.templates]), axis=1)
        return pairs.shape[1] > len(np.unique(self.examples))

    def cells(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The score of each pair of record and template of a metric that is a mean, the mean where it was asked several times.

        Returns:
            Scores, templates and records, ``[pairs]`` each.
        """
        assert self.templates is not None
        records = np.arange(len(self.rows)) if self.examples is None else self.examples
        pairs, place, times = np.unique(
            np.stack([records, self.templates]), axis=1, return_inverse=True, return_counts=True
        )
        return np.bincount(place, self.rows[:, 0], len(times)) / times, pairs[1], pairs[0]

    @property
    def has_templates(self) -> bool:
        """Tells whether there are at least two templates to resample."""
        return self.templates is not None and len(np.unique(self.templates)) > 1


def task_sample(
    metric: Metric,
    rows: np.ndarray,
    *,
    name: str,
    cluster: str,
    templates: Sequence[int],
    examples: Sequence[int],
    groups: Sequence[str] | None = None,
) -> TaskSample:
    """Makes the sample of a task of the statistics of its examples.

    Args:
        metric: of the task.
        rows: ``[n, k]``, one row an example.
        name: the task.
        cluster: its cluster.
        templates: of each example.
        examples: the record of each example.
        groups: of each example, for metrics of groups, whose rows are sums over a group.
    """
    template_ids, example_ids = np.asarray(templates, np.int64), np.asarray(examples, np.int64)
    if metric.by_group is None:
        return TaskSample(name, cluster, metric, rows, template_ids, example_ids)
    numbers = metric.group_numbers(groups, len(rows))
    units = metric.units(rows, groups)
    first = np.zeros(len(units), np.int64)
    first[numbers[::-1]] = template_ids[::-1]
    # Groups whose answers were asked in several ways belong to no template.
    whole = bool((first[numbers] == template_ids).all())
    return TaskSample(name, cluster, metric, units, first if whole else None)
