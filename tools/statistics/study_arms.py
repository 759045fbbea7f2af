"""The table of a study of arms: what every level of every arm comes to over its seeds, with intervals, beside the baseline.

    python tools/statistics/study_arms.py runs/flan_laptop --json docs/studies/flan_laptop.json

Runs that differ in nothing but their seed, and in the order of clusters or tasks that goes with it, are one level. Their
spread is pooled over the levels of an arm and its baseline: with three seeds a level, a spread of its own would rest on two
degrees of freedom. Intervals are Student's, of 95%, and over seeds: other tasks would give other means. A run of no steps has
no spread. Scores are per cent. Where an arm's levels are numbers, a line is fitted to its runs: points for every doubling, or, where one of the
levels is 0, for every step of 1. Tables are printed in Markdown.
"""

import argparse
import json
import math
import sqlite3
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import scipy.stats

BASELINE = "baseline"
REPLICATES = ("arm", "seed", "order", "task_order")
"""Levels in which the runs of one cell may differ."""
LEVEL = 0.95
PERCENT = 100
Key = tuple[str, str]  # suite, metric
Cell = dict[str, Any]  # level, names of runs


def main(argv: Sequence[str] | None = None) -> None:
    """Reads a study, prints its tables, and writes them as JSON where a file is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study_dir", type=Path)
    parser.add_argument("--json", type=Path, help="write the table here")
    parser.add_argument("--metrics", default="choice_probability,score", help="which of each suite")
    given = parser.parse_args(argv)
    table = arms_table(given.study_dir / "study.sqlite", given.metrics.split(","))
    for line in markdown(table):
        print(line)
    if given.json:
        given.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def arms_table(database: Path, metrics: Sequence[str]) -> dict[str, Any]:
    """Returns every arm's levels with the means of their runs that are done."""
    if not database.is_file():
        raise SystemExit(f"There is no {database}. Name the folder of a study that was run.")
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as results:
        results.row_factory = sqlite3.Row
        runs = {row["run"]: dict(row) for row in results.execute("SELECT * FROM runs ORDER BY number")}
        levels: dict[str, dict[str, Any]] = {}
        for row in results.execute("SELECT * FROM levels"):
            level = row["level"] if row["number"] is None else row["number"]
            levels.setdefault(row["run"], {})[row["factor"]] = level
        wanted = f"newest AND metric IN ({','.join('?' * len(metrics))})"
        scores = [dict(row) for row in results.execute(f"SELECT * FROM scores WHERE {wanted}", tuple(metrics))]
    if not any("arm" in own for own in levels.values()):
        raise SystemExit(f"The study in {database.parent} has no arms (the factor Arms).")
    done = [name for name, run in runs.items() if run["state"] == "done"]
    values = _suite_values(scores, set(done))
    return {
        "runs": {state: [run["state"] for run in runs.values()].count(state) for state in _states(runs)},
        "seconds": {
            "training": _sum(runs[name]["seconds"] for name in done),
            "all": _sum(runs[name]["wall_seconds"] for name in done),
        },
        "tokens": _sum(runs[name]["tokens"] for name in done),
        "hardware": sorted({str(runs[name]["hardware"]) for name in done}),
        "interval": LEVEL,
        "chance": _chance(scores),
        "arms": _arms(done, runs, levels, values, _same_tasks(scores, levels, set(done))),
    }


def _states(runs: dict[str, dict[str, Any]]) -> list[str]:
    return sorted({run["state"] for run in runs.values()})


def _sum(values: Iterable[float | None]) -> float:
    return round(math.fsum(value or 0.0 for value in values), 1)


def _suite_values(scores: Sequence[dict[str, Any]], done: set[str]) -> dict[Key, dict[str, float]]:
    """Suite and metric → run → the mean over the suite's clusters."""
    found: dict[Key, dict[str, float]] = {}
    for row in scores:
        if row["kind"] == "suite" and row["run"] in done:
            found.setdefault((row["suite"], row["metric"]), {})[row["run"]] = PERCENT * row["value"]
    return found


def _chance(scores: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Suite → the mean over its clusters of what guessing scores, where all tasks are measured."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in scores:
        if row["kind"] == "task" and row["metric"] == "score" and row["chance"] is not None:
            found.setdefault(row["suite"], {}).setdefault(row["cluster"], {})[row["task"]] = PERCENT * row["chance"]
    return {
        suite: round(statistics.fmean(statistics.fmean(tasks.values()) for tasks in clusters.values()), 2)
        for suite, clusters in found.items()
    }


def _same_tasks(
    scores: Sequence[dict[str, Any]], levels: dict[str, dict[str, Any]], done: set[str]
) -> dict[Key, dict[str, float]]:
    """Suite and metric → run → its mean over tasks, less the baseline's over the same tasks; of suites that differ in them."""
    tasks: dict[Key, dict[str, dict[str, float]]] = {}
    for row in scores:
        if row["kind"] == "task" and row["run"] in done and not row["held_out"]:
            tasks.setdefault((row["suite"], row["metric"]), {}).setdefault(row["run"], {})[row["task"]] = (
                PERCENT * row["value"]
            )
    found: dict[Key, dict[str, float]] = {}
    for key, runs in tasks.items():
        base = [own for run, own in runs.items() if levels[run].get("arm") == BASELINE]
        for run, own in runs.items():
            gaps = [
                value - statistics.fmean(other[task] for other in base)
                for task, value in own.items()
                if base and all(task in other for other in base)
            ]
            if gaps:
                found.setdefault(key, {})[run] = statistics.fmean(gaps)
    return found


def _arms(
    done: Sequence[str],
    runs: dict[str, dict[str, Any]],
    levels: dict[str, dict[str, Any]],
    values: dict[Key, dict[str, float]],
    same: dict[Key, dict[str, float]],
) -> dict[str, Any]:
    """Arm → its cells, and the line through them."""
    names = list(dict.fromkeys(levels[run]["arm"] for run in done if levels[run]["arm"] != BASELINE))
    found: dict[str, Any] = {}
    for arm in names:
        factors = sorted(
            {name for run in done if levels[run]["arm"] == arm for name in levels[run] if name not in REPLICATES}
        )
        cells: dict[str, Cell] = {}
        for run in done:
            own = levels[run]
            if own["arm"] not in (arm, BASELINE) or not all(name in own for name in factors):
                continue
            level = {name: own[name] for name in factors}
            cell = cells.setdefault(json.dumps(level), {"level": level, "runs": [], "baseline": False})
            cell["runs"].append(run)
            cell["baseline"] = cell["baseline"] or own["arm"] == BASELINE
        ordered = sorted(cells.values(), key=lambda cell: [_order(value) for value in cell["level"].values()])
        found[arm] = {
            "levels": [_told(cell, ordered, runs, values, same) for cell in ordered],
            "trend": _trends(ordered, values) if len(factors) == 1 else {},
        }
    return found


def _order(value: Any) -> tuple[int, float, str]:
    return (0, value, "") if isinstance(value, int | float) else (1, 0.0, str(value))


def _told(
    cell: Cell,
    cells: Sequence[Cell],
    runs: dict[str, dict[str, Any]],
    values: dict[Key, dict[str, float]],
    same: dict[Key, dict[str, float]],
) -> dict[str, Any]:
    """A cell as JSON has it."""
    base = next((one for one in cells if one["baseline"]), None)
    fixed = all(runs[run]["evaluated_step"] == 0 for run in cell["runs"])
    measured = {}
    for key, of_runs in values.items():
        own = [of_runs[run] for run in cell["runs"] if run in of_runs]
        if not own:
            continue
        spread, freedom = _pooled([[of_runs[run] for run in one["runs"] if run in of_runs] for one in cells])
        told: dict[str, Any] = {"mean": round(statistics.fmean(own), 2), "values": [round(value, 2) for value in own]}
        told["interval"] = None if fixed else _interval(statistics.fmean(own), spread * len(own) ** -0.5, freedom)
        if base is not None and not cell["baseline"]:
            told |= _difference(key, own, cell, base, of_runs, same, (spread, freedom), fixed)
        measured["/".join(key)] = told
    return {
        "level": cell["level"],
        "baseline": cell["baseline"],
        "runs": cell["runs"],
        "seconds": _sum(runs[run]["seconds"] for run in cell["runs"]),
        "tokens": _sum(runs[run]["tokens"] for run in cell["runs"]),
        "measured": measured,
    }


def _difference(
    key: Key,
    own: Sequence[float],
    cell: Cell,
    base: Cell,
    of_runs: dict[str, float],
    same: dict[Key, dict[str, float]],
    pooled: tuple[float, int],
    fixed: bool,
) -> dict[str, Any]:
    """A cell less the baseline; of suites of trained tasks also over those tasks that both measured."""
    others = [of_runs[run] for run in base["runs"] if run in of_runs]
    if not others:
        return {}
    error = pooled[0] * math.sqrt((0.0 if fixed else 1 / len(own)) + 1 / len(others))
    gap = statistics.fmean(own) - statistics.fmean(others)
    told = {"less_baseline": round(gap, 2), "less_baseline_interval": _interval(gap, error, pooled[1])}
    gaps = [same[key][run] for run in cell["runs"] if run in same.get(key, {})]
    if gaps:
        told["less_baseline_on_its_own_tasks"] = round(statistics.fmean(gaps), 2)
    return told


def _pooled(cells: Sequence[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation within cells, and its degrees of freedom."""
    squares = math.fsum((value - statistics.fmean(own)) ** 2 for own in cells for value in own)
    freedom = sum(len(own) - 1 for own in cells if own)
    return (math.sqrt(squares / freedom), freedom) if freedom else (math.nan, 0)


def _interval(mean: float, error: float, freedom: int) -> list[float] | None:
    if not freedom or not math.isfinite(error):
        return None
    half = float(scipy.stats.t.ppf(0.5 + LEVEL / 2, freedom)) * error
    return [round(mean - half, 2), round(mean + half, 2)]


def _trends(cells: Sequence[Cell], values: dict[Key, dict[str, float]]) -> dict[str, Any]:
    """Suite and metric → slope of a line through all runs of an arm, with its interval; none where levels are no numbers."""
    places = [next(iter(cell["level"].values())) for cell in cells]
    if len(cells) < 3 or not all(isinstance(place, int | float) for place in places):
        return {}
    doubling = min(places) > 0
    found = {}
    for key, of_runs in values.items():
        pairs = [
            (math.log2(place) if doubling else place, of_runs[run])
            for place, cell in zip(places, cells, strict=True)
            for run in cell["runs"]
            if run in of_runs
        ]
        if len(pairs) > 2:
            line = scipy.stats.linregress(*zip(*pairs, strict=True))
            interval = _interval(line.slope, line.stderr, len(pairs) - 2)
            found["/".join(key)] = {
                "for_every": "doubling" if doubling else "1",
                "slope": round(float(line.slope), 2),
                "interval": interval,
            }
    return found


def markdown(table: dict[str, Any]) -> list[str]:
    """Returns one table for each metric, a row for each level."""
    keys = list(
        dict.fromkeys(key for arm in table["arms"].values() for one in arm["levels"] for key in one["measured"])
    )
    lines = []
    for metric in dict.fromkeys(key.partition("/")[2] for key in keys):
        suites = [key.partition("/")[0] for key in keys if key.endswith(f"/{metric}")]
        lines += [
            "",
            f"{metric}:",
            "",
            f"| arm | level | runs | {' | '.join(suites)} |",
            "|---" * (3 + len(suites)) + "|",
        ]
        for name, arm in table["arms"].items():
            for one in arm["levels"]:
                level = ", ".join(_plain(value) for value in one["level"].values())
                shown = [_shown(one["measured"].get(f"{suite}/{metric}")) for suite in suites]
                mark = " (baseline)" if one["baseline"] else ""
                lines.append(f"| {name} | {level}{mark} | {len(one['runs'])} | {' | '.join(shown)} |")
    return lines


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _shown(told: dict[str, Any] | None) -> str:
    if told is None:
        return "–"
    interval = told["interval"]
    return f"{told['mean']:.1f}" + (f" [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else "")


if __name__ == "__main__":
    main()
