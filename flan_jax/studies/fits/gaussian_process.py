"""A Gaussian process over the square roots of the weights, with noise: scikit-learn's, its kernel by marginal likelihood.

The distance of two mixtures is that of their square roots (Hellinger's), in which 0% and 1% of a unit lie further apart
than 50% and 51%.
"""

import dataclasses
import warnings
from typing import Any

import numpy as np

from flan_jax.studies.fits.family import PredictedLosses, Scale


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

        process = GaussianProcessRegressor(self.process.kernel_, optimizer=None, alpha=1e-8)
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
        process = GaussianProcessRegressor(kernel, alpha=1e-8)
        with warnings.catch_warnings():  # a setting at its bound, as the length is where the law is linear
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(_coordinates(weights), scale.standard(losses))
        return FittedProcess(scale, process)


def _coordinates(weights: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(weights, 0))
