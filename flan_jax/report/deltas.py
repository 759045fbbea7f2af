"""Differences of scores between two evaluations of the same examples, with a paired bootstrap interval.

Both evaluations answered the same examples, and their scores go together: where one finds an example hard, so mostly
does the other. Resampling the differences, rather than the two scores apart, keeps that and gives narrower intervals
(Efron and Tibshirani 1993, chapter 8).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.eval.examples import TaskResult
from flan_jax.report.predictions import TaskPredictions
from flan_jax.tasks.hashing import counter_hash

RESAMPLES = 2000
_LEVEL = 0.95
_CLOSE = 1e-6
_CHUNK = 1 << 22


def task_delta(
    before: TaskResult | None, after: TaskResult, answers: tuple[TaskPredictions | None, TaskPredictions | None]
) -> Any:
    """The change of a task's score, ``{"value", "interval", "n"}``; ``None`` where there is no score before.

    The interval is ``None`` where no pairs are known: other examples, predictions that are missing, a metric that is
    no mean over examples.
    """
    if before is None or not (math.isfinite(before.value) and math.isfinite(after.value)):
        return None
    if before.metric != after.metric or before.native_scale != after.native_scale:
        return None
    value = after.value - before.value
    differences = paired_differences(before, after, answers)
    resampled = None if differences is None else resampled_means(differences, name=after.name)
    return {"value": value, "interval": _percentiles(resampled), "n": after.n}


def suite_delta(
    before: Mapping[str, TaskResult],
    after: Sequence[TaskResult],
    answers: tuple[Mapping[str, TaskPredictions], Mapping[str, TaskPredictions]],
) -> Any:
    """The change of the mean over those tasks of a suite that both evaluations measured, as ``task_delta`` has it.

    Examples are resampled within each task. ``tasks`` says over how many the mean runs.
    """
    both = [r for r in after if r.name in before and not r.native_scale and not before[r.name].native_scale]
    both = [r for r in both if math.isfinite(r.value) and math.isfinite(before[r.name].value)]
    if not both:
        return None
    means: list[np.ndarray] | None = []
    for result in both:
        pair = (answers[0].get(result.name), answers[1].get(result.name))
        differences = paired_differences(before[result.name], result, pair)
        if differences is None:
            means = None
            break
        assert means is not None
        means.append(resampled_means(differences, name=result.name))
    value = float(np.mean([r.value - before[r.name].value for r in both]))
    resampled = None if means is None else np.mean(means, axis=0)
    return {"value": value, "interval": _percentiles(resampled), "n": sum(r.n for r in both), "tasks": len(both)}


def paired_differences(
    before: TaskResult, after: TaskResult, answers: tuple[TaskPredictions | None, TaskPredictions | None]
) -> np.ndarray | None:
    """Differences of scores, ``[n]``; ``None`` where they are not known for all examples, or do not make up the metric."""
    then, now = answers
    if then is None or now is None or not now.scores or then.scores.keys() != now.scores.keys():
        return None
    first = np.array([then.scores[key] for key in now.scores])
    second = np.array(list(now.scores.values()))
    # Of a metric that is no mean over examples, such as a corpus BLEU, the examples' scores say nothing.
    if abs(first.mean() - before.value) > _CLOSE or abs(second.mean() - after.value) > _CLOSE:
        return None
    return second - first


def resampled_means(differences: np.ndarray, *, name: str) -> np.ndarray:
    """Means of ``RESAMPLES`` draws of n differences with replacement, ``[RESAMPLES]``.

    How often each value is drawn is multinomial, so that a hundred thousand differences of three values cost as little
    as three.

    Args:
        differences: ``[n]``, n at least 1.
        name: what tells this draw from others.
    """
    values, counts = np.unique(differences, return_counts=True)
    generator = np.random.Generator(np.random.Philox(key=counter_hash("report delta", 0, name)))
    shares = counts / counts.sum()
    chunk = max(1, _CHUNK // len(values))
    parts = [
        generator.multinomial(len(differences), shares, size=min(chunk, RESAMPLES - start)) @ values
        for start in range(0, RESAMPLES, chunk)
    ]
    return np.concatenate(parts) / len(differences)


def _percentiles(resampled: np.ndarray | None) -> list[float] | None:
    if resampled is None:
        return None
    low, high = np.quantile(resampled, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return [float(low), float(high)]
