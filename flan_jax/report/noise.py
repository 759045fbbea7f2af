"""Signal and noise of a run's tasks over its checkpoints, as lines below the table of scores."""

import math

from flan_jax.eval.provenance import changed_settings
from flan_jax.eval.statistics.noise import Noise, last_steps, noise_of_run
from flan_jax.report.run import Run

_WIDEST = 40


def suite_noise(run: Run, suite: str) -> dict[str, Noise]:
    """Computes signal and noise of every task of a suite, and under ``""`` of the suite's mean.

    Steps that were measured with other settings than the newest are left out.

    Returns:
        Task → its noise; of those that were measured at five steps at least, the last three of which are compared.
    """
    if run.last is None:
        return {}
    newest = run.last.settings.get(suite)
    scores: dict[str, dict[int, float]] = {}
    for results in run.results:
        if suite not in results.suites or changed_settings(results.settings.get(suite), newest):
            continue
        average = results.averages.get(suite)
        if average is not None:
            scores.setdefault("", {})[results.step] = average.value
        for result in results.suites[suite]:
            scores.setdefault(result.name, {})[results.step] = result.value
    found = {name: noise_of_run(own) for name, own in scores.items()}
    return {name: noise for name, noise in found.items() if noise is not None}


def noise_rows(run: Run) -> list[list[str]]:
    """Formats a row a task and one for the mean: name, newest score, its deviation over the last checkpoints, ratio."""
    rows = []
    for suite, results in (run.last.suites if run.last else {}).items():
        found = suite_noise(run, suite)
        average = run.last.averages.get(suite) if run.last else None
        for result in sorted(results, key=lambda r: (r.cluster, r.name)):
            if result.name in found:
                rows.append(_row(result.name, result.value, found[result.name], native=result.native_scale))
        if "" in found and average is not None and len(results) > 1:
            rows.append(_row(f"mean of {suite}", average.value, found[""]))
    return rows


def noise_heading(run: Run) -> list[str]:
    """Says what the rows show."""
    steps = len(run.results)
    return [
        f"Noise: the standard deviation over the last {last_steps(steps)} of {steps} evaluations, in points. Signal to noise:",
        "the range over all of them to that, each relative to its mean score, beside what chance alone gives.",
    ]


def _row(name: str, value: float, noise: Noise, *, native: bool = False) -> list[str]:
    scale = 1 if native else 100
    ratio = "–" if math.isinf(noise.ratio) else f"{noise.ratio:.1f}"
    name = name if len(name) <= _WIDEST else name[: _WIDEST - 1] + "…"
    return [name, f"{scale * value:.4g}" if native else f"{100 * value:.1f}", f"{scale * noise.deviation:.2f}", ratio,
            f"{noise.by_chance:.1f}"]  # fmt: skip
