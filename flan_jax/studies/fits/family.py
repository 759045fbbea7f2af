"""The interface behind which every family of laws stands: ``fit`` gives a ``Fitted``, which predicts and can be refitted."""

import dataclasses
from typing import Protocol

import numpy as np


@dataclasses.dataclass(frozen=True)
class PredictedLosses:
    """Predicted losses of m mixtures.

    Attributes:
        mean: [m], lower is better.
        sd: [m], the law's own standard deviation of one run's loss there; ``None`` where the family states none.
    """

    mean: np.ndarray
    sd: np.ndarray | None = None


class Fitted(Protocol):
    """A law with its coefficients."""

    def predict(self, weights: np.ndarray) -> PredictedLosses:
        """Predicts the losses of mixtures, [m, K]."""
        ...

    def refit(self, weights: np.ndarray, losses: np.ndarray) -> "Fitted":
        """Fits the same law to other runs, with what regularizes it kept: cheap, for bootstraps over runs."""
        ...


class LawFamily(Protocol):
    """A kind of law."""

    @property
    def name(self) -> str:
        """In tables, files and on the command line."""
        ...

    @property
    def packages(self) -> dict[str, str]:
        """Name to import → name to install, beyond the requirements of the project."""
        ...

    @property
    def smooth(self) -> bool:
        """Predictions have a gradient, so that an optimum can be found by following it."""
        ...

    @property
    def about(self) -> str:
        """One line that says what is fitted."""
        ...

    def runs_needed(self, units: int) -> int:
        """Returns how many runs determine the law's coefficients for so many units."""
        ...

    def fit(self, weights: np.ndarray, losses: np.ndarray, *, seed: int) -> Fitted:
        """Fits the law.

        Args:
            weights: [n, K] on the simplex.
            losses: [n], lower is better.
            seed: of whatever is drawn on the way.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Scale:
    """Mean and spread of losses: laws are fitted to (loss - mean) / spread, so that their settings have no unit."""

    mean: float
    spread: float

    @staticmethod
    def of(losses: np.ndarray) -> "Scale":
        """Measures losses; a spread of 0 counts as 1."""
        return Scale(float(np.mean(losses)), float(np.std(losses)) or 1.0)

    def standard(self, losses: np.ndarray) -> np.ndarray:
        """Returns losses without their mean and spread."""
        return (losses - self.mean) / self.spread

    def original(self, standard: np.ndarray) -> np.ndarray:
        """Returns what ``standard`` was made from."""
        return self.mean + self.spread * standard
