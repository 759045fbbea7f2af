"""Predictions that were written before the runs against what these measured, and how often the intervals covered it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scipy import stats

from flan_jax.studies.fits.estimate import LEVEL, Estimate


@dataclasses.dataclass(frozen=True)
class Confirmed:
    """One run that was predicted.

    Attributes:
        place: the folder of the proposal.
        name: ``proposed``, ``proportional`` or ``equal``.
        predicted: with its 95% interval of one run.
        measured: ``None`` where the run has no score yet.
    """

    place: str
    name: str
    predicted: Estimate
    measured: float | None

    @property
    def covered(self) -> bool | None:
        """Tells if the interval holds what was measured; ``None`` where nothing was."""
        return None if self.measured is None else self.predicted.low <= self.measured <= self.predicted.high


def confirmed(place: str, document: Mapping[str, Any], measured: Mapping[str, float]) -> list[Confirmed]:
    """Sets what was predicted of each mixture beside what was measured.

    Args:
        place: the folder, to be shown.
        document: of ``proposal.json``.
        measured: mixture → score of its run; those without are left out.
    """
    return [
        Confirmed(place, name, Estimate(own["value"], own["low"], own["high"]), measured.get(name))
        for name, own in document["predictions"].items()
    ]


def coverage(runs: Sequence[Confirmed]) -> tuple[int, int, Estimate] | None:
    """Counts how often the intervals covered; ``None`` where nothing was measured.

    Returns:
        Covered, measured, and the share with its exact 95% interval (Clopper-Pearson 1934).
    """
    known = [bool(run.covered) for run in runs if run.covered is not None]
    if not known:
        return None
    hit, count = sum(known), len(known)
    alpha = 1 - LEVEL
    low = 0.0 if hit == 0 else float(stats.beta.ppf(alpha / 2, hit, count - hit + 1))
    high = 1.0 if hit == count else float(stats.beta.ppf(1 - alpha / 2, hit + 1, count - hit))
    return hit, count, Estimate(hit / count, low, high)
