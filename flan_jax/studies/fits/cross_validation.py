"""Repeated K-fold cross-validation of a family: what it predicts for runs that it was not fitted to.

Replicates of one mixture stay in one fold, as a fit that saw one of them has seen the others.
"""

import dataclasses
import functools

import numpy as np

from flan_jax.studies.fits.estimate import Estimate, bootstrapped
from flan_jax.studies.fits.family import LawFamily

FEW_RUNS = 128
"""Below so many runs ten folds are made, so that a fit lacks a tenth of them only; else five."""
REPEATS = 3
RESAMPLES = 500


@dataclasses.dataclass(frozen=True)
class CrossValidated:
    """Predictions out of fold, and how good they are.

    Attributes:
        family: its name.
        predicted: [repeats, n] losses, each predicted by a fit without that run's fold.
        sd: [repeats, n], the family's own standard deviations; ``None`` where it states none.
        spearman: rank correlation of predicted and measured, mean over repeats; NaN where predictions are constant.
        rmse: root mean squared error.
        explained: 1 - squared error / squared error of the mean of the runs fitted to: 0 is no better than the mean.
    """

    family: str
    predicted: np.ndarray
    sd: np.ndarray | None
    spearman: Estimate
    rmse: Estimate
    explained: Estimate

    @property
    def beats_mean(self) -> bool:
        """Tells if the interval of ``explained`` lies above 0."""
        return self.explained.low > 0


def fold_count(points: np.ndarray) -> int:
    """Returns the number of folds for runs with these points."""
    return min(10 if len(points) < FEW_RUNS else 5, int(points.max()) + 1)


def folds(points: np.ndarray, *, repeats: int, seed: int) -> np.ndarray:
    """Deals points to folds anew for each repeat: [repeats, n] numbers of folds; replicates share theirs."""
    count, distinct = fold_count(points), int(points.max()) + 1
    generator = np.random.default_rng(np.random.SeedSequence((seed, 4)))
    dealt = np.stack([generator.permutation(distinct) % count for _ in range(repeats)])
    return dealt[:, points]


def cross_validate(
    family: LawFamily,
    weights: np.ndarray,
    losses: np.ndarray,
    points: np.ndarray,
    *,
    seed: int,
    repeats: int = REPEATS,
    resamples: int = RESAMPLES,
) -> CrossValidated:
    """Fits a family without each fold in turn and predicts the fold.

    Args:
        family: what is fitted.
        weights: [n, K].
        losses: [n].
        points: [n], the number of each run's point (``RunTable.points``).
        seed: decides the folds, the same for every family, and the resamples.
        repeats: how often the folds are dealt.
        resamples: of points, for the intervals.
    """
    dealt = folds(points, repeats=repeats, seed=seed)
    predicted, baseline = np.empty(dealt.shape), np.empty(dealt.shape)
    sd: np.ndarray | None = np.empty(dealt.shape)
    for repeat, numbers in enumerate(dealt):
        for fold in range(numbers.max() + 1):
            out = numbers == fold
            found = family.fit(weights[~out], losses[~out], seed=seed).predict(weights[out])
            predicted[repeat, out], baseline[repeat, out] = found.mean, losses[~out].mean()
            if found.sd is None:
                sd = None
            elif sd is not None:
                sd[repeat, out] = found.sd
    squares, of_mean = ((own - losses) ** 2 for own in (predicted, baseline))
    interval = functools.partial(bootstrapped, points=points, resamples=resamples, seed=seed)
    return CrossValidated(
        family.name,
        predicted,
        sd,
        interval(lambda counts: _spearman(predicted, losses, counts)),
        interval(lambda counts: np.sqrt(_mean(squares, counts))),
        interval(lambda counts: _explained(squares, of_mean, counts)),
    )


def spearman(predicted: np.ndarray, losses: np.ndarray) -> float:
    """Returns the mean over repeats of Spearman's correlation; NaN where one of them is constant.

    Args:
        predicted: [repeats, n].
        losses: [n].
    """
    return float(_spearman(predicted, losses, np.ones((1, len(losses))))[0])


def _spearman(predicted: np.ndarray, losses: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the correlation of ranks where each run is there so often: [m, n] counts to [m], mean over repeats."""
    measured = _ranks(losses, counts)
    found = [_correlation(_ranks(own, counts), measured, counts) for own in predicted]
    return np.mean(found, axis=0)


def _ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns ranks among values that are there so often, equal ones sharing the mean of theirs: [n], [m, n] to [m, n]."""
    distinct, which = np.unique(values, return_inverse=True)
    order = np.argsort(which, kind="stable")
    first = np.searchsorted(which[order], np.arange(len(distinct)))
    together = np.add.reduceat(counts[:, order], first, axis=1)
    return (np.cumsum(together, axis=1) - (together - 1) / 2)[:, which]


def _correlation(first: np.ndarray, second: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns Pearson's correlation where each run is there so often, all [m, n] to [m]; NaN where one is constant."""
    total = counts.sum(axis=1, keepdims=True)
    a, b = (own - (counts * own).sum(axis=1, keepdims=True) / total for own in (first, second))
    products = np.sqrt((counts * a**2).sum(axis=1) * (counts * b**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return (counts * a * b).sum(axis=1) / np.where(products > 0, products, np.nan)


def _mean(squares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the mean over runs and repeats where each run is there so often: [repeats, n], [m, n] to [m]."""
    return counts @ squares.mean(axis=0) / counts.sum(axis=1)


def _explained(squares: np.ndarray, of_mean: np.ndarray, counts: np.ndarray) -> np.ndarray:
    own, mean = _mean(squares, counts), _mean(of_mean, counts)
    return np.where(mean > 0, 1 - own / np.where(mean > 0, mean, 1.0), 0.0)
