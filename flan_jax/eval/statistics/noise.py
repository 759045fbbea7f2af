"""Signal and noise of a task: how far apart models score, against how much one model's score moves between checkpoints.

As in Heineman et al., "Signal and Noise" (2025, arXiv:2508.13144): signal is the largest difference between two scores,
and noise the standard deviation of the scores of a run's last checkpoints, both divided by a mean score. A task whose
ratio is small ranks models by luck.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

LAST = 5
"""Most checkpoints at the end of a run whose spread is noise, as the paper takes of small models."""
FEWEST = 3
"""A standard deviation of fewer scores says nothing."""


@dataclasses.dataclass(frozen=True)
class Noise:
    """Signal and noise of a task.

    Attributes:
        signal: largest difference between two scores, relative to their mean: of checkpoints of one run, or of runs.
        noise: sample standard deviation of the last scores of a run, relative to their mean.
        deviation: the same standard deviation, in points of the score (0 to 1).
        ratio: signal / noise; infinite without noise, 0 where there is neither.
        by_chance: the ratio that noise alone is expected to show, of as many scores.
        scores: number of scores that the signal is of.
        last: number of scores that the noise is of (of each run).
    """

    signal: float
    noise: float
    deviation: float
    ratio: float
    by_chance: float
    scores: int
    last: int


def noise_of_run(scores: Mapping[int, float], *, last: int | None = None) -> Noise | None:
    """Computes signal and noise of a task over one run.

    The signal is how far the task's score moved over training.

    Args:
        scores: step → score.
        last: steps at the end that noise is measured on; by default ``last_steps``.

    Returns:
        The two, or ``None`` with fewer than 3 such steps, or a mean that is not positive.
    """
    ordered = np.asarray([scores[step] for step in sorted(scores)], np.float64)
    return _noise(ordered, [ordered[-(last or last_steps(len(ordered))) :]])


def last_steps(count: int) -> int:
    """Counts the steps at the end of so many whose spread is taken for noise: half of them, and 5 at most.

    What is learned in the first half would count as noise otherwise.
    """
    return max(1, min(LAST, (count + 1) // 2))


def noise_of_runs(scores: Sequence[Mapping[int, float]], *, last: int = LAST) -> Noise | None:
    """Computes signal and noise of a task over several runs.

    The signal is how far apart the runs' means over their last checkpoints are; the noise is pooled over the runs.

    Args:
        scores: of each run, step → score.
        last: steps at the end of each run.

    Returns:
        The two, or ``None`` with fewer than two runs, or a run with fewer than 3 scores.
    """
    ends = [np.asarray([run[step] for step in sorted(run)], np.float64)[-last:] for run in scores]
    if len(ends) < 2 or min(map(len, ends)) < FEWEST:
        return None
    return _noise(np.asarray([end.mean() for end in ends]), ends, averaged=True)


def _noise(scores: np.ndarray, ends: Sequence[np.ndarray], *, averaged: bool = False) -> Noise | None:
    fewest = min(map(len, ends))
    if fewest < FEWEST or not np.isfinite(scores).all():
        return None
    centers = scores.mean(), np.concatenate(ends).mean()
    if min(centers) <= 0:
        return None
    freedom = sum(len(end) - 1 for end in ends)
    deviation = float(np.sqrt(sum(np.square(end - end.mean()).sum() for end in ends) / freedom))
    signal, noise = float(np.ptp(scores) / centers[0]), float(deviation / centers[1])
    ratio = signal / noise if noise > 0 else (np.inf if signal > 0 else 0.0)
    by_chance = expected_range(len(scores)) / (np.sqrt(fewest) if averaged else 1.0)
    return Noise(signal, noise, deviation, ratio, float(by_chance), len(scores), fewest)


@functools.cache
def expected_range(count: int) -> float:
    """Computes the expected range of so many draws of a standard normal (Tippett 1925).

    >>> round(expected_range(5), 3)
    2.326
    """
    import scipy.integrate
    import scipy.stats

    def outside(x: float) -> float:
        below = float(scipy.stats.norm.cdf(x))
        return 1 - below**count - (1 - below) ** count

    return float(scipy.integrate.quad(outside, -8, 8)[0])
