"""``evaluate(model, tasks)``: requests of all tasks pooled by kind, answered by a ``LanguageModel``, scored by task."""

import collections
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from flan_jax.eval.examples import EvalExample, EvalTask, Prediction, TaskResult
from flan_jax.eval.language_model import LanguageModel
from flan_jax.eval.metrics.metric import Metric
from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.metrics.task_metrics import headline, resampled_interval
from flan_jax.eval.overlap import overlap_scores
from flan_jax.eval.statistics.intervals import task_intervals
from flan_jax.eval.statistics.levels import DEFAULT_LEVELS
from flan_jax.eval.statistics.sample import task_sample
from flan_jax.eval.statistics.template_distribution import sample_templates


class EvalProgress(Protocol):
    """Shows people how far an evaluation is."""

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` examples are predicted."""


def evaluate(
    predictor: LanguageModel, tasks: Sequence[EvalTask], *, progress: EvalProgress | None = None, seed: int = 0
) -> list[TaskResult]:
    """Evaluates every task.

    The examples of all tasks go to the predictor as one pool of each kind, so that it may sort
    and batch across tasks; results come back in the order of ``tasks``.

    Args:
        predictor: the model.
        tasks: what to evaluate.
        progress: told after every batch.
        seed: of the bootstrap.

    Raises:
        UserError: a task with an unknown metric; before anything is predicted.
    """
    metrics = [None if task.task_metrics is not None else METRICS.get(task.metric) for task in tasks]
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
    scores = iter(predictor.loglikelihood(scored, advance) if scored else [])
    results = []
    for task, metric in zip(tasks, metrics, strict=True):
        count = len(task.examples)
        if metric is None:
            answers = [next(texts) for _ in range(count)] if "text" in _outputs(task) else []
            likelihoods = [next(scores) for _ in range(count)] if "score" in _outputs(task) else []
            results.append(_result_of_task_metrics(task, answers, np.asarray(likelihoods, np.float64), seed))
        elif task.predict == "rank":
            rows = [next(option_scores) for _ in range(count)]
            answers = [_choice(example, row) for example, row in zip(task.examples, rows, strict=True)]
            notes = predictor.rank_notes(task.examples)
            results.append(_result(task, metric, answers, rows, seed, notes))
        else:
            results.append(_result(task, metric, [next(texts) for _ in range(count)], [np.zeros(0)] * count, seed))
    return results


def _outputs(task: EvalTask) -> frozenset[str]:
    """The kinds of request that the task makes: ``rank``, ``text`` or ``score``."""
    if task.task_metrics is not None:
        return task.task_metrics.outputs
    return frozenset(["rank" if task.predict == "rank" else "text"])


def _pool(tasks: Sequence[EvalTask], wanted: str) -> list[EvalExample]:
    return [example for task in tasks if wanted in _outputs(task) for example in task.examples]


def chance(task: EvalTask) -> float:
    """Computes the score of guessing uniformly: the metric of the expected statistics; 0 where text is generated.

    Of a metric that is a mean, it is the expected score: for accuracy, the mean share of right options.
    """
    if task.predict == "generate":
        return 0.0
    metric = METRICS.get(task.metric)
    counts = np.asarray([len(example.options) for example in task.examples], np.int64)
    guesses = [example.strip_ending(option) for example in task.examples for option in example.options]
    references = [own for example, own in zip(task.examples, _references(task), strict=True) for _ in example.options]
    shares = np.repeat(1 / counts, counts)
    statistics = metric.statistics(guesses, references) * shares[:, None]
    starts = np.cumsum(counts) - counts
    expected = metric.units(np.add.reduceat(statistics, starts, axis=0), _groups(task))
    return float(metric.aggregate(expected.sum(axis=0), len(expected)))


def majority(task: EvalTask, metric: Metric) -> float:
    """Computes the score of always giving the accepted answer that occurs most often in the task."""
    references = _references(task)
    counts = collections.Counter(answer for accepted in references for answer in set(accepted))
    # Ties go to the answer that sorts first, so that the number does not depend on set order.
    answer = min(counts, key=lambda text: (-counts[text], text))
    return metric([answer] * len(references), references, _groups(task))


def _references(task: EvalTask) -> list[tuple[str, ...]]:
    """Of each example, what metrics compare of its accepted answers."""
    return [tuple(map(example.strip_ending, example.references)) for example in task.examples]


def _groups(task: EvalTask) -> list[str]:
    return [example.group for example in task.examples]


def _choice(example: EvalExample, scores: np.ndarray) -> str:
    """The option with the highest score (the first of equals), or ``""`` for scores that are not numbers."""
    return example.options[int(np.argmax(scores))] if np.isfinite(scores).all() else ""


def _result(
    task: EvalTask,
    metric: Metric,
    answers: Sequence[str],
    option_scores: Sequence[np.ndarray],
    seed: int,
    notes: Sequence[str] = (),
) -> TaskResult:
    references, groups = _references(task), _groups(task)
    labels = [example.overlap for example in task.examples]
    compared = [example.strip_ending(answer) for example, answer in zip(task.examples, answers, strict=True)]
    rows = metric.statistics(compared, references)
    sample = task_sample(
        metric,
        rows,
        name=task.name,
        cluster=task.cluster,
        templates=[example.template_id for example in task.examples],
        examples=[example.example_id for example in task.examples],
        groups=groups,
    )
    intervals = task_intervals(sample, seed=seed)
    templates = sample_templates(sample, seed=seed)
    by_template: dict[int, list[int]] = {}
    for row, example in enumerate(task.examples):
        by_template.setdefault(example.template_id, []).append(row)
    per_template = {
        template: metric.of(metric.units(rows[own], [groups[row] for row in own]))
        for template, own in sorted(by_template.items())
    }
    others = {name: METRICS.get(name) for name in task.other_metrics if name != task.metric}
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
            group=example.group,
            overlap=example.overlap,
        )
        for example, answer, row, score in zip(
            task.examples, answers, option_scores, metric.example_scores(rows), strict=True
        )
    )
    return TaskResult(
        name=task.name,
        cluster=task.cluster,
        metric=task.metric,
        predict=task.predict,
        value=sample.value,
        chance=chance(task),
        majority=majority(task, metric),
        interval=intervals[DEFAULT_LEVELS],
        n=len(task.examples),
        per_template=per_template,
        predictions=predictions,
        sample=sample,
        intervals=intervals,
        template_quantiles={} if templates is None else templates.quantiles,
        template_summary={} if templates is None else templates.summary,
        notes=(
            *task.notes,
            *notes,
            *_notes(option_scores),
            *_group_notes([metric, *others.values()], groups),
            *_signatures([metric, *others.values()], references),
        ),
        metrics={name: other(compared, references, groups) for name, other in others.items()},
        by_overlap=overlap_scores(metric, rows, groups, labels, name=task.name, seed=seed),
    )


def _result_of_task_metrics(task: EvalTask, answers: Sequence[str], scores: np.ndarray, seed: int) -> TaskResult:
    """The result of a task that is scored by metrics of its own."""
    task_metrics = task.task_metrics
    assert task_metrics is not None
    count = len(task.examples)
    values = dict(task_metrics(np.arange(count), answers, scores))
    metric, value = headline(values)
    notes = [*task_metrics.notes, "The values are those of the task's own metric functions, on their scale."]
    interval = None
    if math.isfinite(value):
        interval, note = resampled_interval(
            task_metrics, answers, scores, count=count, metric=metric, name=task.name, seed=seed
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
            score=float(task_metrics.is_correct(row, answers[row])) if answers else 0.0,
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
        native_scale=True,
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


def _signatures(metrics: Sequence[Metric], references: Sequence[Sequence[str]]) -> list[str]:
    return [f"{metric.name} is {metric.signature(references)}." for metric in metrics if metric.signature is not None]


def _group_notes(metrics: Sequence[Metric], groups: Sequence[str]) -> list[str]:
    names = [metric.name for metric in metrics if metric.by_group is not None]
    alone = sum(not group for group in groups)
    if not names or not alone:
        return []
    return [
        f"{alone} of {len(groups)} examples do not say which group they belong to, so {' and '.join(names)} "
        "take each for a group of its own: the task declares no `group`, or was prepared without it. Prepare it again."
    ]
