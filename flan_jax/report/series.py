"""Loss curves for the page: overall, by cluster and by task, thinned so that a long run stays a small file."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.report.run import Run, is_number, mapping

Points = list[tuple[int, float]]

MOST_POINTS = 400
"""Points of the overall curve and of each cluster's."""
TASK_POINTS = 60_000
"""Points of all tasks' curves together; with many tasks each gets fewer, and at least ``FEWEST``."""
FEWEST = 12


def loss_curves(run: Run) -> dict[str, Any]:
    """Collects the curves of a run as JSON values: ``{"steps": [...], "losses": [...]}`` each, nats a token.

    Returns:
        ``overall``, one curve, and ``clusters`` and ``tasks``, a curve by name. A cluster's loss in a window is the mean
        over its tasks, weighted by their loss tokens, as the overall loss is over all tasks.
    """
    tasks: dict[str, Points] = {}
    sums: dict[str, dict[int, tuple[float, float]]] = {}
    entries = mapping(run.manifest.get("tasks"))
    cluster_of = {name: str(mapping(entry).get("cluster", "")) for name, entry in entries.items()}
    for line in run.metrics:
        shares = mapping(line.get("task_share"))
        for name, loss in mapping(line.get("task_loss")).items():
            if not is_number(loss):
                continue
            tasks.setdefault(name, []).append((line["step"], float(loss)))
            share = shares.get(name)
            if cluster_of.get(name) and is_number(share):
                of_cluster = sums.setdefault(cluster_of[name], {})
                total, weight = of_cluster.get(line["step"], (0.0, 0.0))
                of_cluster[line["step"]] = (total + share * loss, weight + share)
    clusters = {
        name: [(step, total / weight) for step, (total, weight) in windows.items() if weight > 0]
        for name, windows in sums.items()
    }
    each = max(FEWEST, min(MOST_POINTS // 2, TASK_POINTS // max(len(tasks), 1)))
    return {
        "overall": _curve(run.loss(), MOST_POINTS),
        "clusters": _curves(clusters, MOST_POINTS // 2),
        "tasks": _curves(tasks, each),
    }


def thinned(points: Sequence[tuple[int, float]], most: int = MOST_POINTS) -> Points:
    """Thins a curve to at most ``most`` points: means over equal numbers of neighbours; the first and last steps stay.

    >>> thinned([(0, 4.0), (1, 2.0), (2, 1.0), (3, 0.0)], most=2)
    [(0, 3.0), (3, 0.5)]
    """
    if len(points) <= most:
        return list(points)
    edges = [len(points) * index // most for index in range(most + 1)]
    thin = []
    for index, (start, stop) in enumerate(itertools.pairwise(edges)):
        part = points[start:stop]
        step = part[0][0] if index == 0 else part[-1][0]
        thin.append((step, math.fsum(loss for _, loss in part) / len(part)))
    return thin


def _curves(curves: Mapping[str, Points], most: int) -> dict[str, Any]:
    return {name: _curve(points, most) for name, points in sorted(curves.items()) if points}


def _curve(points: Points, most: int) -> dict[str, Any]:
    thin = thinned(points, most)
    return {"steps": [step for step, _ in thin], "losses": [float(f"{loss:.5g}") for _, loss in thin]}
