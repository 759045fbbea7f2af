"""Scores by the levels of each factor: means over all else with intervals, and differences that are paired over all else.

The interval of a mean is Student's over its runs: it takes the other factors' levels, draws and seeds for chance. That of a
difference is Student's over pairs of runs that are equal in all other factors, so what these change cancels out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.eval.statistics.t_interval import t_interval
from flan_jax.studies.objectives import SCORE, parse_objective
from flan_jax.studies.page.results import StudyResults

SEED, DRAW, ORDER = "seed", "draw", "order"
NO_FACTORS = (SEED, DRAW)
"""Names of levels that only tell runs apart."""
MOST_LEVELS = 24
"""A numeric factor of more levels is shown run by run."""
MOST_SPLIT = 8
"""A factor of more levels splits no other."""
MOST_MEASURES = 24


def measures_of(results: StudyResults) -> list[str]:
    """Lists what runs are compared by: the objective, then each suite's score, the objective's clusters, and the rest."""
    objective = results.objective

    def rank(name: str) -> tuple[int, int]:
        own = parse_objective(name)
        same = own.suite == objective.suite and own.metric in (objective.metric, SCORE)
        whole = not own.part
        return (0 if name == str(objective) else 1 if whole and same else 2 if whole and own.metric in (objective.metric, SCORE)
                else 3 if same else 4, 0)  # fmt: skip

    return sorted(results.scores, key=rank)[:MOST_MEASURES]


def factor_tables(results: StudyResults, measures: Sequence[str]) -> list[dict[str, Any]]:
    """Describes every factor that has two levels at least among the runs.

    Returns:
        Of each factor its ``name``; ``numeric``, where all of its levels are numbers that mean an amount; ``levels``, each
        with its text, its number and the runs that have it, of any state; ``means``, measure → a cell a level; ``splits``,
        another factor → the same by its levels, of the objective and the score beside it; ``points`` in the place of all
        that where there is a level a run. A cell has the number of ``runs`` that are done, their ``mean``, its
        ``interval`` (``None`` of one run), and the ``difference`` to the first level.
    """
    names = list(dict.fromkeys(name for row in results.runs for name in results.levels.get(row["run"], {})))
    levels = {name: _levels(results, name) for name in names if name not in NO_FACTORS}
    levels = {name: own for name, own in levels.items() if len(own) > 1}
    beside = [name for name in measures[:2] if not parse_objective(name).part]
    tables = []
    for name, own in levels.items():
        numbers = [level["number"] for level in own]
        numeric = name != ORDER and len(own) > 2 and all(number is not None for number in numbers)
        if numeric:
            own = sorted(own, key=lambda level: level["number"])
        table: dict[str, Any] = {
            "name": name,
            "numeric": numeric,
            "levels": own,
            "means": {},
            "splits": {},
            "points": None,
        }
        if len(own) > MOST_LEVELS and numeric:
            table["points"] = _points(results, name, measures)
        else:
            table["means"] = {measure: _cells(results, name, own, measure) for measure in measures}
            for other, others in levels.items():
                if other != name and len(others) <= MOST_SPLIT:
                    table["splits"][other] = _split(results, (name, own), (other, others), beside)
        tables.append(table)
    return tables


def _levels(results: StudyResults, name: str) -> list[dict[str, Any]]:
    """The levels of a factor in the order of the runs."""
    found: dict[str, dict[str, Any]] = {}
    for row in results.runs:
        level = results.levels.get(row["run"], {}).get(name)
        if level is not None:
            found.setdefault(level[0], {"level": level[0], "number": level[1], "runs": 0})["runs"] += 1
    return list(found.values())


def _cells(
    results: StudyResults,
    name: str,
    levels: Sequence[Mapping[str, Any]],
    measure: str,
    runs: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    values = results.scores[measure]
    chosen = [run for run in values if runs is None or run in runs]
    by_level = [
        [run for run in chosen if results.levels.get(run, {}).get(name, ("", None))[0] == level["level"]]
        for level in levels
    ]
    cells: list[dict[str, Any]] = []
    for place, own in enumerate(by_level):
        scores = [values[run] for run in own]
        cells.append(
            {
                "runs": len(own),
                "mean": math.fsum(scores) / len(scores) if scores else None,
                "interval": t_interval(scores),
                "difference": _difference(results, values, name, own, by_level[0]) if place else None,
            }
        )
    return cells


def _difference(
    results: StudyResults, values: Mapping[str, float], name: str, own: Sequence[str], first: Sequence[str]
) -> dict[str, Any] | None:
    """The mean difference to the first level over pairs that are equal in the factors which both have."""
    if not own or not first:
        return None
    shared = set.intersection(*(set(results.levels[run]) for run in (*own, *first))) - {name}

    def by_rest(runs: Sequence[str]) -> dict[tuple[str, ...], float]:
        groups: dict[tuple[str, ...], list[float]] = {}
        for run in runs:
            key = tuple(results.levels[run][factor][0] for factor in sorted(shared))
            groups.setdefault(key, []).append(values[run])
        return {key: math.fsum(group) / len(group) for key, group in groups.items()}

    mine, theirs = by_rest(own), by_rest(first)
    pairs = [mine[key] - theirs[key] for key in mine if key in theirs]
    if not pairs:
        return None
    return {"value": math.fsum(pairs) / len(pairs), "interval": t_interval(pairs), "pairs": len(pairs)}


def _split(
    results: StudyResults,
    factor: tuple[str, Sequence[Mapping[str, Any]]],
    other: tuple[str, Sequence[Mapping[str, Any]]],
    measures: Sequence[str],
) -> dict[str, Any]:
    name, levels = factor
    by, others = other
    rows = []
    for level in others:
        runs = {run for run, own in results.levels.items() if own.get(by, ("", None))[0] == level["level"]}
        rows.append({measure: _cells(results, name, levels, measure, [*runs]) for measure in measures})
    return {"levels": [level["level"] for level in others], "means": rows}


def _points(results: StudyResults, name: str, measures: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    return {
        measure: [
            {"run": run, "number": results.levels[run][name][1], "value": value}
            for run, value in results.scores[measure].items()
            if name in results.levels.get(run, {})
        ]
        for measure in measures
    }
