"""Effects of units: the predicted change of a run's score when one unit's share rises."""

import dataclasses

import numpy as np

from flan_jax.studies.fits.estimate import Estimate, percentiles
from flan_jax.studies.proposals.predictive import Predictive

RISE = 0.1
"""Share that a unit gains."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """A unit's effect.

    Attributes:
        unit: its name.
        change: of the loss when the unit gains ``RISE`` of the mixture; below 0 is better.
        runs: how many of the runs have the unit.
    """

    unit: str
    change: Estimate
    runs: int


def effects(fit: Predictive, units: tuple[str, ...], prior: np.ndarray, weights: np.ndarray) -> tuple[Effect, ...]:
    """Moves the prior toward each unit in turn, all others shrinking in proportion: Cox's direction (Cox 1971).

    A coefficient says less: one weight of a mixture cannot change alone.

    Args:
        fit: the law and its resampled fits.
        units: names of the K units.
        prior: [K], where the change is looked at.
        weights: [n, K], of the runs.

    Returns:
        An effect for each unit, the largest first.
    """
    moved = (1 - RISE) * prior[None] + RISE * np.eye(len(units))
    changes = fit.mean(moved) - fit.mean(prior[None])
    drawn = fit.resampled_means(moved) - fit.resampled_means(prior[None])
    found = [
        Effect(unit, Estimate(float(changes[at]), *percentiles(drawn[:, at])), int((weights[:, at] > 0).sum()))
        for at, unit in enumerate(units)
    ]
    return tuple(sorted(found, key=lambda effect: -abs(effect.change.value)))
