"""Change of a score between two evaluations of the same examples, with an interval of the paired differences."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.eval.examples import TaskResult
from flan_jax.eval.statistics.intervals import suite_intervals
from flan_jax.eval.statistics.levels import DEFAULT_LEVELS
from flan_jax.eval.statistics.paired import paired_scores
from flan_jax.eval.statistics.sample import TaskSample
from flan_jax.report.predictions import TaskPredictions

_CLOSE = 1e-6


def task_delta(
    before: TaskResult | None, after: TaskResult, answers: tuple[TaskPredictions | None, TaskPredictions | None]
) -> dict[str, Any] | None:
    """The change of a task's score, ``{"value", "interval", "n"}``; ``None`` where there is no score before.

    The interval is ``None`` where no pairs are known: other examples, predictions that are missing, a metric that is
    no mean over examples.
    """
    if before is None or not (math.isfinite(before.value) and math.isfinite(after.value)):
        return None
    if before.metric != after.metric or before.native_scale != after.native_scale:
        return None
    sample = paired_sample(before, after, answers)
    return {
        "value": after.value - before.value,
        "interval": None if sample is None else suite_intervals([sample])[DEFAULT_LEVELS],
        "n": after.n,
    }


def suite_delta(
    before: Mapping[str, TaskResult],
    after: Sequence[TaskResult],
    answers: tuple[Mapping[str, TaskPredictions], Mapping[str, TaskPredictions]],
) -> dict[str, Any] | None:
    """The change of the mean over those tasks of a suite that both evaluations measured, as ``task_delta`` has it.

    ``tasks`` says over how many the mean runs.
    """
    both = [r for r in after if r.name in before and not r.native_scale and not before[r.name].native_scale]
    both = [r for r in both if math.isfinite(r.value) and math.isfinite(before[r.name].value)]
    if not both:
        return None
    samples = [paired_sample(before[r.name], r, (answers[0].get(r.name), answers[1].get(r.name))) for r in both]
    known = [sample for sample in samples if sample is not None]
    return {
        "value": float(np.mean([r.value - before[r.name].value for r in both])),
        "interval": suite_intervals(known)[DEFAULT_LEVELS] if len(known) == len(both) else None,
        "n": sum(r.n for r in both),
        "tasks": len(both),
    }


def paired_sample(
    before: TaskResult, after: TaskResult, answers: tuple[TaskPredictions | None, TaskPredictions | None]
) -> TaskSample | None:
    """The differences of scores; ``None`` where they are not known for all examples, or do not make up the metric."""
    then, now = answers
    if then is None or now is None or not now.scores or then.scores.keys() != now.scores.keys():
        return None
    first, second = [then.scores[key] for key in now.scores], list(now.scores.values())
    # Of a metric that is no mean over examples, such as a corpus BLEU, the examples' scores say nothing.
    if abs(np.mean(first) - before.value) > _CLOSE or abs(np.mean(second) - after.value) > _CLOSE:
        return None
    examples, templates = zip(*now.scores, strict=True)
    names = {"name": after.name, "cluster": after.cluster}
    return paired_scores(first, second, **names, templates=templates, examples=examples).difference
