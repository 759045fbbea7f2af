"""Suites measured into a run's folder: what holds of earlier results, what a killed evaluation left, what is written."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax

from flan_jax.eval.examples import EvalTask
from flan_jax.eval.journal import JOURNAL_FILE, Journal
from flan_jax.eval.language_model import LanguageModel
from flan_jax.eval.option_scores import OptionScore
from flan_jax.eval.provenance import Settings, suite_settings
from flan_jax.eval.results import (
    merge_results,
    read_results,
    saved_steps,
    step_folder,
    why_not_current,
    write_results,
)
from flan_jax.eval.suites import StepResults, evaluate_suites
from flan_jax.eval.task_answers import EvalProgress


def outdated_suites(
    folder: Path, step: int, suites: Mapping[str, Sequence[EvalTask]], weights: str, settings: Settings
) -> dict[str, str]:
    """Finds the suites whose results of a step are not there or of other weights or settings: suite → why."""
    if step not in saved_steps(folder):
        return dict.fromkeys(suites, "was not measured before")
    before = read_results(folder, step)
    reasons = {
        name: why_not_current(before, name, weights, suite_settings(tasks, settings)) for name, tasks in suites.items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def log_measured_again(
    folder: Path, step: int, outdated: Mapping[str, str], weights: str, log: Callable[[str], None]
) -> None:
    """Says which results of a step are measured again and why, and which are dropped as they are of other weights."""
    if step not in saved_steps(folder):
        return
    before = read_results(folder, step)
    for suite, reason in outdated.items():
        if suite in before.suites:
            log(f"measuring suite {suite!r} of step {step} again: it {reason}")
    if before.weights != weights:
        gone = [suite for suite in before.suites if suite not in outdated]
        if gone:
            log(f"dropping the results of {', '.join(gone)} at step {step}: they are not known to be of these weights")


def measure_suites(
    predictor: LanguageModel,
    suites: Mapping[str, Sequence[EvalTask]],
    folder: Path,
    *,
    step: int,
    weights: str,
    settings: Settings,
    seed: int = 0,
    option_score: OptionScore = "sum",
    refused: Mapping[str, Exception] | None = None,
    held_out: Sequence[str] = (),
    progress: EvalProgress | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> StepResults:
    """Measures suites, and goes on where an evaluation of the same step was killed; ``save_results`` writes.

    Args:
        predictor: answers.
        suites: suite → tasks.
        folder: of the results.
        step: training steps taken.
        weights: digest of what the predictor answers with.
        settings: JSON values that decide how it answers and what it is asked.
        seed: of the bootstrap.
        option_score: what of the options' log-likelihoods decides which is chosen.
        refused: tasks that could not even be asked: name → why.
        held_out: suites whose clusters are kept out of training; others may be among them.
        progress: told after every batch.
        log: told which tasks failed, and whether answers were there.
    """
    journal = Journal(step_folder(folder, step) / JOURNAL_FILE)
    if journal.damaged:
        log(f"{journal.damaged} lines of {journal.path} are damaged: what they held is computed again")
    if journal.answers:
        log(
            f"an evaluation that did not come to its end left {journal.answers:,} answers: those of the same weights, "
            "settings and data are not computed again"
        )
    try:
        results = evaluate_suites(
            predictor,
            suites,
            step=step,
            progress=progress,
            seed=seed,
            weights=weights,
            settings=settings,
            option_score=option_score,
            journal=journal,
        ).with_failures(refused or {})
    finally:
        journal.close()
    results = dataclasses.replace(results, held_out=tuple(name for name in held_out if name in suites))
    for name, why in results.failed.items():
        log(f"task {name!r} could not be measured, the others are: {why}")
    return results


def save_results(folder: Path, results: StepResults) -> StepResults:
    """Adds results to those of the same step and weights in a folder, and returns all of them; the first process writes.

    What ``measure_suites`` kept of the answers goes, but where a task failed: it is of use once the fault is mended.
    """
    merged = merge_results(folder, results)
    if jax.process_index() == 0:
        write_results(folder, merged)
        if not results.failed:
            (step_folder(folder, results.step) / JOURNAL_FILE).unlink(missing_ok=True)
    return merged
