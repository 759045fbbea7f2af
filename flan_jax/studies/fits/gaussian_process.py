"""A Gaussian process over the square roots of the weights, with noise: scikit-learn's, its kernel by marginal likelihood.

The distance of two mixtures is that of their square roots (Hellinger's), in which 0% and 1% of a unit lie further apart
than 50% and 51%.
"""

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import lapack
from scipy.optimize import minimize
from scipy.spatial.distance import pdist, squareform

from flan_jax.studies.fits.family import PredictedLosses, Scale

_JITTER = 1e-8
"""Added to the diagonal, for a kernel whose noise is at its lower bound."""


@dataclasses.dataclass(frozen=True)
class FittedProcess:
    """A fitted process of scikit-learn, for standardized losses."""

    scale: Scale
    process: Any

    def predict(self, weights: np.ndarray) -> PredictedLosses:
        """Predicts losses and the standard deviation of one run's, [m] each."""
        mean, sd = self.process.predict(_coordinates(weights), return_std=True)
        return PredictedLosses(self.scale.original(mean), self.scale.spread * sd)

    def refit(self, weights: np.ndarray, losses: np.ndarray) -> "FittedProcess":
        """Conditions the process on other runs, its kernel kept."""
        from sklearn.gaussian_process import GaussianProcessRegressor

        process = GaussianProcessRegressor(self.process.kernel_, optimizer=None, alpha=_JITTER)
        process.fit(_coordinates(weights), self.scale.standard(losses))
        return dataclasses.replace(self, process=process)


class GaussianProcess:
    """Gaussian processes."""

    name = "gaussian_process"
    packages = {"sklearn": "scikit-learn"}  # noqa: RUF012
    smooth = True
    about = "squared-exponential kernel over square roots of the weights, and noise"

    def runs_needed(self, units: int) -> int:
        """Three settings of the kernel, and one run more to see a difference."""
        return 4

    def fit(self, weights: np.ndarray, losses: np.ndarray, *, seed: int) -> FittedProcess:
        """Fits the kernel's amplitude, length and noise from one start; nothing is drawn."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        scale = Scale.of(losses)
        kernel = ConstantKernel(1.0, (1e-3, 1e4)) * RBF(0.5, (1e-2, 1e2)) + WhiteKernel(0.1, (1e-6, 1e1))
        negative = negative_likelihood(_coordinates(weights), scale.standard(losses))

        def optimized(theirs: object, start: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, float]:
            found = minimize(negative, start, jac=True, method="L-BFGS-B", bounds=bounds)
            return found.x, float(found.fun)

        process = GaussianProcessRegressor(kernel, alpha=_JITTER, optimizer=optimized)
        with warnings.catch_warnings():  # a setting at its bound, as the length is where the law is linear
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(_coordinates(weights), scale.standard(losses))
        return FittedProcess(scale, process)


def _coordinates(weights: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(weights, 0))


def negative_likelihood(points: np.ndarray, losses: np.ndarray) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Returns the negative log marginal likelihood of the logarithms of amplitude, length and noise, with its gradient.

    The number and slope are scikit-learn's (Rasmussen and Williams 2006, equations 2.30 and 5.9). Distances are taken once,
    and traces from the kernel's inverse: a quarter of the time.

    Args:
        points: [n, K].
        losses: [n], standardized.
    """
    squared = squareform(pdist(points, "sqeuclidean"))
    count, diagonal = len(losses), np.diag_indices(len(losses))

    def value_and_gradient(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        amplitude, length, noise = np.exp(logarithms)
        signal = amplitude * np.exp(squared * (-0.5 / length**2))
        kernel = signal.copy()
        kernel[diagonal] += noise + _JITTER
        factor, failed = lapack.dpotrf(kernel, lower=1)
        if failed:  # not positive definite in these digits: no place to stay at
            return math.inf, np.zeros(3)
        solved = lapack.dpotrs(factor, losses, lower=1)[0]
        inverse = np.tril(lapack.dpotri(factor, lower=1)[0])
        # ∂/∂θ = (solvedᵀ·∂K·solved - tr(K⁻¹·∂K)) / 2; of the inverse the lower half is known, so the upper is counted with it.
        inverse += np.tril(inverse, -1)
        stretched = signal * squared / length**2
        gradient = [solved @ slope @ solved - np.vdot(inverse, slope) for slope in (signal, stretched)]
        gradient.append(noise * (solved @ solved - np.trace(inverse)))
        value = 0.5 * losses @ solved + np.log(np.diag(factor)).sum() + 0.5 * count * math.log(2 * math.pi)
        return float(value), -0.5 * np.array(gradient)

    return value_and_gradient
