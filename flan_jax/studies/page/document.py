"""All that the page of a study shows, as one JSON document: what the page renders, and what ``--json`` prints."""

import json
import math
from pathlib import Path
from typing import Any

from flan_jax import __version__
from flan_jax.experiments.run_folder import run_files
from flan_jax.report.document import finite
from flan_jax.report.run import mapping
from flan_jax.studies.objectives import LOWER_IS_BETTER, SCORE, parse_objective
from flan_jax.studies.page.best import Points, best_point, noise_of, points_of
from flan_jax.studies.page.factors import DRAW, ORDERS, factor_tables, measures_of
from flan_jax.studies.page.law import Prior, Progress, fitted_law, proposed
from flan_jax.studies.page.methods import methods_text
from flan_jax.studies.page.published import published_findings, published_measures
from flan_jax.studies.page.results import Row, StudyResults, read_results
from flan_jax.studies.page.shares import realized_shares
from flan_jax.studies.run_records import STATES
from flan_jax.studies.study_dir import TEXT

FORMAT = 1
"""Raised when a key changes its meaning or goes."""
_LEVELS = 16
_RUN_COLUMNS = (
    "run", "number", "replicate", "state", "attempts", "failures", "reason", "step", "steps", "tokens", "loss_tokens",
    "seconds", "wall_seconds", "began", "ended", "host", "commit_id", "version", "parameters", "point",
)  # fmt: skip


def study_document(
    root: Path, *, prior_of: Prior = lambda units: None, progress: Progress = lambda words: None
) -> dict[str, Any]:
    """Reads a study's folder and returns what its page shows: JSON values, and no number that JSON has not.

    Args:
        root: the folder of the study.
        prior_of: the shares that the base run's mixture gives units, where effects are looked at.
        progress: is told what is fitted.

    Returns:
        ``format``, ``version``, ``title``; ``objective`` with its direction; ``question``, what is varied; ``states``, runs by
        state, and ``without_objective``; ``best``, ``noise`` and ``cost``; ``measures``, what runs are compared by, with
        their direction and kind; ``factors``; ``units`` of weights; ``runs``; ``law`` and ``proposal``; ``shares``;
        ``published`` and ``findings``; ``methods``, a text; ``config``; ``missing`` and ``notes``.

    Raises:
        UserError: it is no folder of a study, or a file of it is damaged.
    """
    results = read_results(root)
    points = points_of(results)
    measures = measures_of(results)
    factors = factor_tables(results, measures)
    best = best_point(results, points)
    missing = [*results.unread]
    law = fitted_law(results, prior_of, progress)
    manifest = _manifest(results)
    content = {
        "format": FORMAT,
        "version": __version__,
        "kind": "study",
        "title": str(results.study.description.get("name") or results.study.root.resolve().name),
        "folder": str(results.study.root),
        "objective": {"name": str(results.objective), **_measure(str(results.objective), results)},
        "question": _question(results),
        "states": _states(results),
        "without_objective": [row["run"] for row in results.done if row["run"] not in results.values],
        "best": best,
        "noise": noise_of(points),
        "cost": _cost(results),
        "measures": [{"name": name, **_measure(name, results)} for name in measures],
        "factors": factors,
        "units": list(dict.fromkeys(unit for own in results.weights.values() for unit in own)),
        "runs": [_run(results, row) for row in results.runs],
        "law": law,
        "proposal": proposed(results, missing),
        "shares": realized_shares(results),
        "published": published_measures(results, best["runs"] if best else []),
        "findings": published_findings(factors),
        "methods": methods_text(results, points, manifest, law),
        "config": _text(results.study.root / TEXT),
        "missing": missing,
        "notes": _notes(results, points),
    }
    return finite(content)


def _measure(name: str, results: StudyResults) -> dict[str, Any]:
    own = parse_objective(name)
    values = results.scores.get(name, {}).values()
    share = own.metric not in LOWER_IS_BETTER and all(0 <= value <= 1 for value in values)
    chances = [row["chance"] for row in results.averages.get(own.suite, {}).values() if row["chance"] is not None]
    of_score = own.metric == SCORE and not own.part
    return {
        "suite": own.suite,
        "metric": own.metric,
        "part": own.part,
        "higher_is_better": own.higher_is_better,
        "percent": share,
        "chance": math.fsum(chances) / len(chances) if chances and of_score else None,
    }


def _question(results: StudyResults) -> list[str]:
    """Says what is varied, a sentence a factor."""
    levels: dict[str, dict[str, None]] = {}
    for own in results.levels.values():
        for name, (level, _) in own.items():
            levels.setdefault(name, {})[level] = None
    lines = []
    for name, found in levels.items():
        if name in ORDERS:
            continue
        if name == DRAW:
            units = len({unit for own in results.weights.values() for unit in own})
            lines.append(f"weights of {units} units, {len(found)} draws" if units else f"{len(found)} draws")
        else:
            shown = list(found)
            more = f" and {len(shown) - _LEVELS} more" if len(shown) > _LEVELS else ""
            lines.append(f"{name}: {', '.join(shown[:_LEVELS])}{more}")
    return lines


def _states(results: StudyResults) -> dict[str, list[str]]:
    """Every state that a run is in, with the runs."""
    found = {state: [row["run"] for row in results.runs if row["state"] == state] for state in STATES}
    return {state: runs for state, runs in found.items() if runs}


def _cost(results: StudyResults) -> dict[str, Any]:
    rows = results.runs

    def total(name: str) -> float | None:
        known = [row[name] for row in rows if row[name] is not None]
        return math.fsum(known) if known else None

    def distinct(name: str) -> list[Any]:
        return list(dict.fromkeys(row[name] for row in rows if row[name] is not None))

    return {
        "runs": len(rows),
        "tokens": total("tokens"),
        "loss_tokens": total("loss_tokens"),
        "seconds": total("seconds"),
        "wall_seconds": total("wall_seconds"),
        "by_state": results.cost,
        "hardware": [dict(mapping(json.loads(text))) for text in distinct("hardware")],
        "commits": distinct("commit_id"),
        "versions": distinct("version"),
        "parameters": distinct("parameters"),
    }


def _run(results: StudyResults, row: Row) -> dict[str, Any]:
    run = row["run"]
    average = results.averages.get(results.objective.suite, {}).get(run)
    return {
        **{name: row[name] for name in _RUN_COLUMNS},
        "levels": {name: level for name, (level, _) in results.levels.get(run, {}).items()},
        "weights": dict(results.weights.get(run, {})),
        "objective": results.values.get(run),
        "score": average and average["value"],
        "interval": average and [average["low"], average["high"]],
        "page": (results.study.model_dir(run) / run_files.REPORT).is_file(),
    }


def _manifest(results: StudyResults) -> dict[str, Any]:
    """The manifest of the first run that is done."""
    for row in results.done:
        found = run_files.read_manifest(results.study.model_dir(row["run"]))
        if found:
            return found
    return {}


def _notes(results: StudyResults, points: Points) -> list[str]:
    """Says what is to be read with the results: differences among the runs that are no factor's."""
    notes = []
    for name, words in (("commit_id", "commits"), ("version", "versions"), ("hardware", "kinds of hardware")):
        found = {row[name] for row in results.done if row[name] is not None}
        if len(found) > 1:
            notes.append(f"The runs were made with {len(found)} {words}.")
    steps = {row["evaluated_step"] for row in results.done if row["evaluated_step"] is not None}
    if len(steps) > 1:
        notes.append(f"The runs were measured after different steps: {', '.join(map(str, sorted(steps)))}.")
    if points.runs and points.noise is None:
        notes.append("No point was run twice, so how much of a difference is the noise of single runs is not known.")
    return notes


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
