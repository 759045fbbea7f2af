"""A study as a table of text lines: the state of its runs, their scores, and when it will be done."""

import dataclasses
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.eval.suites import StepResults
from flan_jax.studies.executor import RunProgress
from flan_jax.studies.objectives import Objective, means
from flan_jax.studies.plan import RunPlan
from flan_jax.studies.run_records import STATES, State
from flan_jax.studies.run_rows import newest_results
from flan_jax.studies.run_states import RunState
from flan_jax.studies.study_dir import StudyDir
from flan_jax.train.hooks import duration

_ORDER: tuple[State, ...] = ("running", "failed", "diverged", "interrupted", "done", "pending")
"""States in the order in which a table that has no room for all runs shows them."""
_HEADING = ("run", "state", "step", "loss", "objective", "score", "levels")
_LEVELS = 40


@dataclasses.dataclass(frozen=True)
class Score:
    """The result of a run.

    Attributes:
        step: at which it was measured.
        objective: of the study; ``None`` where the run has none.
        score: mean of the suite's tasks by their own metrics, with its 95% interval; ``None`` without one.
    """

    step: int
    objective: float | None
    score: tuple[float, float, float] | None


def score_of(study: StudyDir, name: str, objective: Objective) -> Score | None:
    """Reads what a run came to by its newest results; ``None`` where it has none."""
    results = newest_results(study.model_dir(name))
    if results is None:
        return None
    average = results.averages.get(objective.suite)
    score = None if average is None else (average.value, *average.interval)
    return Score(results.step, objective_of(results, objective), score)


def objective_of(results: StepResults, objective: Objective) -> float | None:
    """Returns the objective by results of one step; ``None`` where they do not have it."""
    members = results.suites.get(objective.suite, [])
    if objective.part and any(result.name == objective.part for result in members):
        members = [result for result in members if result.name == objective.part]
    cluster = objective.part if any(result.cluster == objective.part for result in members) else ""
    if objective.part and not cluster and not any(result.name == objective.part for result in members):
        return None
    found = (mean.value for mean in means(members) if (mean.metric, mean.cluster) == (objective.metric, cluster))
    return next(found, None)


def counts(states: Mapping[str, RunState], names: Sequence[str]) -> dict[State, int]:
    """Counts runs by state; states that none is in are left out."""
    found = Counter(states[name].state for name in names)
    return {state: found[state] for state in STATES if found[state]}


def counted(found: Mapping[State, int]) -> str:
    """Says counts in words.

    >>> counted({"done": 3, "failed": 1})
    '3 done, 1 failed'
    """
    return ", ".join(f"{count} {state}" for state, count in found.items())


def seconds_left(
    states: Mapping[str, RunState], names: Sequence[str], progress: Mapping[str, RunProgress], running_seconds: float
) -> float | None:
    """Estimates when the runs are done, at the speed so far; ``None`` before there is one.

    A run takes as long as those that are done took, its part of a group's time; before any is done, as long as those that
    are running promise. Processes that are at work divide what is left.

    Args:
        states: of all runs.
        names: of the runs that are to be done.
        progress: name of each run that this process is training → its progress.
        running_seconds: for which they have been training.
    """
    took = [states[name].record.wall_seconds for name in states if states[name].state == "done"]
    shares = {name: own.step / own.steps for name, own in progress.items() if own.step and own.steps}
    if took:
        each = statistics.fmean(took)
    elif shares:
        each = running_seconds / sum(shares.values())
    else:
        return None
    left = [name for name in names if states[name].state in ("pending", "interrupted", "running")]
    owners = {(own.host, own.pid) for own in (states[name].owner for name in left) if own is not None}
    return each * sum(1 - shares.get(name, 0.0) for name in left) / max(len(owners), 1)


def eta(seconds: float | None) -> str:
    """Says a time that is left, ``?`` where nobody knows."""
    return "?" if seconds is None else duration(seconds)


def run_line(plan: RunPlan, state: RunState, progress: RunProgress | None, score: Score | None) -> tuple[str, ...]:
    """Returns the cells of a run's row."""
    step = f"{progress.step:,}/{progress.steps:,}" if progress else f"{score.step:,}" if score else ""
    loss = progress.losses.get(plan.name) if progress else None
    objective = score.objective if score else None
    return (
        plan.name,
        state.state,
        step,
        "" if loss is None else f"{loss:.3f}",
        "" if objective is None else f"{objective:.4f}",
        "" if score is None or score.score is None else interval(score.score),
        state.record.reason if state.state in ("failed", "diverged") else levels(plan),
    )


def interval(score: tuple[float, float, float]) -> str:
    """Writes a score with its interval in per cent.

    >>> interval((0.5, 0.44, 0.56))
    '50.0% [44.0, 56.0]'
    """
    value, low, high = score
    return f"{100 * value:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def levels(plan: RunPlan) -> str:
    """Writes a run's levels in a line."""
    text = ", ".join(f"{name}={_short(level)}" for name, level in plan.levels.items())
    return f"{text}{' ' if text else ''}(again, {plan.replicate})" if plan.replicate else text


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LEVELS else f"{text[: _LEVELS - 1]}…"


def table(
    study: StudyDir,
    states: Mapping[str, RunState],
    names: Sequence[str],
    *,
    scores: Mapping[str, Score | None],
    progress: Mapping[str, RunProgress],
    most: int | None = None,
) -> list[str]:
    """Returns a heading and a line a run; with ``most``, of so many runs at most, those at work first."""
    shown = list(names)
    if most is not None and len(shown) > most:
        place = {name: number for number, name in enumerate(shown)}
        by_news = sorted(shown, key=lambda name: (_ORDER.index(states[name].state), -_news(states[name]), place[name]))
        shown = sorted(by_news[: max(most - 1, 1)], key=place.__getitem__)
    rows = [
        _HEADING,
        *(run_line(study.plan(name), states[name], progress.get(name), scores.get(name)) for name in shown),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADING) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
    others = len(names) - len(shown)
    return [line.rstrip() for line in lines] + ([f"… and {others:,} more"] if others else [])


def _news(state: RunState) -> float:
    """Orders runs by when they ended: digits of a time in ISO 8601 are in its order."""
    last = state.record.last
    return float("".join(filter(str.isdigit, last.ended)) or 0) if last else 0.0
