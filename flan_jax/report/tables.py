"""Tables for a console: plain text, aligned, no colour, at most 100 columns."""

import math
from collections.abc import Sequence
from pathlib import Path

from flan_jax.eval.examples import TaskResult
from flan_jax.eval.option_scores import RANK_METRICS
from flan_jax.eval.suites import SuiteAverage
from flan_jax.report.noise import noise_heading, noise_rows
from flan_jax.report.run import Run, by_task, read_run

_WIDEST = {"task": 24, "cluster": 12, "metric": 11}
_NOTHING = "–"


def percent(value: float | None) -> str:
    """Formats a score from 0 to 1 in per cent.

    >>> percent(0.8125)
    '81.2'
    """
    return _NOTHING if value is None else f"{100 * value:.1f}"


def interval_text(interval: tuple[float, float]) -> str:
    """Formats an interval of scores.

    >>> interval_text((0.5, 0.6))
    '50.0 to 60.0'
    """
    return f"{percent(interval[0])} to {percent(interval[1])}"


def own_scale(result: TaskResult | SuiteAverage | None) -> bool:
    """Tells whether a result is on the task's native scale, which is shown as it is."""
    return isinstance(result, TaskResult) and result.native_scale


def score_text(result: TaskResult | SuiteAverage | None) -> str:
    """Formats a result: in per cent, or as it is on a native scale."""
    if result is None:
        return _NOTHING
    if not own_scale(result):
        return percent(result.value)
    return f"{result.value:.4g}" if math.isfinite(result.value) else _NOTHING


def score_interval(result: TaskResult | SuiteAverage) -> str:
    """Formats the interval of a result, on the scale of ``score_text``."""
    if result.interval is None:
        return _NOTHING
    low, high = result.interval
    return f"{low:.4g} to {high:.4g}" if own_scale(result) else interval_text(result.interval)


def yardstick(result: TaskResult | SuiteAverage, value: float) -> str:
    """Chance, majority or spread beside a result; not known on a scale of the task's own."""
    return _NOTHING if own_scale(result) else percent(value)


def other_metrics(result: TaskResult) -> tuple[str, ...]:
    """The metrics shown below a result's own, each in a row; values on a task's own scale have no such rows.

    What every ranked task has (``RANK_METRICS``) would be six rows of each: that is in the results' file.
    """
    return () if own_scale(result) else tuple(name for name in result.metrics if name not in RANK_METRICS)


def other_text(result: TaskResult | None, name: str) -> str:
    """Formats one of a result's other metrics."""
    value = None if result is None else result.metrics.get(name)
    return percent(value) if isinstance(value, float) else _NOTHING


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Formats aligned columns under their names; columns of numbers stand to the right.

    >>> print(text_table(["task", "n"], [["rte", "5"], ["wic", "120"]]))
    task    n
    rte     5
    wic   120
    """
    cells = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    right = [all(_numeric(row[index]) for row in rows) and bool(rows) for index in range(len(columns))]
    lines = (
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    )
    return "\n".join(lines)


def results_table(model_dir: Path) -> str:
    """Formats the newest evaluation of a run beside its first, grouped by suite; ``""`` where there is none.

    Scores are per cent. The interval is the 95% interval over examples of the newest score. With five evaluations of
    the run, the noise of each task over the last of them stands below.

    Raises:
        UserError: there is no such folder.
    """
    run = read_run(Path(model_dir))
    if run.last is None:
        return ""
    columns = [
        "task",
        "cluster",
        "metric",
        *(["before", "after"] if run.before else ["score"]),
        "chance",
        "majority",
        "95% interval",
    ]
    blocks = [(suite, _suite_rows(run, suite)) for suite in run.last.suites]
    everything = text_table(columns, [row for _, rows in blocks for row in rows]).split("\n")
    lines = [_heading(run), "", everything[0], "-" * max(map(len, everything))]
    at = 1
    for suite, rows in blocks:
        lines += [f"[{suite}]{' clusters held out of training' if run.held_out(suite) else ''}"]
        lines += [*everything[at : at + len(rows)], ""]
        at += len(rows)
    noise = noise_rows(run)
    if noise:
        lines += [
            *noise_heading(run),
            *text_table(["task", "score", "deviation", "signal/noise", "by chance"], noise).split("\n"),
            "",
        ]
    lines += [f"note: {line}" for line in run.unlike()]
    lines += [f"note: {result.name}: {note}" for r in run.last.suites.values() for result in r for note in result.notes]
    lines += [f"not measured: {name}: {why}" for name, why in run.last.failed.items()]
    return "\n".join(lines).rstrip()


def _heading(run: Run) -> str:
    assert run.last is not None
    if run.before is None:
        return f"Scores in per cent after step {run.last.step}."
    return f"Scores in per cent before (step {run.before.step}) and after (step {run.last.step})."


def _suite_rows(run: Run, suite: str) -> list[list[str]]:
    assert run.last is not None
    before = by_task(run.before, suite)
    rows = []
    for result in sorted(run.last.suites[suite], key=lambda r: (r.cluster, r.name)):
        rows.append(_row(result.name, result.cluster, result.metric, run, before.get(result.name), result))
        for name in other_metrics(result):
            scores = [other_text(found, name) for found in ([before.get(result.name)] if run.before else []) + [result]]
            rows.append(["", "", _cut(name, _WIDEST["metric"]), *scores, "", "", ""])
    average = run.last.averages.get(suite)
    if average is not None:
        earlier = run.before.averages.get(suite) if run.before else None
        rows.append(_row(f"mean of {average.tasks} tasks", "", "", run, earlier, average))
        means = [None if earlier is None else earlier.example_mean] if run.before else []
        examples = [percent(mean) for mean in [*means, average.example_mean]]
        rows.append([f"mean of {average.n:,} examples", "", "", *examples, "", "", ""])
    return rows


def _row(
    name: str,
    cluster: str,
    metric: str,
    run: Run,
    before: TaskResult | SuiteAverage | None,
    after: TaskResult | SuiteAverage,
) -> list[str]:
    words = [_cut(word, _WIDEST[key]) for key, word in (("task", name), ("cluster", cluster), ("metric", metric))]
    earlier = [score_text(before)] if run.before else []
    return [
        *words,
        *earlier,
        score_text(after),
        yardstick(after, after.chance),
        yardstick(after, after.majority),
        score_interval(after),
    ]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _numeric(text: str) -> bool:
    return not text or text == _NOTHING or text[0].isdigit() or (text[0] in "-+" and text[1:2].isdigit())
