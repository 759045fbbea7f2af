"""Figures of papers beside those of a study: of the same suites and tasks, and of the same questions."""

import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from flan_jax.report.published import figures, published_beside
from flan_jax.report.run import read_run
from flan_jax.studies.page.results import StudyResults


def published_measures(results: StudyResults, runs: Sequence[str]) -> list[dict[str, Any]]:
    """Finds figures for the very suites or tasks that runs measured, as the page of a run does.

    Args:
        results: of the study.
        runs: whose results are read; ``run`` in ``ours`` is a place among them.
    """
    if not figures() or not runs:
        return []
    return published_beside([read_run(results.study.model_dir(run), name=run) for run in runs])


def published_findings(factors: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Finds what papers report of the questions that a study's factors ask, on other data: for the shape, not the height.

    Args:
        factors: of ``factor_tables``.

    Returns:
        The findings of the file that a factor asks for, each with the name of that ``factor``.
    """
    names = [str(factor["name"]) for factor in factors]
    found = []
    for finding in findings():
        factor = next((name for name in names if name in finding["factors"]), None)
        if factor is not None:
            found.append({key: value for key, value in finding.items() if key != "factors"} | {"factor": factor})
    return found


@functools.cache
def findings() -> list[dict[str, Any]]:
    """The findings, as ``published_findings.json`` has them."""
    text = resources.files("flan_jax.studies.page").joinpath("published_findings.json").read_text(encoding="utf-8")
    return json.loads(text)["findings"]
