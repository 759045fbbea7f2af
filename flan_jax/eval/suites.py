"""Suites: tasks that are read together, their averages, and the spread over templates."""

import dataclasses
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalTask, TaskResult
from flan_jax.eval.journal import Journal
from flan_jax.eval.language_model import LanguageModel
from flan_jax.eval.option_scores import OptionScore
from flan_jax.eval.provenance import Settings, suite_settings
from flan_jax.eval.runner import evaluate
from flan_jax.eval.statistics.intervals import suite_intervals
from flan_jax.eval.statistics.levels import DEFAULT_LEVELS
from flan_jax.eval.task_answers import EvalProgress


@dataclasses.dataclass(frozen=True)
class ClusterAverage:
    """One cluster of a suite: the mean over its examples, as Super-NaturalInstructions reports categories.

    Attributes:
        value: mean over all examples of the cluster's tasks.
        tasks: number of tasks.
        n: number of examples.
    """

    value: float
    tasks: int
    n: int


@dataclasses.dataclass(frozen=True)
class SuiteAverage:
    """A suite in one line. Scores run from 0 to 1.

    Attributes:
        value: the unweighted mean over tasks.
        interval: its 95% interval over the examples of these tasks: that of ``DEFAULT_LEVELS``.
        example_mean: the mean over all examples, which is the overall score of the
            Super-NaturalInstructions benchmark.
        chance, majority: means over tasks of these yardsticks.
        tasks: number of tasks.
        n: number of examples.
        template_spread: mean over tasks of the standard deviation over templates.
        clusters: cluster → its average.
        intervals: names of the levels taken for chance (``example+task+cluster``) → 95% interval of ``value``
            (``flan_jax.eval.statistics.intervals``); ``{}`` in files of older versions.
    """

    value: float
    interval: tuple[float, float]
    example_mean: float
    chance: float
    majority: float
    tasks: int
    n: int
    template_spread: float
    clusters: dict[str, ClusterAverage]
    intervals: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class StepResults:
    """Everything measured at one step.

    Attributes:
        step: training steps taken; 0 is before training.
        suites: suite → its tasks' results.
        averages: suite → its average; a suite whose tasks are all scored on a scale of their own has none.
        weights: digest of the parameters (``provenance.params_digest``); ``""`` where it is not known.
        settings: suite → what else decided its numbers (``provenance.suite_settings``); only of those that say it.
        failed: task → why it could not be measured, in a sentence. It stands in no suite, and no average counts it.
        refused: those of ``failed`` where it is something that a user gave, and no fault of the program's.
        held_out: suites whose clusters the run kept out of its training; of files of older versions none.
    """

    step: int
    suites: dict[str, list[TaskResult]]
    averages: dict[str, SuiteAverage]
    weights: str = ""
    settings: Mapping[str, Settings] = dataclasses.field(default_factory=dict)
    failed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    refused: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()

    def with_failures(self, errors: Mapping[str, Exception]) -> "StepResults":
        """Returns the results with further tasks that failed."""
        return dataclasses.replace(
            self,
            failed={**self.failed, **{name: sentence(error) for name, error in errors.items()}},
            refused=(*self.refused, *(name for name, error in errors.items() if isinstance(error, UserError))),
        )


def sentence(error: Exception) -> str:
    """Says an error in one line: its first, and where it is not meant for users its type, and where it arose."""
    text = next(iter(str(error).splitlines()), "")
    if isinstance(error, UserError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}".rstrip(": ") + place


def evaluate_suites(
    predictor: LanguageModel,
    suites: Mapping[str, Sequence[EvalTask]],
    *,
    step: int,
    progress: EvalProgress | None = None,
    seed: int = 0,
    weights: str = "",
    settings: Settings | None = None,
    option_score: OptionScore = "sum",
    journal: Journal | None = None,
) -> StepResults:
    """Measures all suites in one pass; a task that stands in several is predicted once.

    A task that cannot be measured is left out, and said in ``failed``; so is a suite all of whose tasks are. Where none
    can be measured, the first error is raised.

    Args:
        predictor: answers the examples.
        suites: suite → tasks; none empty.
        step: training steps taken.
        progress: told after every batch.
        seed: of the bootstrap.
        weights: digest of what the predictor answers with.
        settings: JSON values that decide how it answers and what it is asked, for all suites.
        option_score: what of the options' log-likelihoods decides which is chosen.
        journal: keeps the answers as they come, and knows those of an evaluation that was killed.

    Raises:
        UserError: an empty suite, an unknown metric, or two different tasks of one name (their
            predictions would share a file).
    """
    tasks: dict[str, EvalTask] = {}
    for suite, members in suites.items():
        if not members:
            raise UserError(f"Suite {suite!r} has no tasks. Give it some or leave it out.")
        for task in members:
            if tasks.setdefault(task.name, task) is not task:
                raise UserError(
                    f"Suite {suite!r} holds a second, different task named {task.name!r}. "
                    "Give one of them another `variant`."
                )
    errors: dict[str, Exception] = {}
    measured = evaluate(
        predictor,
        list(tasks.values()),
        progress=progress,
        seed=seed,
        option_score=option_score,
        journal=journal,
        asked_with=(weights, settings),
        failed=errors,
    )
    if errors and not measured:
        raise next(iter(errors.values()))
    results = {result.name: result for result in measured}
    grouped = {
        suite: [results[task.name] for task in members if task.name in results] for suite, members in suites.items()
    }
    grouped = {suite: members for suite, members in grouped.items() if members}
    said = {suite: suite_settings(members, settings) for suite, members in suites.items()} if settings else {}
    return StepResults(step, grouped, averages(grouped, seed=seed), weights, said).with_failures(errors)


def averages(suites: Mapping[str, Sequence[TaskResult]], *, seed: int = 0) -> dict[str, SuiteAverage]:
    """Suite → the average of its tasks that are scored from 0 to 1. Values on scales of their own have no mean."""
    comparable = {suite: [r for r in members if not r.native_scale] for suite, members in suites.items()}
    return {suite: average(members, seed=seed) for suite, members in comparable.items() if members}


def average(results: Sequence[TaskResult], *, seed: int = 0) -> SuiteAverage:
    """Averages fresh results (those that still hold their ``sample``).

    Raises:
        ValueError: a result that was read from a file, so has no sample to resample, or one of
            a task's own task_metrics.
    """
    samples = []
    for result in results:
        if result.sample is None:
            raise ValueError(f"Result {result.name!r} has no sample to resample; average what evaluate() returned.")
        samples.append(result.sample)
    intervals = suite_intervals(samples, seed=seed)
    clusters: dict[str, list[TaskResult]] = {}
    for result in results:
        clusters.setdefault(result.cluster, []).append(result)
    return SuiteAverage(
        value=float(np.mean([r.value for r in results])),
        interval=intervals[DEFAULT_LEVELS],
        example_mean=_example_mean(results),
        chance=float(np.mean([r.chance for r in results])),
        majority=float(np.mean([r.majority for r in results])),
        tasks=len(results),
        n=sum(r.n for r in results),
        template_spread=float(np.mean([r.template_spread for r in results])),
        clusters={
            name: ClusterAverage(_example_mean(members), len(members), sum(r.n for r in members))
            for name, members in clusters.items()
        },
        intervals=intervals,
    )


def _example_mean(results: Sequence[TaskResult]) -> float:
    """Task scores weighted by their examples: for metrics that are means, the mean over all examples."""
    return float(np.average([r.value for r in results], weights=[r.n for r in results]))
