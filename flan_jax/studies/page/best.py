"""The best point of a study, and the noise of its runs: how far apart runs are that differ in their seed alone."""

import dataclasses
import math
from typing import Any

import numpy as np

from flan_jax.eval.statistics.t_interval import t_interval_of
from flan_jax.studies.fits.noise_ceiling import NoiseCeiling, noise_ceiling
from flan_jax.studies.page.factors import SEED
from flan_jax.studies.page.results import StudyResults


@dataclasses.dataclass(frozen=True)
class Points:
    """Points of a study that have a score: runs that are equal but for the seed.

    Attributes:
        runs: of each point, the runs that have the objective.
        means: [points], of the objective.
        noise: the pooled spread within points; ``None`` where none was run twice.
        freedom: degrees of freedom of that spread.
    """

    runs: list[list[str]]
    means: list[float]
    noise: NoiseCeiling | None
    freedom: int


def points_of(results: StudyResults) -> Points:
    """Groups the runs that are done by their point."""
    point = {row["run"]: row["point"] for row in results.runs}
    groups: dict[str, list[str]] = {}
    for run in results.values:
        groups.setdefault(point[run], []).append(run)
    runs = list(groups.values())
    values = [[results.values[run] for run in own] for own in runs]
    numbers = np.repeat(np.arange(len(runs)), [len(own) for own in runs])
    losses = np.array([value for own in values for value in own])
    return Points(
        runs,
        [math.fsum(own) / len(own) for own in values],
        noise_ceiling(losses, numbers) if runs else None,
        sum(len(own) - 1 for own in runs),
    )


def best_point(results: StudyResults, points: Points) -> dict[str, Any] | None:
    """Describes the point whose mean is best; ``None`` where no run has the objective.

    Returns:
        Its ``runs``, their ``mean`` with its ``interval``: Student's, with the spread of all replicates of the study, or
        ``None`` where nothing was run twice; its ``levels`` and ``weights``; ``points``, among how many it was chosen, and
        ``mean_of_all``, the mean over runs, since the best of many is partly luck.
    """
    if not points.runs:
        return None
    sign = 1 if results.objective.higher_is_better else -1
    place = max(range(len(points.runs)), key=lambda at: sign * points.means[at])
    runs, mean = points.runs[place], points.means[place]
    noise = points.noise
    levels = results.levels.get(runs[0], {})
    values = list(results.values.values())
    return {
        "runs": runs,
        "mean": mean,
        "interval": t_interval_of(mean, noise.sd.value, count=len(runs), freedom=points.freedom) if noise else None,
        "levels": {name: level for name, (level, _) in levels.items() if name != SEED},
        "weights": dict(results.weights.get(runs[0], {})),
        "points": len(points.runs),
        "mean_of_all": math.fsum(values) / len(values),
    }


def noise_of(points: Points) -> dict[str, Any] | None:
    """Describes the noise as JSON holds it."""
    return None if points.noise is None else {**dataclasses.asdict(points.noise), "freedom": points.freedom}
