"""The log-linear mixing law, loss = c + exp(t·p) (Ye et al. 2024, arXiv:2403.16952), by Huber's loss and L-BFGS.

As weights sum to 1, a change of the losses' mean and scale is a change of c and of one constant in all t, so the law
is fitted to standardized losses and holds for scores too (accuracy with its sign turned).
"""

import dataclasses

import numpy as np
from scipy.optimize import minimize

from flan_jax.studies.fits.family import PredictedLosses, Scale

GAPS = (0.05, 0.3, 1.0, 3.0, 10.0)
"""Starts: c lies so many spreads below the lowest loss, and t is the regression of log(loss - c) on the weights."""
JITTERED = 3
"""More starts, drawn around the first ones."""
_TOWARD_MEAN = 1e-4
"""Weight of the squares of t around their mean: it decides a t that the runs leave open (a unit of no run)."""
_HUBER = 1.345
"""Huber's delta in standard deviations of the residuals: 95% efficient where these are normal (Huber 1981)."""
_ROUNDS = 2
_LARGEST_EXPONENT = 50.0
_SCREENING, _ITERATIONS = 60, 400
"""Iterations of L-BFGS from every start, and from the best of their ends."""


@dataclasses.dataclass(frozen=True)
class FittedMixingLaw:
    """A log-linear law; ``coefficients`` are c and the K values of t, for standardized losses."""

    coefficients: np.ndarray
    scale: Scale
    delta: float

    def predict(self, weights: np.ndarray) -> PredictedLosses:
        """Predicts losses, [m]."""
        exponent = np.minimum(weights @ self.coefficients[1:], _LARGEST_EXPONENT)
        return PredictedLosses(self.scale.original(self.coefficients[0] + np.exp(exponent)))

    def refit(self, weights: np.ndarray, losses: np.ndarray) -> "FittedMixingLaw":
        """Fits other runs from these coefficients, with Huber's delta kept."""
        found, _ = _minimum(self.coefficients, weights, self.scale.standard(losses), self.delta)
        return dataclasses.replace(self, coefficients=found)


class MixingLaw:
    """Log-linear laws."""

    name = "log_linear"
    packages: dict[str, str] = {}  # noqa: RUF012
    smooth = True
    about = "loss = c + exp(t·p), Huber's loss, L-BFGS from several starts"

    def runs_needed(self, units: int) -> int:
        """One more than units: c and t."""
        return units + 1

    def fit(self, weights: np.ndarray, losses: np.ndarray, *, seed: int) -> FittedMixingLaw:
        """Fits squares from every start, and Huber's loss from the best end, its delta from the residuals, in rounds."""
        scale = Scale.of(losses)
        standard = scale.standard(losses)
        starts = _starts(weights, standard, seed)
        found, delta = _best(starts, weights, standard, np.inf), np.inf
        for _ in range(_ROUNDS):  # a run that went wrong widens the first residuals, and so the first delta
            residuals = found[0] + np.exp(np.minimum(weights @ found[1:], _LARGEST_EXPONENT)) - standard
            delta = max(_HUBER * 1.4826 * float(np.median(np.abs(residuals))), 1e-6)
            found = _best([found, *starts], weights, standard, delta)
        return FittedMixingLaw(found, scale, delta)


def _starts(weights: np.ndarray, standard: np.ndarray, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    starts = []
    for gap in GAPS:
        floor = float(standard.min()) - gap
        target = np.log(standard - floor)
        # A little leveling, as units may be in proportion to one another.
        slopes = np.linalg.solve(weights.T @ weights + 1e-3 * np.eye(weights.shape[1]), weights.T @ target)
        starts.append(np.concatenate([[floor], slopes]))
    for at in range(JITTERED):
        # One number for each run of a start, so that the order of units draws nothing else.
        scale = np.exp(generator.normal(0, 0.5))
        start = starts[at].copy()
        start[1:] = start[1:].mean() + scale * (start[1:] - start[1:].mean())
        starts.append(start)
    return starts


def _best(starts: list[np.ndarray], weights: np.ndarray, standard: np.ndarray, delta: float) -> np.ndarray:
    """Goes some way from every start, and to the end from the best place reached."""
    ends = [_minimum(start, weights, standard, delta, iterations=_SCREENING) for start in starts]
    return _minimum(min(ends, key=lambda end: end[1])[0], weights, standard, delta)[0]


def _minimum(
    start: np.ndarray, weights: np.ndarray, standard: np.ndarray, delta: float, *, iterations: int = _ITERATIONS
) -> tuple[np.ndarray, float]:
    """Minimizes the mean of Huber's loss from one start; returns the coefficients and the minimum."""

    def value_and_gradient(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        slopes = coefficients[1:]
        exponent = weights @ slopes
        grown = np.exp(np.minimum(exponent, _LARGEST_EXPONENT))
        residual = coefficients[0] + grown - standard
        size = np.abs(residual)
        inside = size <= delta
        loss = np.where(inside, 0.5 * residual**2, _linear_part(size, delta))
        pull = np.where(inside, residual, np.sign(residual) * (0.0 if np.isinf(delta) else delta)) / len(standard)
        apart = slopes - slopes.mean()
        gradient = np.concatenate([[pull.sum()], weights.T @ (pull * grown) + 2 * _TOWARD_MEAN * apart / len(slopes)])
        return float(loss.mean() + _TOWARD_MEAN * np.mean(apart**2)), gradient

    found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    return found.x, float(found.fun)


def _linear_part(size: np.ndarray, delta: float) -> np.ndarray | float:
    return 0.0 if np.isinf(delta) else delta * (size - 0.5 * delta)
