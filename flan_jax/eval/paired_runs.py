"""Pairs the saved predictions of two evaluations, of one run or of two, and refuses what was not asked alike."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flan_jax.errors import UserError, unknown
from flan_jax.eval.examples import Prediction, TaskResult
from flan_jax.eval.metrics.metric import Metric
from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.results import read_predictions, read_results
from flan_jax.eval.same_examples import unlike_examples
from flan_jax.eval.statistics.paired import PairedComparison, PairedTask, Swapped, compare, paired_scores
from flan_jax.eval.statistics.sample import TaskSample, task_sample

# Values in results.json and those computed from the predictions beside it may differ by rounding.
_SAME_VALUE = 1e-6


@dataclasses.dataclass(frozen=True)
class Measured:
    """One side of a comparison: MODEL_DIR and the step of its evaluation."""

    folder: Path
    step: int


def compare_runs(
    first: Measured, second: Measured, suite: str, *, swapped: Swapped = "example", seed: int = 0
) -> tuple[PairedComparison, list[str]]:
    """Compares two evaluations on the tasks of a suite.

    Args:
        first: the side that is subtracted.
        second: the other.
        suite: measured in both.
        swapped: as in ``flan_jax.eval.statistics.paired.compare``.
        seed: of resamples and swaps.

    Returns:
        The comparison, and what a reader must know of it, a sentence each.

    Raises:
        UserError: results that are not there, other tasks or other examples on the two sides, or no task that can be
            compared.
    """
    sides = [_suite(side, suite) for side in (first, second)]
    _check_tasks(first, second, suite, *sides)
    pairs, notes = [], []
    for name, result in sides[0].items():
        if result.native_scale:
            notes.append(f"{name} is left out: its scores are on a scale of its own, and have no single examples.")
            continue
        predictions = [list(read_predictions(side.folder, side.step, name)) for side in (first, second)]
        pair, note = paired_task(predictions[0], predictions[1], (result, sides[1][name]))
        pairs.append(pair)
        notes += [note] if note else []
    if not pairs:
        raise UserError(f"Suite {suite!r} has no task whose examples have scores, so nothing can be compared.")
    return compare(pairs, name=suite, swapped=swapped, seed=seed), notes


def paired_task(
    first: Sequence[Prediction], second: Sequence[Prediction], results: tuple[TaskResult, TaskResult]
) -> tuple[PairedTask, str]:
    """Pairs the predictions of a task.

    Args:
        first, second: predictions of the same examples.
        results: what the two sides say of the task.

    Returns:
        The pair, and a note where it is not the task's metric that is compared.

    Raises:
        UserError: the sides did not answer the same examples, or were scored by different metrics.
    """
    name, metric_name = results[0].name, results[0].metric
    if metric_name != results[1].metric:
        raise UserError(
            f"Task {name!r} was scored by {metric_name} in one run and by {results[1].metric} in the other. "
            "Evaluate both again with one metric."
        )
    unlike = unlike_examples(first, second)
    if unlike:
        raise UserError(
            f"Task {name!r} cannot be compared: {unlike}. Evaluate both runs on the same examples and prompts."
        )
    scores = [np.asarray([prediction.score for prediction in own], np.float64) for own in (first, second)]
    metric = METRICS.get(metric_name)
    ids = [p.example_id for p in first]
    by_score = paired_scores(
        scores[0], scores[1], name=name, cluster=results[0].cluster, templates=[p.template_id for p in first],
        examples=ids,
    )  # fmt: skip
    if metric.is_mean and metric.by_group is None:
        return by_score, ""
    samples = [_sample(metric, own, results[0]) for own in (first, second)]
    for sample, result in zip(samples, results, strict=True):
        if not math.isclose(sample.value, result.value, abs_tol=_SAME_VALUE):
            return by_score, (
                f"{name}: the mean score of single examples is compared, as {metric_name} cannot be computed "
                "from the saved predictions."
            )
    return PairedTask(samples[0], samples[1], scores[0], scores[1]), ""


def _sample(metric: Metric, predictions: Sequence[Prediction], result: TaskResult) -> TaskSample:
    rows = metric.statistics([p.prediction for p in predictions], [p.references for p in predictions])
    return task_sample(
        metric,
        rows,
        name=result.name,
        cluster=result.cluster,
        templates=[p.template_id for p in predictions],
        examples=[p.example_id for p in predictions],
        groups=[p.group for p in predictions],
    )


def _suite(side: Measured, suite: str) -> dict[str, TaskResult]:
    results = read_results(side.folder, side.step)
    if suite not in results.suites:
        raise unknown("suite", suite, results.suites)
    return {result.name: result for result in results.suites[suite]}


def _check_tasks(
    first: Measured,
    second: Measured,
    suite: str,
    mine: dict[str, TaskResult],
    theirs: dict[str, TaskResult],
) -> None:
    alone = [sorted(set(one) - set(other)) for one, other in ((mine, theirs), (theirs, mine))]
    for names, side in zip(alone, (first, second), strict=True):
        if names:
            some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise UserError(
                f"Suite {suite!r} has {len(names)} task(s) only at step {side.step} of {side.folder}: {some}. "
                "Evaluate both runs on the same tasks."
            )
