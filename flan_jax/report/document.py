"""All that a report shows, as one JSON document: what the page renders, and what ``flan-jax report --json`` prints."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax import __version__
from flan_jax.eval.examples import TaskResult
from flan_jax.eval.suites import StepResults, SuiteAverage
from flan_jax.report.cost import run_cost
from flan_jax.report.deltas import suite_delta, task_delta
from flan_jax.report.examples import Evaluation, example_rows, most_of_a_task
from flan_jax.report.noise import suite_noise
from flan_jax.report.predictions import TaskPredictions, predictions_of
from flan_jax.report.published import published_beside
from flan_jax.report.run import Run, by_task, mapping, read_runs
from flan_jax.report.series import loss_curves

FORMAT = 1
"""Raised when a key changes its meaning or goes."""

_MANIFEST_TASKS = 200


def report_document(folders: Sequence[Path]) -> dict[str, Any]:
    """Reads runs and returns what a report shows of them: JSON values, and no number that JSON has not.

    Returns:
        ``format``, ``version`` (of the package) and ``title``; ``runs``, as ``run_document`` has them, with ``versus`` in
        suites and tasks of the second and later ones, the difference to the first; ``sources``, the
        evaluations that ``examples`` are answered in; ``examples`` by task; ``published``, figures of papers beside what
        was measured here; ``notes`` of what is not comparable among the runs.

    Raises:
        UserError: no folder, or one that does not exist.
    """
    runs = read_runs(folders)
    names = {r.name for run in runs for found in (run.before, run.last) if found for r in _results(found)}
    most = most_of_a_task(len(names))
    documents: list[dict[str, Any]] = []
    sources: list[Evaluation] = []
    first: Mapping[str, TaskPredictions] = {}
    for index, run in enumerate(runs):
        answers = [predictions_of(run, results, most, run.missing) for results in (run.before, run.last)]
        documents.append(run_document(run, answers[0], answers[1]))
        if index == 0:
            first = answers[1]
        else:
            _add_differences(documents[-1], run, runs[0], (first, answers[1]))
        for results, found in zip((run.before, run.last), answers, strict=True):
            if results is not None:
                sources.append(Evaluation(index, run.name, results.step, found))
    content = {
        "format": FORMAT,
        "version": __version__,
        "title": runs[0].name if len(runs) == 1 else f"{len(runs)} runs side by side",
        "runs": documents,
        "sources": [{"run": s.run, "name": s.name, "step": s.step} for s in sources],
        "examples": example_rows(sources, most),
        "published": published_beside(runs),
        "notes": [line for run in runs[1:] for line in runs[0].unlike_run(run)],
    }
    return finite(content)


def run_document(
    run: Run, before: Mapping[str, TaskPredictions], last: Mapping[str, TaskPredictions]
) -> dict[str, Any]:
    """Describes one run: its cost, mixture, curves and evaluations, its files, and what of it is missing.

    Args:
        run: as its folder says.
        before, last: the predictions of its first and its newest evaluation, by task.
    """
    suites = [] if run.last is None else [_suite(run, name, before, last) for name in run.last.suites]
    return {
        "name": run.name,
        "folder": str(run.folder),
        "mixture_name": run.mixture,
        "held_out_clusters": _strings(run.manifest.get("held_out_clusters")),
        "vocabulary": str(mapping(run.manifest.get("vocabulary")).get("name", "")),
        "missing": run.missing,
        "notes": _notes(run),
        "cost": run_cost(run),
        "headline": _headline(suites),
        "step": None if run.last is None else run.last.step,
        "before_step": None if run.before is None else run.before.step,
        "suites": suites,
        "history": [_history(results) for results in run.results],
        "confusion": {name: found.confusion for name, found in last.items() if found.confusion},
        "mixture": [dataclasses.asdict(row) for row in run.mixture_rows()],
        "drawn_recorded": bool(run.sampled()),
        "loss": loss_curves(run),
        "manifest": _shortened(run.manifest),
        "config": run.config,
    }


def _add_differences(
    document: dict[str, Any],
    run: Run,
    first: Run,
    answers: tuple[Mapping[str, TaskPredictions], Mapping[str, TaskPredictions]],
) -> None:
    """Puts the differences of newest scores to those of the first run into a run's suites and tasks, as ``versus``."""
    for suite in document["suites"]:
        assert run.last is not None
        theirs, results = by_task(first.last, suite["name"]), run.last.suites[suite["name"]]
        mine = {result.name: result for result in results}
        suite["versus"] = suite_delta(theirs, results, answers)
        for row in suite["tasks"]:
            name = row["name"]
            row["versus"] = task_delta(theirs.get(name), mine[name], (answers[0].get(name), answers[1].get(name)))


def _suite(
    run: Run, name: str, before: Mapping[str, TaskPredictions], last: Mapping[str, TaskPredictions]
) -> dict[str, Any]:
    assert run.last is not None
    earlier, results = by_task(run.before, name), run.last.suites[name]
    asked = run.asked(name)
    tasks, noise = [], suite_noise(run, name)
    for result in sorted(results, key=lambda r: (r.cluster, r.name)):
        row = _task(result, mapping(asked.get(result.name)))
        then = earlier.get(result.name)
        row["before"] = None if then is None else then.value
        row["before_metrics"] = {} if then is None else dict(then.metrics)
        row["noise"] = dataclasses.asdict(noise[result.name]) if result.name in noise else None
        row["delta"] = task_delta(then, result, (before.get(result.name), last.get(result.name)))
        tasks.append(row)
    return {
        "name": name,
        "held_out": run.held_out(name),
        "average": _average(run.last.averages.get(name)),
        "before": _average(run.before.averages.get(name) if run.before else None),
        "delta": suite_delta(earlier, results, (before, last)),
        "noise": dataclasses.asdict(noise[""]) if "" in noise else None,
        "settings": {key: value for key, value in mapping(run.last.settings.get(name)).items() if key != "tasks"},
        "tasks": tasks,
    }


def _task(result: TaskResult, asked: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": result.name,
        "task": asked.get("task"),
        "mode": asked.get("mode"),
        "shots": asked.get("shots", 0),
        "cluster": result.cluster,
        "metric": result.metric,
        "predict": result.predict,
        "native_scale": result.native_scale,
        "value": result.value,
        "interval": result.interval,
        "intervals": dict(result.intervals),
        "chance": None if result.native_scale else result.chance,
        "majority": None if result.native_scale else result.majority,
        "n": result.n,
        "per_template": {str(template): value for template, value in result.per_template.items()},
        "template_spread": result.template_spread if result.per_template and not result.native_scale else None,
        "template_quantiles": dict(result.template_quantiles),
        "template_summary": dict(result.template_summary),
        "by_overlap": result.by_overlap,
        "metrics": dict(result.metrics),
        "notes": list(result.notes),
    }


def _average(average: SuiteAverage | None) -> dict[str, Any] | None:
    return None if average is None else dataclasses.asdict(average)


def _headline(suites: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The suite whose average stands on top: the first that is held out and has one, else the first that has one."""
    averaged = [suite for suite in suites if suite["average"]]
    chosen = next((suite for suite in averaged if suite["held_out"]), averaged[0] if averaged else None)
    if chosen is None:
        return None
    return {key: chosen[key] for key in ("name", "held_out", "average", "before", "delta")}


def _history(results: StepResults) -> dict[str, Any]:
    return {
        "step": results.step,
        "suites": {
            name: {
                "value": average.value,
                "interval": average.interval,
                "clusters": {cluster: found.value for cluster, found in average.clusters.items()},
            }
            for name, average in results.averages.items()
        },
    }


def _notes(run: Run) -> list[str]:
    found = [] if run.last is None else [f"{r.name}: {note}" for r in _results(run.last) for note in r.notes]
    failed = mapping(getattr(run.last, "failed", {}))
    return [*run.unlike(), *(f"{name} was not measured: {reason}" for name, reason in failed.items()), *found]


def _results(results: StepResults) -> list[TaskResult]:
    return list({r.name: r for members in results.suites.values() for r in members}.values())


def _shortened(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest, of many tasks the first ones only, with a line for the others: the file is beside the page."""
    tasks = mapping(manifest.get("tasks"))
    if len(tasks) <= _MANIFEST_TASKS:
        return dict(manifest)
    kept = dict(list(tasks.items())[:_MANIFEST_TASKS])
    return {**manifest, "tasks": {**kept, "…": f"and {len(tasks) - len(kept):,} more tasks in manifest.json"}}


def _strings(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def finite(value: Any) -> Any:
    """Returns the same values, with ``None`` where a number is infinite or none, and names as JSON has them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
