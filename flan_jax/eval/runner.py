"""``evaluate(predictor, tasks)``: predictions for pooled examples, regrouped into task results."""

import collections
import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from flan_jax.eval import bootstrap
from flan_jax.eval.examples import EvalExample, EvalTask, Prediction, TaskResult
from flan_jax.eval.metrics import METRICS, Metric

Advance = Callable[[int], None]
"""Called with the number of examples finished since the last call."""


class Progress(Protocol):
    """Shows people how far an evaluation is."""

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` examples are predicted."""


class Predicts(Protocol):
    """What can be evaluated. ``flan_jax.eval.predictor.Predictor`` is a model that can."""

    def rank(self, examples: Sequence[EvalExample], advance: Advance) -> list[np.ndarray]:
        """For each example, the log-likelihood (nats) of each of its options, ``[options]``."""

    def generate(self, examples: Sequence[EvalExample], advance: Advance) -> list[str]:
        """For each example, the text that the model writes."""


def evaluate(
    predictor: Predicts, tasks: Sequence[EvalTask], *, progress: Progress | None = None, seed: int = 0
) -> list[TaskResult]:
    """Measures every task.

    The examples of all tasks go to the predictor as one pool of each kind, so that it may sort
    and batch across tasks; results come back in the order of ``tasks``.

    Args:
        predictor: answers the examples.
        tasks: what to measure.
        progress: told after every batch.
        seed: of the bootstrap.

    Raises:
        UserError: a task with an unknown metric; before anything is predicted.
    """
    metrics = [METRICS.get(task.metric) for task in tasks]
    ranked = [example for task in tasks if task.predict == "rank" for example in task.examples]
    written = [example for task in tasks if task.predict == "generate" for example in task.examples]
    done, total = 0, len(ranked) + len(written)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    scores = iter(predictor.rank(ranked, advance) if ranked else [])
    texts = iter(predictor.generate(written, advance) if written else [])
    results = []
    for task, metric in zip(tasks, metrics, strict=True):
        if task.predict == "rank":
            option_scores = [next(scores) for _ in task.examples]
            answers = [_choice(example, row) for example, row in zip(task.examples, option_scores, strict=True)]
        else:
            option_scores = [np.zeros(0)] * len(task.examples)
            answers = [next(texts) for _ in task.examples]
        results.append(_result(task, metric, answers, option_scores, seed))
    return results


def chance(task: EvalTask) -> float:
    """What guessing uniformly gives: the mean share of right options; 0 where text is generated."""
    if task.predict == "generate":
        return 0.0
    right = (sum(option in e.references for option in e.options) / len(e.options) for e in task.examples)
    return math.fsum(right) / len(task.examples)


def majority(task: EvalTask, metric: Metric) -> float:
    """The score of always answering the accepted answer that occurs most often in the task."""
    counts = collections.Counter(answer for example in task.examples for answer in set(example.references))
    # Ties go to the answer that sorts first, so that the number does not depend on set order.
    answer = min(counts, key=lambda text: (-counts[text], text))
    return metric([answer] * len(task.examples), [example.references for example in task.examples])


def _choice(example: EvalExample, scores: np.ndarray) -> str:
    """The option with the highest score (the first of equals), or ``""`` for scores that are not numbers."""
    return example.options[int(np.argmax(scores))] if np.isfinite(scores).all() else ""


def _result(
    task: EvalTask, metric: Metric, answers: Sequence[str], option_scores: Sequence[np.ndarray], seed: int
) -> TaskResult:
    statistics = metric.statistics(answers, [example.references for example in task.examples])
    by_template: dict[int, list[int]] = {}
    for row, example in enumerate(task.examples):
        by_template.setdefault(example.template_id, []).append(row)
    predictions = tuple(
        Prediction(
            example_id=example.example_id,
            template_id=example.template_id,
            inputs=example.inputs_text,
            options=example.options,
            references=example.references,
            prediction=answer,
            option_scores=tuple(row.tolist()),
            score=float(score),
        )
        for example, answer, row, score in zip(
            task.examples, answers, option_scores, metric.example_scores(statistics), strict=True
        )
    )
    return TaskResult(
        name=task.name,
        cluster=task.cluster,
        metric=task.metric,
        predict=task.predict,
        value=metric.of(statistics),
        chance=chance(task),
        majority=majority(task, metric),
        interval=bootstrap.interval(metric, statistics, name=task.name, seed=seed),
        n=len(task.examples),
        per_template={template: metric.of(statistics[rows]) for template, rows in sorted(by_template.items())},
        predictions=predictions,
        statistics=statistics,
        notes=tuple(_notes(option_scores)),
    )


def _notes(option_scores: Sequence[np.ndarray]) -> list[str]:
    notes = []
    broken = sum(not np.isfinite(row).all() for row in option_scores)
    if broken:
        notes.append(f"{broken} examples have option scores that are not numbers; they count as wrong.")
    tied = sum(bool(len(row)) and int((row == row.max()).sum()) > 1 for row in option_scores)
    if tied:
        notes.append(
            f"{tied} examples have equal best scores, and the first such option was taken: "
            "the vocabulary may be unable to tell the options apart."
        )
    return notes
