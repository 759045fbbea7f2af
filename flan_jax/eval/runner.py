"""``evaluate(model, tasks)``: requests of all tasks pooled by kind, answered by a ``LanguageModel``, scored by task."""

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalTask, Prediction, TaskResult
from flan_jax.eval.journal import Journal
from flan_jax.eval.language_model import BatchedModel, LanguageModel, Request
from flan_jax.eval.metrics.metric import Metric
from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.metrics.task_metrics import headline, resampled_interval
from flan_jax.eval.option_scores import (
    OptionScore,
    ScoredOptions,
    best_option,
    judge_options,
    option_notes,
    rank_metrics,
)
from flan_jax.eval.option_sensitivity import option_sensitivity
from flan_jax.eval.overlap import overlap_scores
from flan_jax.eval.statistics.intervals import task_intervals
from flan_jax.eval.statistics.levels import DEFAULT_LEVELS
from flan_jax.eval.statistics.sample import task_sample
from flan_jax.eval.statistics.template_distribution import sample_templates
from flan_jax.eval.task_answers import EvalProgress, TaskAnswers


def evaluate(
    predictor: LanguageModel,
    tasks: Sequence[EvalTask],
    *,
    progress: EvalProgress | None = None,
    seed: int = 0,
    option_score: OptionScore = "sum",
    journal: Journal | None = None,
    asked_with: tuple[str, Any] = ("", None),
    failed: dict[str, Exception] | None = None,
) -> list[TaskResult]:
    """Evaluates every task.

    The examples of all tasks go to the predictor as one pool of each kind, so that it may sort
    and batch across tasks; results come back in the order of ``tasks``.

    Args:
        predictor: the model.
        tasks: what to evaluate.
        progress: told after every batch.
        seed: of the bootstrap.
        option_score: what of the options' log-likelihoods decides which is chosen.
        journal: keeps the answers as they come, and knows those of an evaluation that was killed.
        asked_with: digest of the weights and JSON of the settings, of which the journal's answers are.
        failed: gets the tasks that cannot be answered or scored, which are left out of the results: name → why. Where
            not given, the first such failure is raised.

    Raises:
        UserError: a task with an unknown metric, or an ``option_score`` that the predictor has not what it takes for;
            before anything is predicted.
    """
    for name in dict.fromkeys(name for task in tasks for name in (*_metric_names(task), *task.other_metrics)):
        METRICS.get(name)
    if option_score in ("per_token", "unconditional") and not isinstance(predictor, BatchedModel):
        raise UserError(
            f"option_score={option_score!r} needs the tokens of options, which a {type(predictor).__name__} does not tell. "
            "Score by 'sum' or 'per_character'."
        )
    answers = TaskAnswers(
        predictor,
        tasks,
        option_score,
        progress=progress,
        journal=journal,
        asked_with=asked_with,
        failures=failed,
    )
    results = []
    for number, task in enumerate(tasks):
        try:
            if number not in answers.failed:
                results.append(_task_result(predictor, task, answers, number, option_score, seed))
        except Exception as error:
            answers.give_up(number, error)
    return results


def _metric_names(task: EvalTask) -> list[str]:
    return [] if task.task_metrics is not None else [task.metric]


def _task_result(
    predictor: LanguageModel, task: EvalTask, answers: TaskAnswers, number: int, way: OptionScore, seed: int
) -> TaskResult:
    if task.task_metrics is not None:
        texts = answers.of["text"].get(number, [])
        scores = np.asarray(answers.of["score"].get(number, []), np.float64)
        result = _result_of_task_metrics(task, texts, scores, seed)
        requests = [request for request in ("text", "score") if request in task.task_metrics.outputs]
        return dataclasses.replace(result, notes=(*result.notes, *_asking_notes(predictor, task, requests)))
    metric = METRICS.get(task.metric)
    if task.predict != "rank":
        texts = answers.of["text"][number]
        return _result(task, metric, texts, seed, notes=_asking_notes(predictor, task, ["text"]))
    scored, judged = answers.scored_options(number), judge_options(task.examples, metric)
    best = [best_option(own.values(way)) for own in scored]
    chosen = ["" if place is None else own.options[place] for place, own in zip(best, scored, strict=True)]
    result = _result(
        task,
        metric,
        chosen,
        seed,
        scored,
        notes=(*predictor.rank_notes(task.examples), *option_notes(scored, judged, way)),
    )
    return dataclasses.replace(result, metrics={**result.metrics, **rank_metrics(scored, judged, way)})


def _asking_notes(predictor: LanguageModel, task: EvalTask, requests: Sequence[Request]) -> list[str]:
    if not isinstance(predictor, BatchedModel):
        return []
    return [note for request in requests for note in predictor.notes(request, task.examples)]


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


def _result(
    task: EvalTask,
    metric: Metric,
    answers: Sequence[str],
    seed: int,
    scored: Sequence[ScoredOptions] = (),
    notes: Sequence[str] = (),
) -> TaskResult:
    """The result of a task from the answer to each example, and the options that it was chosen among."""
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
    options: list[ScoredOptions | None] = [*scored] if scored else [None] * len(answers)
    predictions = tuple(
        Prediction(
            example_id=example.example_id,
            template_id=example.template_id,
            inputs=example.inputs_text,
            options=example.options,
            references=example.references,
            prediction=answer,
            option_scores=() if own is None else tuple(own.sums.tolist()),
            score=float(score),
            group=example.group,
            overlap=example.overlap,
            option_order=example.option_order,
            option_tokens=() if own is None or own.tokens is None else tuple(own.tokens.tolist()),
            prior_scores=() if own is None or own.priors is None else tuple(own.priors.tolist()),
        )
        for example, answer, own, score in zip(
            task.examples, answers, options, metric.example_scores(rows), strict=True
        )
    )
    sensitivity = option_sensitivity(metric, rows, task.examples, answers, ranked=bool(scored))
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
            *_empty_notes(references),
            *_group_notes([metric, *others.values()], groups),
            *_signatures([metric, *others.values()], references),
            *sensitivity.notes,
        ),
        metrics={
            **{name: other(compared, references, groups) for name, other in others.items()},
            **sensitivity.metrics,
        },
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


def _empty_notes(references: Sequence[Sequence[str]]) -> list[str]:
    empty = sum(not any(text.strip() for text in accepted) for accepted in references)
    return [f"{empty} examples accept no answer but an empty one."] if empty else []


def _group_notes(metrics: Sequence[Metric], groups: Sequence[str]) -> list[str]:
    names = [metric.name for metric in metrics if metric.by_group is not None]
    alone = sum(not group for group in groups)
    if not names or not alone:
        return []
    return [
        f"{alone} of {len(groups)} examples do not say which group they belong to, so {' and '.join(names)} "
        "take each for a group of its own: the task declares no `group`, or was prepared without it. Prepare it again."
    ]


def _signatures(metrics: Sequence[Metric], references: Sequence[Sequence[str]]) -> list[str]:
    return [f"{metric.name} is {metric.signature(references)}." for metric in metrics if metric.signature is not None]
