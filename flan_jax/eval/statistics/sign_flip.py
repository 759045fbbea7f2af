"""Sign-flip tests of paired differences: had the two models the same skill, each pair could be swapped as well.

The p value is the share of all swaps whose difference is at least as large, in either direction: of all of them where
they are few or a binomial counts them, else of a sample, which the observed one joins (Phipson and Smyth 2010).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan_jax.eval.metrics.metric import Metric
from flan_jax.eval.statistics.bootstrap import generator

FLIPS = 9999
"""Swaps sampled where there are too many to go through."""
_MOST_ENUMERATED = 14
_CHUNK = 1 << 22
# Two differences that should be equal may differ by rounding.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Rows of two models of one task, of which those of a unit are swapped together.

    Attributes:
        metric: of the task.
        first, second: ``[units, k]``, rows summed over each unit.
        count: number of rows.
    """

    metric: Metric
    first: np.ndarray
    second: np.ndarray
    count: int

    def difference(self) -> float:
        """The score of the second minus that of the first."""
        return float(self._score(self.second.sum(axis=0)) - self._score(self.first.sum(axis=0)))

    def flipped(self, swapped: np.ndarray) -> np.ndarray:
        """Computes the differences, ``[flips]``, where the units with a 1 in ``[flips, units]`` are swapped."""
        change = swapped.astype(np.float64) @ (self.second - self.first)
        return self._score(self.second.sum(axis=0) - change) - self._score(self.first.sum(axis=0) + change)

    def flipped_rows(self, swapped: np.ndarray) -> np.ndarray:
        """Does as ``flipped`` for a metric of rows that no sums decide, whose units are single rows."""
        of_rows = self.metric.of_rows
        assert of_rows is not None
        choice = swapped.astype(bool)[..., None]
        return of_rows(np.where(choice, self.first, self.second)) - of_rows(np.where(choice, self.second, self.first))

    def _score(self, sums: np.ndarray) -> np.ndarray:
        return self.metric.aggregate(sums, self.count)


def flip_examples(tasks: Sequence[Pairs], *, observed: float, name: str, seed: int = 0) -> tuple[float, str]:
    """Tests the mean over tasks of their differences, swapping each unit of each task by itself.

    Args:
        tasks: at least one.
        observed: the mean difference.
        name: what tells these draws from others.
        seed: another seed, other swaps.

    Returns:
        (p, ``exact`` or ``sampled``).
    """
    import scipy.stats

    if all(task.metric.is_mean for task in tasks):
        weights = np.concatenate([(t.second - t.first)[:, 0] / (t.count * len(tasks)) for t in tasks])
        weights = np.abs(weights[weights != 0])
        if not len(weights):
            return 1.0, "exact"
        if np.ptp(weights) <= _ROUNDING * weights[0]:  # as of one task scored right or wrong: McNemar's exact test
            moved = round((observed / weights[0] + len(weights)) / 2)
            return float(scipy.stats.binomtest(moved, len(weights)).pvalue), "exact"
        if len(weights) <= _MOST_ENUMERATED:
            return flip_values(weights, observed=observed, name=name, seed=seed)
    rng = generator("flips", seed, name)
    total = np.zeros(FLIPS)
    for task in tasks:
        total += _sampled(task, rng)
    return _share(total / len(tasks), observed), "sampled"


def flip_values(values: np.ndarray, *, observed: float, name: str, seed: int = 0) -> tuple[float, str]:
    """Tests a sum of independent differences, such as those of tasks or clusters, by the signs of all of them.

    Args:
        values: ``[m]``; they sum to the observed difference, but for their signs.
        observed: the difference.
        name: what tells these draws from others.
        seed: another seed, other signs.
    """
    if len(values) <= _MOST_ENUMERATED:
        bits = (np.arange(1 << len(values))[:, None] >> np.arange(len(values))) & 1
        sums = (1 - 2 * bits) @ values
        return float(np.mean(np.abs(sums) >= abs(observed) * (1 - _ROUNDING) - 1e-15)), "exact"
    signs = generator("flips", seed, name).integers(2, size=(FLIPS, len(values))) * 2 - 1
    return _share(signs @ values, observed), "sampled"


def _sampled(task: Pairs, rng: np.random.Generator) -> np.ndarray:
    """Differences of one task under ``FLIPS`` random swaps."""
    if task.metric.is_mean:
        moves = (task.second - task.first)[:, 0] / task.count
        moves = np.abs(moves[moves != 0])
        if not len(moves) or np.ptp(moves) <= _ROUNDING * moves[0]:
            size = float(moves[0]) if len(moves) else 0.0
            return size * (2.0 * rng.binomial(len(moves), 0.5, FLIPS) - len(moves))
    flip = task.flipped
    if task.metric.of_rows is not None:
        flip = task.flipped_rows
    units, parts = len(task.first), []
    size = max(1, _CHUNK // max(1, units))
    for start in range(0, FLIPS, size):
        wanted = min(size, FLIPS - start)
        bits = np.unpackbits(rng.integers(256, size=(wanted, -(-units // 8)), dtype=np.uint8), axis=1, count=units)
        parts.append(flip(bits))
    return np.concatenate(parts)


def _share(flipped: np.ndarray, observed: float) -> float:
    extreme = int(np.sum(np.abs(flipped) >= abs(observed) * (1 - _ROUNDING) - 1e-15))
    return (extreme + 1) / (len(flipped) + 1)
