"""Figures of papers beside what a run measured, each with its source and with what differs.

They are data, in ``published.json``. A figure is shown only where a run measured the very suite or tasks that it is about.
"""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from flan_jax.eval.examples import TaskResult
from flan_jax.report.run import Run, mapping


def published_beside(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Finds the published figures that runs can be held against, JSON values.

    Returns:
        The figures of the file that at least one run has a measurement for, in its order, each with ``ours``: ``run``
        (its place among the runs), ``value``, the mean over the tasks that were measured, ``tasks`` and ``n``, how many
        tasks and examples that are, and ``of``, how many tasks the figure names (``None`` where it names a suite).
    """
    found = []
    for figure in figures():
        ours = [dict(measured, run=index) for index, run in enumerate(runs) if (measured := _measured(run, figure))]
        if ours:
            found.append({key: value for key, value in figure.items() if key != "match"} | {"ours": ours})
    return found


@functools.cache
def figures() -> list[dict[str, Any]]:
    """The published figures, as ``published.json`` has them."""
    text = resources.files("flan_jax.report").joinpath("published.json").read_text(encoding="utf-8")
    return json.loads(text)["figures"]


def _measured(run: Run, figure: Mapping[str, Any]) -> dict[str, Any] | None:
    if run.last is None:
        return None
    match = figure["match"]
    found: dict[str, TaskResult] = {}
    for suite, results in run.last.suites.items():
        asked = run.asked(suite)
        for result in results:
            # The name of a result is not taken apart: which task it measures is written down beside it.
            prompt = mapping(asked.get(result.name))
            of_task = prompt.get("task") in match.get("tasks", ()) and prompt.get("mode") in match.get("modes", ())
            # The paper's are of tasks that were not trained on.
            of_task = of_task and run.held_out(suite)
            if suite in match.get("suites", ()) or of_task:
                found[result.name] = result
    found = {name: r for name, r in found.items() if not r.native_scale and math.isfinite(r.value)}
    if not found:
        return None
    return {
        "value": float(np.mean([result.value for result in found.values()])),
        "tasks": len(found),
        "n": sum(result.n for result in found.values()),
        "of": len(match["tasks"]) if "tasks" in match else None,
    }
