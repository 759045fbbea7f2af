"""Scores by the levels of each factor: means over all else with intervals, and differences to the first level.

All intervals are Student's. Where the runs of every level are equal but for their seed, and the order of parts that goes with
it, their spread is pooled over the levels (``pooled``): a few seeds of one level say little of it. Where other factors vary
too, the interval of a mean is over its runs and takes these for chance; that of a difference is over pairs of runs that
are equal in all other factors, so what these change cancels out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.eval.statistics.t_interval import t_interval, t_interval_of
from flan_jax.studies.factors.arms import ARM
from flan_jax.studies.objectives import SCORE, parse_objective
from flan_jax.studies.page.results import StudyResults

SEED, DRAW = "seed", "draw"
ORDERS = ("order", "task_order")
"""Orders of parts: numbers that mean no amount."""
NO_FACTORS = (SEED, DRAW, ARM)
"""Names of levels that only tell runs apart."""
REPLICATES = (*NO_FACTORS, *ORDERS)
"""Levels in which replicates may differ."""
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
        another factor that it is crossed with → the same by its levels, of the objective and the score beside it; ``points``
        in the place of all that where there is a level a run; ``pooled``, how intervals are made. A cell has the number of
        ``runs`` that are done, their ``mean``, its ``interval`` (``None`` of one run), and the ``difference`` to the first
        level.
    """
    names = list(dict.fromkeys(name for row in results.runs for name in results.levels.get(row["run"], {})))
    levels = {name: _levels(results, name) for name in names if name not in REPLICATES}
    levels = {name: own for name, own in levels.items() if len(own) > 1}
    beside = [name for name in measures[:2] if not parse_objective(name).part]
    tables = []
    for name, own in levels.items():
        numbers = [level["number"] for level in own]
        numeric = len(own) > 2 and all(number is not None for number in numbers)
        if numeric:
            own = sorted(own, key=lambda level: level["number"])
        table: dict[str, Any] = {
            "name": name,
            "numeric": numeric,
            "levels": own,
            "pooled": _only_replicates(results, name),
            "means": {},
            "splits": {},
            "points": None,
        }
        if len(own) > MOST_LEVELS and numeric:
            table["points"] = _points(results, name, measures)
        else:
            first = _first(results, name)
            table["means"] = {
                measure: _cells(results, name, own, first, measure, pooled=table["pooled"]) for measure in measures
            }
            for other, others in levels.items():
                if other != name and len(others) <= MOST_SPLIT and _crossed(results, name, other):
                    table["splits"][other] = _split(results, (name, own, first), (other, others), beside)
        table["first"] = None if table["points"] else _first(results, name)
        tables.append(table)
    return tables


def _level(results: StudyResults, run: str, name: str) -> str | None:
    found = results.levels.get(run, {}).get(name)
    return None if found is None else found[0]


def _first(results: StudyResults, name: str) -> str:
    """The level that others are compared with: that of the first run that has one, a baseline's where there is one."""
    return next(level for row in results.runs if (level := _level(results, row["run"], name)) is not None)


def _only_replicates(results: StudyResults, name: str) -> bool:
    """Tells if the runs of every level of a factor differ in nothing but their seed and the order that goes with it."""
    cells: dict[str, set[tuple[Any, ...]]] = {}
    weights: dict[str, set[tuple[Any, ...]]] = {}
    for row in results.runs:
        level = _level(results, row["run"], name)
        if level is None:
            continue
        own = results.levels[row["run"]]
        cells.setdefault(level, set()).add(
            tuple((key, own[key][0]) for key in sorted(own) if key not in (name, *REPLICATES))
        )
        weights.setdefault(level, set()).add(tuple(sorted(results.weights.get(row["run"], {}).items())))
    return all(len(found) == 1 for found in (*cells.values(), *weights.values()))


def _crossed(results: StudyResults, name: str, other: str) -> bool:
    """Tells if two factors have two levels each, all four of whose combinations there are."""
    pairs = {(_level(results, row["run"], name), _level(results, row["run"], other)) for row in results.runs}
    partners: dict[str, set[str]] = {}
    for level, second in pairs:
        if level is not None and second is not None:
            partners.setdefault(level, set()).add(second)
    found = list(partners.values())
    return any(len(one & two) > 1 for place, one in enumerate(found) for two in found[:place])


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
    first: str,
    measure: str,
    *,
    pooled: bool,
    runs: frozenset[str] | None = None,
) -> list[dict[str, Any]]:
    values = results.scores[measure]
    by_level: dict[str, list[str]] = {level["level"]: [] for level in levels}
    for run in values:
        level = _level(results, run, name)
        if level is not None and (runs is None or run in runs):
            by_level[level].append(run)
    spread = _pooled([[values[run] for run in own] for own in by_level.values()]) if pooled else None
    cells: list[dict[str, Any]] = []
    for level, own in by_level.items():
        scores = [values[run] for run in own]
        mean = math.fsum(scores) / len(scores) if scores else None
        interval = t_interval(scores)
        if spread and mean is not None and len(scores) > 1:
            interval = t_interval_of(mean, spread[0], count=len(scores), freedom=spread[1])
        difference = None if level == first else _difference(results, values, name, own, by_level[first])
        if difference and spread:
            sizes = (len(own), len(by_level[first]))
            wide = spread[0] * math.sqrt(sum(1 / size for size in sizes))
            known = t_interval_of(difference["value"], wide, count=1, freedom=spread[1])
            difference["interval"] = known if min(sizes) > 1 else None
        cells.append({"runs": len(own), "mean": mean, "interval": interval, "difference": difference})
    return cells


def _pooled(groups: Sequence[Sequence[float]]) -> tuple[float, int] | None:
    """The standard deviation within groups and its degrees of freedom; ``None`` where no group has two."""
    freedom = sum(len(group) - 1 for group in groups if group)
    if not freedom:
        return None
    squares = 0.0
    for group in groups:
        mean = math.fsum(group) / max(len(group), 1)
        squares += math.fsum((value - mean) ** 2 for value in group)
    return math.sqrt(squares / freedom), freedom


def _difference(
    results: StudyResults, values: Mapping[str, float], name: str, own: Sequence[str], first: Sequence[str]
) -> dict[str, Any] | None:
    """The mean difference to the first level over pairs that are equal in the factors which both have."""
    if not own or not first:
        return None
    # An arm has another name than the baseline that it is held against.
    shared = set.intersection(*(set(results.levels[run]) for run in (*own, *first))) - {name, ARM}

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
    factor: tuple[str, Sequence[Mapping[str, Any]], str],
    other: tuple[str, Sequence[Mapping[str, Any]]],
    measures: Sequence[str],
) -> dict[str, Any]:
    name, levels, first = factor
    by, others = other
    rows = []
    for level in others:
        runs = frozenset(run for run in results.levels if _level(results, run, by) == level["level"])
        rows.append(
            {measure: _cells(results, name, levels, first, measure, pooled=False, runs=runs) for measure in measures}
        )
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
