"""A chosen law with its uncertainty: fits to resampled runs, and the errors that it made out of fold.

A run's loss at a mixture p is predicted as f_b(p) + e, where f_b is fitted to resampled points and e is an error that
the family made on a run it had not seen. The spread of f_b(p) is what the runs leave open of the law; e is what the law
cannot say: noise of a run, and what the law misses.
"""

import dataclasses

import numpy as np

from flan_jax.studies.fits.choice import FamilyChoice
from flan_jax.studies.fits.estimate import Estimate, percentiles, resampled_counts
from flan_jax.studies.fits.families import FAMILIES
from flan_jax.studies.fits.family import Fitted
from flan_jax.studies.fits.threads import one_thread

RESAMPLES = 200
RESAMPLES_SLOW = 60
"""Of boosted trees, which take a second a fit."""
_DRAWS = 40
"""Errors that are drawn for each resampled fit."""


@dataclasses.dataclass(frozen=True)
class Predictive:
    """A fitted law and its uncertainty.

    Attributes:
        fitted: to all runs.
        resampled: the same law fitted to resampled points.
        errors: measured minus predicted out of fold, of every repeat: [repeats · n]; divided by the family's own
            standard deviation there, where it states one.
        seed: of the draws.
    """

    fitted: Fitted
    resampled: tuple[Fitted, ...]
    errors: np.ndarray
    seed: int

    def mean(self, weights: np.ndarray) -> np.ndarray:
        """Predicts losses, [m, K] to [m]."""
        return self.fitted.predict(weights).mean

    def resampled_means(self, weights: np.ndarray) -> np.ndarray:
        """Predicts losses by every resampled fit, [resamples, m]."""
        return np.stack([own.predict(weights).mean for own in self.resampled])

    def runs(self, weights: np.ndarray) -> list[Estimate]:
        """Predicts the loss of one new run at each of m mixtures, with its 95% prediction interval."""
        found = self.fitted.predict(weights)
        spread = np.ones(len(weights)) if found.sd is None else found.sd
        generator = np.random.default_rng(np.random.SeedSequence((self.seed, 6)))
        means = self.resampled_means(weights)
        drawn = generator.choice(self.errors, (len(means), _DRAWS))
        return [
            Estimate(float(found.mean[at]), *percentiles((means[:, at, None] + spread[at] * drawn).reshape(-1)))
            for at in range(len(weights))
        ]

    def difference(self, first: np.ndarray, second: np.ndarray) -> Estimate:
        """Returns the expected loss of one mixture, [K], minus that of another, with the interval of resampled fits."""
        both = np.stack([first, second])
        means = self.resampled_means(both)
        point = self.mean(both)
        return Estimate(float(point[0] - point[1]), *percentiles(means[:, 0] - means[:, 1]))


@one_thread()
def predictive(choice: FamilyChoice, family: str, *, seed: int, resamples: int = RESAMPLES) -> Predictive:
    """Fits a family to all runs of a choice and to resampled ones.

    Args:
        choice: runs, and the family's errors out of fold.
        family: the name of one that was compared.
        seed: of the fit and the resamples.
        resamples: fits to resampled points; replicates go together.
    """
    table = choice.table
    losses, points = table.losses(choice.objective), table.points()
    fitted = FAMILIES[family].fit(table.weights, losses, seed=seed)
    generator = np.random.default_rng(np.random.SeedSequence((seed, 7)))
    refitted = []
    for counts in resampled_counts(points, generator, resamples):
        rows = np.repeat(np.arange(len(points)), counts)
        refitted.append(fitted.refit(table.weights[rows], losses[rows]))
    checked = next(own for own in choice.compared if own.family == family)
    errors = losses - checked.predicted
    if checked.sd is not None:
        errors = errors / checked.sd
    return Predictive(fitted, tuple(refitted), errors.reshape(-1), seed)
