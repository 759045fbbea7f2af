"""``evaluate(predictor, tasks)``: predictions for pooled examples, regrouped into task results."""

import collections
import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from flan_jax.eval import bootstrap, measures
from flan_jax.eval.examples import EvalExample, EvalTask, Prediction, TaskResult
from flan_jax.eval.metric import Metric
from flan_jax.eval.metrics import METRICS

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

    def score(self, examples: Sequence[EvalExample], advance: Advance) -> np.ndarray:
        """For each example, the log-likelihood (nats) of its target, ``[n]``."""


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
    metrics = [None if task.measure is not None else METRICS.get(task.metric) for task in tasks]
    for name in dict.fromkeys(name for task in tasks for name in task.other_metrics):
        METRICS.get(name)
    ranked, written, scored = (_pool(tasks, wanted) for wanted in ("rank", "text", "score"))
    done, total = 0, len(ranked) + len(written) + len(scored)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    option_scores = iter(predictor.rank(ranked, advance) if ranked else [])
    texts = iter(predictor.generate(written, advance) if written else [])
    scores = iter(predictor.score(scored, advance) if scored else [])
    results = []
    for task, metric in zip(tasks, metrics, strict=True):
        count = len(task.examples)
        if metric is None:
            answers = [next(texts) for _ in range(count)] if "text" in _outputs(task) else []
            likelihoods = [next(scores) for _ in range(count)] if "score" in _outputs(task) else []
            results.append(_measured(task, answers, np.asarray(likelihoods, np.float64), seed))
        elif task.predict == "rank":
            rows = [next(option_scores) for _ in range(count)]
            answers = [_choice(example, row) for example, row in zip(task.examples, rows, strict=True)]
            results.append(_result(task, metric, answers, rows, seed))
        else:
            results.append(_result(task, metric, [next(texts) for _ in range(count)], [np.zeros(0)] * count, seed))
    return results


def _outputs(task: EvalTask) -> frozenset[str]:
    """What the model must give for the task's examples."""
    if task.measure is not None:
        return task.measure.outputs
    return frozenset(["rank" if task.predict == "rank" else "text"])


def _pool(tasks: Sequence[EvalTask], wanted: str) -> list[EvalExample]:
    return [example for task in tasks if wanted in _outputs(task) for example in task.examples]


def chance(task: EvalTask) -> float:
    """What guessing uniformly gives: the metric of the expected statistics; 0 where text is generated.

    Of a metric that is a mean, it is the expected score: for accuracy, the mean share of right options.
    """
    if task.predict == "generate":
        return 0.0
    metric = METRICS.get(task.metric)
    counts = [len(example.options) for example in task.examples]
    guesses = [option for example in task.examples for option in example.options]
    references = [example.references for example in task.examples for _ in example.options]
    shares = np.repeat(1 / np.asarray(counts, np.float64), counts)
    expected = (metric.statistics(guesses, references) * shares[:, None]).sum(axis=0)
    return float(metric.aggregate(expected, len(counts)))


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
    references = [example.references for example in task.examples]
    statistics = metric.statistics(answers, references)
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
        metrics={name: METRICS.get(name)(answers, references) for name in task.other_metrics if name != task.metric},
    )


def _measured(task: EvalTask, answers: Sequence[str], scores: np.ndarray, seed: int) -> TaskResult:
    """The result of a task that brings its measure along."""
    measure = task.measure
    assert measure is not None
    count = len(task.examples)
    values = dict(measure(np.arange(count), answers, scores))
    metric, value = measures.headline(values)
    notes = [*measure.notes, "The values are those of the task's own metric functions, on their scale."]
    interval = None
    if math.isfinite(value):
        interval, note = measures.interval(
            measure, answers, scores, count=count, metric=metric, name=task.name, seed=seed
        )
        notes.append(note)
    else:
        notes.append(f"{metric} is not a finite number." if metric else "No metric function returned a number.")
    predictions = tuple(
        Prediction(
            example_id=example.example_id,
            template_id=example.template_id,
            inputs=example.inputs_text,
            options=(),
            references=example.references,
            prediction=answers[row] if answers else "",
            option_scores=(),
            score=float(measure.right(row, answers[row])) if answers else 0.0,
            log_likelihood=float(scores[row]) if len(scores) else None,
        )
        for row, example in enumerate(task.examples)
    )
    return TaskResult(
        name=task.name,
        cluster=task.cluster,
        metric=metric,
        predict=task.predict,
        value=value,
        chance=0.0,
        majority=0.0,
        interval=interval,
        n=count,
        per_template={0: value},
        predictions=predictions,
        notes=tuple(notes),
        metrics=values,
        as_given=True,
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
