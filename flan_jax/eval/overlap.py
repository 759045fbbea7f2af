"""Scores of clean and of overlapping examples: what a task's score would be without what was trained on."""

from collections.abc import Mapping, Sequence

import numpy as np

from flan_jax.eval.metrics.metric import Metric
from flan_jax.eval.statistics.intervals import task_intervals
from flan_jax.eval.statistics.levels import DEFAULT_LEVELS
from flan_jax.eval.statistics.sample import TaskSample

DEFINITIONS = ("exact", "normalized", "ngram")
"""Of overlap, each wider than the one before: an example that overlaps by one overlaps by those behind it."""
SHORT = "short"
"""The label of an example of too few words to tell, and the part of them."""

PartScore = Mapping[str, float | int | list[float] | None]
"""``n`` examples, their ``value`` and its 95% ``interval``; the last two ``None`` of no examples."""


def overlap_scores(
    metric: Metric, rows: np.ndarray, groups: Sequence[str], labels: Sequence[str], *, name: str, seed: int = 0
) -> dict[str, dict[str, PartScore]]:
    """Computes the score of the clean and of the overlapping examples, for each definition of overlap.

    Args:
        metric: of the task.
        rows: its statistics ``[n, k]``, one row an example.
        groups: of each example. One of a group of several overlaps where another of it does.
        labels: of each example: the narrowest definition by which it overlaps, or ``clean``, or ``short``; ``""`` where
            nobody looked.
        name: what tells this draw of resamples from others.
        seed: of the resamples.

    Returns:
        definition → ``clean``, ``overlapping`` and ``short`` → their score; ``{}`` where an example was not looked for.
    """
    if not all(labels):
        return {}
    found: dict[str, dict[str, PartScore]] = {}
    for last, definition in enumerate(DEFINITIONS, 1):
        over = np.asarray([label in DEFINITIONS[:last] for label in labels])
        with_one = {group for group, hit in zip(groups, over.tolist(), strict=True) if hit and group}
        over |= np.asarray([group in with_one for group in groups])
        unknown = np.asarray([label == SHORT for label in labels]) & ~over
        parts = {
            "clean": np.flatnonzero(~over & ~unknown),
            "overlapping": np.flatnonzero(over),
            SHORT: np.flatnonzero(unknown),
        }
        found[definition] = {
            part: _score(metric, rows[own], [groups[row] for row in own.tolist()], f"{name} {definition} {part}", seed)
            for part, own in parts.items()
        }
    return found


def _score(metric: Metric, rows: np.ndarray, groups: Sequence[str], name: str, seed: int) -> PartScore:
    if not len(rows):
        return {"n": 0, "value": None, "interval": None}
    statistics = metric.units(rows, groups)
    interval = task_intervals(TaskSample(name, "", metric, statistics), seed=seed)[DEFAULT_LEVELS]
    return {"n": len(rows), "value": metric.of(statistics), "interval": list(interval)}
